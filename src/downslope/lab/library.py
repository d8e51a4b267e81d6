"""The runs under a folder, read from disk as they are right now; nothing outside the folder is ever read.

Whatever stands in the folder may be somebody else's. Names come from the address line too. So each file
is looked up by `Library.file`, which follows links first and then asks whether it still is inside.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downslope.errors import RunFolderError
from downslope.report.formatting import counted, file_name, is_number, number, percent, r_squared
from downslope.runs.folder import read_history, read_json

DEEPEST = 4  # folders below the one that was given
MOST_RUNS = 200
QUIET_SECONDS = 20.0  # a run that has written nothing for so long is not training any more


@dataclass(frozen=True)
class RunLine:
    """What is known of one run.

    Attributes:
        name: its folder, from the library's on, with slashes.
        state: "training"; "finished", "interrupted" or "diverged", as the summary says; "unfinished" where
            there is no summary; or "damaged".
        about: what it learns from which data, or what is damaged.
        progress: how far it has come.
        result: how good it is, so far.
        has_report: whether there is a report to open.
        stamp: changes when the run does.
    """

    name: str
    state: str
    about: str
    progress: str
    result: str
    has_report: bool
    stamp: tuple[Any, ...]


class Library:
    """The runs under a folder."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._read: dict[str, tuple[tuple[Any, ...], RunLine]] = {}

    def file(self, name: str, filename: str) -> Path | None:
        """Return a file of a run where it is one and lies inside the folder, links followed; else None."""
        try:
            root = self.folder.resolve(strict=True)
            path = (root / name / filename).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):  # missing; a NUL; a circle of links
            return None
        return path if path.is_relative_to(root) and path.is_file() else None

    def names(self) -> list[str]:
        """Return the runs, the one that was written to last first."""
        found = []
        for folder, below, files in os.walk(self.folder):  # links to folders are not followed
            place = Path(folder).relative_to(self.folder)
            below[:] = sorted(name for name in below if not name.startswith("."))
            if len(place.parts) >= DEEPEST:
                below.clear()
            if "config.json" in files and place.parts:
                below.clear()
                found.append(place.as_posix())
        return sorted(found, key=lambda name: -max(self._stamp(name)))[:MOST_RUNS]

    def lines(self) -> list[RunLine]:
        """Return a line for each run; those that have not changed are not read again."""
        return [self.line(name) for name in self.names()]

    def line(self, name: str) -> RunLine:
        """Return what is known of one run."""
        stamp = self._stamp(name)
        is_fresh = time.time() - max(stamp) < QUIET_SECONDS
        known = self._read.get(name)
        if known is None or known[0] != (*stamp, is_fresh):
            known = self._read[name] = ((*stamp, is_fresh), self._line(name, stamp, is_fresh))
        return known[1]

    def history(self, name: str) -> dict[str, list[Any]]:
        """Return the history of a run by column; empty where there is none yet or it cannot be read."""
        try:
            return self._history(name)
        except RunFolderError:
            return {}

    def _history(self, name: str) -> dict[str, list[Any]]:
        path = self.file(name, "history.parquet")
        return {} if path is None else read_history(path.parent).to_pydict()

    def _stamp(self, name: str) -> tuple[float, ...]:
        files = (
            self.file(name, one)
            for one in ("config.json", "summary.json", "history.parquet", "events.jsonl", "report.html")
        )
        times = []
        for path in files:
            try:
                times.append(path.stat().st_mtime if path else 0.0)
            except OSError:  # gone in between
                times.append(0.0)
        return tuple(times)

    def _json(self, name: str, filename: str) -> dict[str, Any] | None:
        path = self.file(name, filename)
        return None if path is None else read_json(path)

    def _line(self, name: str, stamp: tuple[Any, ...], is_fresh: bool) -> RunLine:
        has_report = self.file(name, "report.html") is not None
        try:
            config, summary = self._json(name, "config.json"), self._json(name, "summary.json")
            history = self._history(name)
        except RunFolderError as error:
            return RunLine(name, "damaged", str(error), "", "", has_report, stamp)
        if config is None:
            return RunLine(name, "damaged", "config.json cannot be read", "", "", has_report, stamp)
        is_over = summary is not None and (stamp[1] >= stamp[2] - 1 or not is_fresh)
        state = _end(summary or {}) if is_over else "training" if is_fresh else "unfinished"
        target = config.get("target") or (summary or {}).get("target")
        data = file_name(str(config.get("data", "?")))
        about = f"{target} of {data}" if target else data
        return RunLine(
            name,
            state,
            about,
            _progress(len(history.get("epoch", [])), config.get("epochs")),
            _result(summary if is_over else None, history),
            has_report,
            stamp,
        )


def _end(summary: dict[str, Any]) -> str:
    """Return the state of a run that is over."""
    if summary.get("failed"):
        return "diverged"
    return "interrupted" if summary.get("stopped_because") == "interrupted" else "finished"


def _progress(done: int, planned: Any) -> str:
    """Return how far a run has come; how far it will go is not known of every one.

    >>> _progress(3, 5), _progress(1, 1), _progress(126, "auto")
    ('3 of 5 epochs', '1 of 1 epoch', '126 epochs')
    """
    return f"{done:,} of {counted(planned, 'epoch')}" if is_number(planned) else counted(done, "epoch")


def _result(summary: dict[str, Any] | None, history: dict[str, list[Any]]) -> str:
    """Return how good a run is: on its test rows when it is finished, else on the validation rows so far."""
    metrics = (summary or {}).get("metrics")
    for split in ("test", "validation", "train"):
        measured = metrics.get(split) if isinstance(metrics, dict) else None
        if isinstance(measured, dict):
            if is_number(measured.get("accuracy")):
                return f"{split}: {percent(measured['accuracy'])} right"
            if is_number(measured.get("r2")):
                return f"{split}: R² {r_squared(measured['r2'], 3)}"
    for column, words in (("validation_metric", "validation metric"), ("train_loss", "training loss")):
        latest = [value for value in history.get(column, []) if is_number(value)][-1:]
        if latest:
            return f"{words} {number(latest[0], 3)} so far"
    return "–"
