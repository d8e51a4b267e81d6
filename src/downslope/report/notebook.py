"""A run in a notebook: its curves as Plotly figures, and itself as a small table with its curve."""

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pyarrow as pa

from downslope.errors import OptionError, RunFolderError, did_you_mean
from downslope.report import figures, landscape
from downslope.report.contents import read_contents
from downslope.report.formatting import duration, is_number, number, shortened
from downslope.report.panels import METRIC_NAMES
from downslope.report.theme import on_paper

GROUNDS = ("landscape", "surface")
_ROWS = ("test", "validation", "train")
_WIDTH, _HEIGHT = 260, 60  # of the small curve, in pixels


def run_figure(history: pa.Table, summary: dict[str, Any], what: str, folder: Path | None) -> go.Figure:
    """Return one curve of a run, or the ground around its weights.

    Args:
        history: one row per epoch.
        summary: the content of summary.json.
        what: ``"loss"``, a column of the history, or ``"landscape"`` or ``"surface"``.
        folder: the run folder, for what is only there.

    Raises:
        OptionError: there is no such thing to draw, or it was not recorded.
    """
    columns: figures.History = {name: history[name].to_pylist() for name in history.column_names}
    if what in GROUNDS:
        return on_paper(_ground(what, folder))
    drawn = [name for name in columns if name not in ("epoch", "step")]
    if what != "loss" and what not in drawn:
        near = did_you_mean(str(what), ["loss", *drawn, *GROUNDS])
        raise OptionError(f"plot: no '{what}'.{near} Choose one of loss, {', '.join([*drawn, *GROUNDS])}")
    if what != "loss" and not any(is_number(value) for value in columns[what]):
        raise OptionError(f"plot: '{what}' was not recorded in this run")
    if what == "loss":
        losses = [value for name in ("train_loss", "validation_loss") for value in columns[name] if value]
        events = [] if folder is None else read_contents(folder).events
        return on_paper(
            figures.cost_figure(
                columns, summary.get("best_epoch"), events, log=figures.spans(losses, factor=10)
            )
        )
    if what == "sharpness":
        return on_paper(landscape.sharpness_figure(columns))
    if what == "learning_rate":
        return on_paper(figures.learning_rate_figure(columns))
    if what == "weight_decay":
        return on_paper(figures.weight_decay_figure(columns))
    if what == "gradient_norm":
        return on_paper(figures.gradient_norm_figure(columns))
    name = f"validation {METRIC_NAMES[summary['task']]}" if what == "validation_metric" else what
    return on_paper(figures.column_figure(columns, what, name.replace("_", " ")))


def _ground(what: str, folder: Path | None) -> go.Figure:
    contents = None if folder is None else read_contents(folder)
    if contents is None or contents.landscape is None:
        where = "RUN" if folder is None else folder
        raise OptionError(f"plot: the {what} was not measured yet; first: downslope landscape {where}")
    try:
        planes = landscape.checked_landscape(contents.landscape)["planes"]
    except RunFolderError as error:
        raise RunFolderError(f"{folder}: {error}") from None
    draw = landscape.contour_figure if what == "landscape" else landscape.surface_figure
    return draw(planes[0])


def run_html(title: str, history: pa.Table, summary: dict[str, Any]) -> str:
    """Return a run as a small table with its curve, to be shown in a notebook; every name as text."""
    metrics = summary["metrics"]
    names = list(next(iter(metrics.values()), {}))
    splits = [split for split in _ROWS if split in metrics]
    head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in names)
    rows = "".join(
        f"<tr><th>{split}</th>"
        + "".join(f"<td>{number(metrics[split].get(name))}</td>" for name in names)
        + "</tr>"
        for split in splits
    )
    seconds = duration(summary.get("seconds", {}).get("total"))
    facts = [
        str(summary.get("model", "")),
        f"{summary.get('optimizer', '')}, learning rate {number(summary.get('learning_rate'))}",
        f"{number(summary.get('epochs'))} epochs in {seconds}: {summary.get('stopped_because', '')}",
    ]
    lines = "<br>".join(html.escape(shortened(fact, 120)) for fact in facts)
    return (
        f"<div><b>{html.escape(shortened(title, 160))}</b><br>{lines}"
        f"{_small_curve(history)}"
        f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _small_curve(history: pa.Table) -> str:
    """Return both losses over the epochs as a picture without a script."""
    curves = [history[name].to_pylist() for name in ("train_loss", "validation_loss")]
    values = [value for curve in curves for value in curve if is_number(value)]
    if len(values) < 2:
        return ""
    log = figures.spans(values, factor=10)
    heights = [[_height(value, log) for value in curve] for curve in curves]
    present = [height for curve in heights for height in curve if height is not None]
    low, high = min(present), max(present)
    lines = "".join(
        f'<polyline points="{_points(curve, low, high)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        for curve, colour in zip(heights, ("#8c96a1", "#0b66c3"), strict=True)
        if any(height is not None for height in curve)
    )
    label = f"the loss over {len(curves[0])} epochs, from {number(values[0], 3)}; blue: validation"
    return (
        f'<br><svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{label}"><title>{label}</title>{lines}</svg>'
    )


def _height(value: Any, log: bool) -> float | None:
    return None if not is_number(value) else math.log10(value) if log else value


def _points(curve: Sequence[float | None], low: float, high: float) -> str:
    step = (_WIDTH - 4) / max(1, len(curve) - 1)
    scale = (_HEIGHT - 4) / (high - low or 1.0)
    return " ".join(
        f"{2 + place * step:.1f},{2 + (high - height) * scale:.1f}"
        for place, height in enumerate(curve)
        if height is not None
    )
