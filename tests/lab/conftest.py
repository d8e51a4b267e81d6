"""A lab that is served from a thread of the test, and settings as its pages send them."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from downslope.lab import app


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """An empty folder of runs."""
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """`serve(folder)` opens a lab and returns its address, without the last slash."""
    open_labs: list[tuple[Any, Any, threading.Thread]] = []

    def begin(folder: Path) -> str:
        listening = app.listen(0)
        lab = app.Lab(folder, listening)
        thread = threading.Thread(target=lab.serve, daemon=True)
        thread.start()
        open_labs.append((lab, listening, thread))
        return f"http://{app.HOST}:{listening.getsockname()[1]}"

    yield begin
    for lab, listening, thread in open_labs:
        lab.stop()
        thread.join()
        lab.close()
        listening.close()


def words(found: Any) -> str:
    """Return all text of Dash components, one after the other."""
    if found is None or isinstance(found, str | int | float):
        return str(found or "")
    if isinstance(found, list | tuple):
        return " ".join(map(words, found))
    return words(getattr(found, "children", None))


@pytest.fixture(name="words")
def words_() -> Callable[[Any], str]:
    """`words(components)`: their text."""
    return words
