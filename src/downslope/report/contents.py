"""A run folder read from disk: plain files only, checked, never a live training object.

config.json       required   every option, the resolved ones too
summary.json      required   the result
history.parquet   required   one row per epoch
layers.parquet    optional   one row per epoch and layer
events.jsonl      optional   what happened on the way
encoding.json     optional   its "describe" list: what the columns became
evaluation.json   optional   predictions on the test split, counted
landscape.json    optional   the loss around the kept weights; line.json, on the way to another run's
sharpness.json    optional   slope and curvature where the run ended
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from downslope.errors import RunFolderError
from downslope.report.formatting import is_number
from downslope.runs.folder import HISTORY_SCHEMA, no_such_run, refuse_comparison

TASKS = ("classification", "regression")
HISTORY_REQUIRED = ("epoch", "train_loss")


@dataclass(frozen=True)
class RunContents:
    """What a report is made of.

    `history` maps a column to one value per epoch, `None` where the value is missing or not finite.
    Columns that the run did not record are absent. `evaluation` is `None` if the run has none.
    """

    name: str
    config: dict[str, Any]
    summary: dict[str, Any]
    history: dict[str, list[Any]]
    events: list[dict[str, Any]] = field(default_factory=list)
    columns: list[dict[str, Any]] = field(default_factory=list)
    evaluation: dict[str, Any] | None = None
    landscape: dict[str, Any] | None = None
    line: dict[str, Any] | None = None
    sharpness: dict[str, Any] | None = None
    layers: list[dict[str, Any]] = field(default_factory=list)


def read_contents(folder: Path) -> RunContents:
    """Read a run folder.

    Raises:
        RunFolderError: the folder or a required file is missing, or a file is damaged; the message
            names the file.

    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunFolderError(no_such_run(folder))
    refuse_comparison(folder)
    encoding = _optional(folder / "encoding.json", _read_object) or {}
    describe = encoding.get("describe")
    return RunContents(
        name=folder.resolve().name,
        config=_read_object(folder / "config.json"),
        summary=_checked_summary(folder / "summary.json"),
        history=_read_history(folder / "history.parquet"),
        events=_optional(folder / "events.jsonl", _read_events) or [],
        columns=[row for row in describe if isinstance(row, dict)] if isinstance(describe, list) else [],
        evaluation=_optional(folder / "evaluation.json", _checked_evaluation),
        landscape=_optional(folder / "landscape.json", _read_object),
        line=_optional(folder / "line.json", _read_object),
        sharpness=_optional(folder / "sharpness.json", _read_object),
        layers=_optional(folder / "layers.parquet", _read_layers) or [],
    )


def _optional(path: Path, read: Callable[[Path], Any]) -> Any:
    return read(path) if path.exists() else None


def _damaged(path: Path, what: str) -> RunFolderError:
    required = path.name in ("config.json", "summary.json", "history.parquet")
    remedy = (
        "restore it from a copy, or train again with `downslope train … --overwrite`"
        if required
        else "restore it from a copy, or delete it to have a report without it"
    )
    return RunFolderError(f"{path}: damaged ({what}); {remedy}")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RunFolderError(
            f"{path}: missing, so this is not a finished run; finish it with "
            f"`downslope train --resume {path.parent}`, or give another folder"
        ) from None
    except UnicodeDecodeError as error:
        raise _damaged(path, f"not UTF-8 text at byte {error.start}") from None
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def _read_object(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise _damaged(path, f"a JSON object was expected, not a {type(value).__name__}")
    return value


def _checked_summary(path: Path) -> dict[str, Any]:
    summary = _read_object(path)
    if summary.get("task") not in TASKS:
        raise _damaged(path, f"'task' is {summary.get('task')!r}, not one of {', '.join(TASKS)}")
    metrics = summary.get("metrics")
    if not isinstance(metrics, dict) or not all(isinstance(split, dict) for split in metrics.values()):
        raise _damaged(path, "'metrics' is not an object of splits")
    for name in ("rows", "seconds", "versions"):
        if not isinstance(summary.get(name, {}), dict):
            raise _damaged(path, f"'{name}' is not an object")
    if not isinstance(summary.get("devices", []), list):
        raise _damaged(path, "'devices' is not a list")
    return summary


def _read_history(path: Path) -> dict[str, list[Any]]:
    if not path.exists():
        _read_text(path)  # raises, with the same words as for the other files
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, f"not Parquet: {str(error).splitlines()[0]}") from None
    absent = [name for name in HISTORY_REQUIRED if name not in table.column_names]
    if absent:
        raise _damaged(path, f"no column '{absent[0]}'; it has {', '.join(table.column_names) or 'none'}")
    history = {}
    for name in HISTORY_SCHEMA.names:
        if table.column_names.count(name) == 1:
            values = table.column(name).to_pylist()
            history[name] = [value if is_number(value) else None for value in values]
    if None in history["epoch"]:
        raise _damaged(path, "an epoch is not a number")
    return history


def _read_layers(path: Path) -> list[dict[str, Any]]:
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, f"not Parquet: {str(error).splitlines()[0]}") from None
    return [row for row in rows if is_number(row.get("epoch")) and isinstance(row.get("layer"), str)]


def _read_events(path: Path) -> list[dict[str, Any]]:
    lines = [line for line in _read_text(path).splitlines() if line.strip()]
    events = []
    for count, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError as error:
            if count == len(lines):
                break  # a run that was killed may leave half a last line
            raise _damaged(path, f"line {count} is not JSON: {error}") from None
        if not isinstance(event, dict):
            raise _damaged(path, f"line {count} is not a JSON object")
        events.append(event)
    return events


def _checked_evaluation(path: Path) -> dict[str, Any]:
    evaluation = _read_object(path)
    if "confusion" in evaluation:
        classes, confusion = evaluation.get("classes"), evaluation["confusion"]
        if not isinstance(classes, list) or not classes:
            raise _damaged(path, "'classes' is not a list of names")
        size = len(classes)
        if not _is_table(confusion, rows=size, columns=size):
            raise _damaged(path, f"'confusion' is not a table of {size} by {size} counts")
    for group, names in (
        ("reliability", ("confidence", "accuracy", "count")),
        ("roc", ("fpr", "tpr")),
        ("importance", ("columns", "rise", "spread")),
        (None, ("actual", "predicted")),
    ):
        lists = evaluation.get(group) if group else evaluation
        if lists is None or (group is None and not any(name in evaluation for name in names)):
            continue
        if not isinstance(lists, dict) or not _are_lists(lists, names):
            where = f"'{group}' does" if group else "it does"
            raise _damaged(path, f"{where} not hold equally long lists {', '.join(names)}")
    return evaluation


def _is_table(value: Any, rows: int, columns: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == rows
        and all(isinstance(row, list) and len(row) == columns for row in value)
        and all(is_number(cell) and cell >= 0 for row in value for cell in row)
    )


def _are_lists(group: dict[str, Any], names: tuple[str, ...]) -> bool:
    lists = [group.get(name) for name in names]
    return (
        all(isinstance(values, list) for values in lists)
        and len({len(v) for v in lists if v is not None}) == 1
    )
