"""The parts of the benchmark: each measures one thing and returns it as a `Section`."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module

from benchmarks.section import Section, Tell

TRAINING = ("tiny", "small", "medium", "norm", "conv", "attention")
WHOLE = ("update", "cold", "table", "growth")
PARTS = (*TRAINING, *WHOLE)


def part(name: str, alone: Sequence[str] = ()) -> Callable[[bool, Tell], Section]:
    """Return ``measure(quick, tell) -> Section`` of a part.

    Args:
        name: one of `PARTS`.
        alone: words of a command through which each round of training is started.
    """
    if name in TRAINING:
        return partial(import_module("benchmarks.speed_parts.training").measure, name, alone)
    return import_module(f"benchmarks.speed_parts.{name}").measure
