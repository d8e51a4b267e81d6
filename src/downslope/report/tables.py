"""The numbers of the page as rows of text, ready for the template."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from downslope.report.contents import RunContents
from downslope.report.figures import thinned
from downslope.report.formatting import (
    ABSENT,
    counted,
    duration,
    is_number,
    number,
    percent,
    r_squared,
    shortened,
)
from downslope.report.sentences import SPLITS, judged_split

MAX_ROWS = 300
"""Longer tables are cut, and say so."""


@dataclass(frozen=True)
class Table:
    """A table of text; `left_out` rows did not fit; `numeric` columns are right-aligned."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    left_out: int = 0


METRICS = {
    "classification": (("accuracy", "accuracy", percent), ("log_loss", "log loss", number)),
    "regression": (("r2", "R²", r_squared), ("rmse", "RMSE", number), ("mae", "MAE", number)),
}
"""By task: key in summary.json, name for people, how to write it."""


def tiles(contents: RunContents) -> list[tuple[str, str, str]]:
    """Return the key figures as (name, value, small print)."""
    summary = contents.summary
    split = judged_split(contents)
    shown = []
    if split is not None:
        metrics = summary["metrics"][split]
        shown += [
            (name, write(metrics[key]), f"{split} rows")
            for key, name, write in METRICS[summary["task"]]
            if is_number(metrics.get(key))
        ]
    seconds = summary.get("seconds", {})
    steps = counted(summary["steps"], "step") if is_number(summary.get("steps")) else ""
    size = f"of {number(summary['batch_size'])}" if is_number(summary.get("batch_size")) else ""
    shown += [
        ("parameters", number(summary.get("n_params")), shortened(contents.config.get("model", ""), 40)),
        ("optimizer", shortened(summary.get("optimizer", ABSENT), 40), _rate(contents)),
        ("training time", duration(seconds.get("train")), " ".join(filter(None, (steps, size)))),
    ]
    return shown


def _rate(contents: RunContents) -> str:
    """Return the learning rate that was asked for or chosen, or the one the guard went on with."""
    rates = [contents.summary.get("learning_rate")]
    for event in contents.events:
        if event.get("kind") in ("rolled-back", "other-rate") and isinstance(event.get("values"), dict):
            rates.append(event["values"].get("learning_rate"))
    known = [rate for rate in rates if is_number(rate)]
    return f"learning rate {number(known[-1])}" if known else ""


def metrics_table(contents: RunContents) -> Table:
    """Return the metrics of each split."""
    columns = METRICS[contents.summary["task"]]
    rows = [
        [split, number(contents.summary.get("rows", {}).get(split)), number(metrics.get("loss"))]
        + [write(metrics.get(key)) for key, _, write in columns]
        for split in reversed(SPLITS)
        if (metrics := contents.summary["metrics"].get(split))
    ]
    return Table(["split", "rows", "loss", *(name for _, name, _ in columns)], rows, frozenset(range(1, 6)))


def class_table(contents: RunContents) -> Table | None:
    """Return how each class fares, from the confusion matrix; the commonest classes first if many."""
    evaluation = contents.evaluation or {}
    confusion = evaluation.get("confusion")
    if not confusion:
        return None
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    lines = [
        (sum(row), name, row[place], predicted[place])
        for place, (name, row) in enumerate(zip(evaluation["classes"], confusion, strict=True))
    ]
    if len(lines) > MAX_ROWS:
        lines.sort(key=lambda line: line[0], reverse=True)
    rows = [
        [shortened(name), number(total), percent(_share(hits, total)), percent(_share(hits, guesses))]
        for total, name, hits, guesses in lines
    ]
    return cut(["class", "rows", "found (recall)", "right when predicted (precision)"], rows, range(1, 4))


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def column_table(contents: RunContents) -> Table | None:
    """Return what each column of the data became."""
    rows = [
        [
            *(shortened(line.get(key, "")) for key in ("column", "became")),
            number(line.get("width")),
            shortened(line.get("note") or ""),
        ]
        for line in contents.columns
    ]
    return cut(["column", "became", "inputs", "note"], rows, [2]) if rows else None


def event_table(contents: RunContents) -> Table | None:
    """Return what was noted during training."""
    rows = [
        [
            shortened(event.get("kind", "")),
            number(event.get("epoch")),
            number(event.get("step")),
            duration(event.get("seconds")),
            shortened(event.get("message") or "", 300),
        ]
        for event in contents.events
    ]
    return cut(["event", "epoch", "step", "after", "message"], rows, range(1, 4)) if rows else None


def history_table(contents: RunContents) -> Table | None:
    """Return the curves' numbers, at most about sixty evenly spaced epochs of them."""
    history = thinned(contents.history, limit=60, keep=contents.summary.get("best_epoch"))
    names = [name for name in history if any(value is not None for value in history[name])]
    rows = [[number(value) for value in values] for values in zip(*(history[n] for n in names), strict=True)]
    if not rows:
        return None
    return Table([name.replace("_", " ") for name in names], rows, frozenset(range(len(names))))


def config_table(contents: RunContents) -> Table:
    """Return every option of the run."""
    rows = [[shortened(name), setting(value)] for name, value in contents.config.items()]
    return cut(["option", "value"], rows)


def version_table(contents: RunContents) -> Table:
    """Return what the run ran on and with."""
    summary = contents.summary
    rows = [
        [f"time: {shortened(part)}", duration(seconds)]
        for part, seconds in summary.get("seconds", {}).items()
    ]
    rows += [["device", shortened(device)] for device in summary.get("devices", [])[:16]]
    if summary.get("precision"):
        rows.append(["precision", shortened(summary["precision"])])
    rows += [[shortened(name), shortened(version)] for name, version in summary.get("versions", {}).items()]
    return cut(["what", "value"], rows)


def setting(value: Any) -> str:
    """Return an option's value as it would be written on the command line, roughly."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict) and set(value) == {"name", "hyperparameters"}:
        return f"{setting(value['name'])} ({setting(value['hyperparameters'])})"
    if isinstance(value, dict):
        return shortened(", ".join(f"{name} {setting(part)}" for name, part in value.items()) or "none", 300)
    if isinstance(value, list | tuple):
        return shortened(", ".join(map(setting, value)) or "none", 300)
    if isinstance(value, float):
        return f"{value:.6g}"
    return shortened(value, 300)


def cut(header: Sequence[str], rows: list[list[str]], numeric: Any = ()) -> Table:
    """Return the first rows as a table, which says how many more there are."""
    return Table(header, rows[:MAX_ROWS], frozenset(numeric), max(0, len(rows) - MAX_ROWS))


def table_note(table: Table) -> str:
    """Return the words for what a cut table leaves out."""
    return f"… and {counted(table.left_out, 'more row')}." if table.left_out else ""
