"""Columns do not depend on one another, so they are read by as many threads as there are cores."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def for_each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return the result for each item, in order; what the first item raises that raises, is raised.

    Threads, for NumPy and Arrow let go of Python's lock while they work on a column.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(function, items))
