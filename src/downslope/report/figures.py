"""The descent, drawn: the cost falling, and what drove it, epoch by epoch."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from downslope.report.formatting import is_number
from downslope.report.theme import LIGHT, as_text, figure

MAX_POINTS = 2000
"""Longer histories are thinned to this many evenly spaced epochs, to keep the page light."""

QUIET_EVENTS = frozenset({"checkpoint", "compiled", "finished"})
"""Too frequent to be marked on the cost; they stand in the table of events."""

History = dict[str, list[Any]]


def cost_figure(
    history: History, best_epoch: Any = None, events: Sequence[dict[str, Any]] = (), log: bool = False
) -> go.Figure:
    """Return the loss on the training and the validation split, with the kept epoch and events marked.

    `log` chooses the scale of the cost axis at first; the page has buttons for both.
    """
    kept = thinned(history, keep=best_epoch)
    traces = [_curve(kept, "train_loss", "training", LIGHT["train"])]
    if _recorded(kept, "validation_loss"):
        traces.append(_curve(kept, "validation_loss", "validation", LIGHT["accent"]))
    shapes: list[dict[str, Any]] = []
    best = _value_at(kept, best_epoch)
    if best is not None:
        traces.append(_kept_mark(best_epoch, best))
        shapes.append(_vertical(best_epoch, LIGHT["accent"]))
    marked = [
        event for event in events if event.get("kind") not in QUIET_EVENTS and is_number(event.get("epoch"))
    ]
    if marked:
        traces.append(_event_marks(marked))
        shapes += [
            _vertical(epoch, LIGHT["line"]) for epoch in sorted({event["epoch"] for event in marked})[:40]
        ]
    return figure(
        *traces,
        height=400,
        xaxis=epoch_axis(kept, [event["epoch"] for event in marked]),
        yaxis={
            "title": {"text": "cost (mean loss)"},
            **from_zero([*kept["train_loss"], *kept.get("validation_loss", [])]),
            **log_axis([*kept["train_loss"], *kept.get("validation_loss", [])], log),
        },
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
        shapes=shapes,
        hovermode="x unified",
    )


def metric_figure(history: History, name: str) -> go.Figure:
    """Return the validation metric per epoch; `name` is what it is called, such as accuracy."""
    share = {"autorangeoptions": {"clipmin": 0, "clipmax": 1}} if name == "accuracy" else {}
    return _single(history, "validation_metric", name, share)


def column_figure(history: History, column: str, name: str) -> go.Figure:
    """Return any column of the history per epoch."""
    return _single(history, column, name, {})


def learning_rate_figure(history: History) -> go.Figure:
    """Return the step size per epoch."""
    return _single(history, "learning_rate", "learning rate", {"rangemode": "tozero"})


def weight_decay_figure(history: History) -> go.Figure:
    """Return the weight decay of each epoch, on a log scale where it rose far."""
    decays = history["weight_decay"]
    return _single(history, "weight_decay", "weight decay", log_axis(decays, spans(decays, factor=5)))


def gradient_norm_figure(history: History) -> go.Figure:
    """Return the length of the gradient per epoch; on a log scale where all are positive."""
    norms = history["gradient_norm"]
    return _single(history, "gradient_norm", "‖gradient‖", log_axis(norms, spans(norms, factor=20)))


def layers_figure(layers: Sequence[dict[str, Any]], column: str, title: str) -> go.Figure:
    """Return one line per layer, per epoch; of many layers, evenly chosen ones, the first and the last."""
    names = list(dict.fromkeys(row["layer"] for row in layers))
    colours = [LIGHT["accent"], *(LIGHT[f"layer_{number}"] for number in range(1, 6))]
    if len(names) > len(colours):
        last = len(colours) - 1
        names = [names[round(place * (len(names) - 1) / last)] for place in range(len(colours))]
    traces, values = [], []
    for name, colour in zip(names, colours, strict=False):
        points = [row for row in layers if row["layer"] == name and is_number(row.get(column))]
        kept = thinned({key: [row[key] for row in points] for key in ("epoch", column)}, limit=500)
        traces.append(_curve(kept, column, as_text(name, 24), colour))
        values += kept[column]
    epochs = {"epoch": sorted({row["epoch"] for row in layers})}
    return figure(
        *traces,
        height=300,
        xaxis=epoch_axis(epochs),
        yaxis={"title": {"text": title}, **log_axis(values, spans(values, factor=5))},
        margin={"l": 56, "r": 12, "t": 40, "b": 44},
        showlegend=True,
        hovermode="x unified",
    )


def spans(values: Sequence[Any], factor: float) -> bool:
    """Whether all values are positive and the largest is more than `factor` times the smallest."""
    present = [value for value in values if value is not None]
    return bool(present) and min(present) > 0 and max(present) > factor * min(present)


def thinned(history: History, keep: Any = None, limit: int = MAX_POINTS) -> History:
    """Return at most `limit` epochs of the history: first, last, `keep` and evenly between."""
    rows = len(history["epoch"])
    if rows <= limit:
        return history
    chosen = {round(i * (rows - 1) / (limit - 2)) for i in range(limit - 1)}
    if keep in history["epoch"]:
        chosen.add(history["epoch"].index(keep))
    return {name: [values[row] for row in sorted(chosen)] for name, values in history.items()}


def _single(history: History, column: str, title: str, axis: dict[str, Any]) -> go.Figure:
    kept = thinned(history)
    return figure(
        _curve(kept, column, title, LIGHT["accent"]),
        height=250,
        xaxis=epoch_axis(kept),
        yaxis={"title": {"text": title}, **from_zero(kept[column]), **axis},
        margin={"l": 56, "r": 12, "t": 12, "b": 44},
        showlegend=False,
        hovermode="x unified",
    )


def _recorded(history: History, column: str) -> bool:
    return any(value is not None for value in history.get(column, []))


def _rounded(values: Sequence[Any]) -> list[Any]:
    return [None if value is None else float(f"{value:.6g}") for value in values]


def _curve(history: History, column: str, name: str, colour: str) -> go.Scatter:
    return go.Scatter(
        x=history["epoch"],
        y=_rounded(history[column]),
        name=name,
        mode="lines+markers" if len(history["epoch"]) < 4 else "lines",
        line={"color": colour, "width": 2},
        hovertemplate="%{y:.4~g}",
    )


def _value_at(history: History, epoch: Any) -> Any:
    """Return the validation loss at an epoch, or the training loss if there is no validation."""
    if epoch not in history["epoch"]:
        return None
    column = "validation_loss" if _recorded(history, "validation_loss") else "train_loss"
    return history[column][history["epoch"].index(epoch)]


def _kept_mark(epoch: Any, loss: float) -> go.Scatter:
    return go.Scatter(
        x=[epoch],
        y=[loss],
        name=f"kept: epoch {epoch}",
        mode="markers",
        marker={"color": LIGHT["accent"], "size": 10, "line": {"color": LIGHT["paper"], "width": 2}},
        hoverinfo="skip",
    )


def _event_marks(events: Sequence[dict[str, Any]]) -> go.Scatter:
    return go.Scatter(
        x=[event["epoch"] for event in events],
        y=[1] * len(events),
        yaxis="y2",
        name="events",
        mode="markers",
        marker={"symbol": "triangle-down", "color": LIGHT["muted"], "size": 9},
        text=[
            as_text(f"{event.get('kind', 'event')}: {event.get('message', '')}", limit=90) for event in events
        ],
        hovertemplate="%{text}<extra></extra>",
        cliponaxis=False,
    )


def _vertical(epoch: Any, colour: str) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": epoch,
        "x1": epoch,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "layer": "below",
        "line": {"color": colour, "width": 1, "dash": "dot"},
    }


def epoch_axis(history: History, marked: Sequence[float] = ()) -> dict[str, Any]:
    """Return an axis that is as long as the history, and holds what is marked before its first epoch."""
    epochs = [*history["epoch"], *marked]
    axis: dict[str, Any] = {"title": {"text": "epoch"}, "hoverformat": "d"}
    if epochs:
        first, last = min(epochs), max(epochs)
        space = max((last - first) * 0.02, 0.2)
        axis["range"] = [first - space, last + space]
        axis |= {"dtick": 1} if last - first < 10 else {"nticks": 12}
    return axis


def from_zero(values: Sequence[Any]) -> dict[str, Any]:
    """Return an axis that begins at 0 where all values are the same: Plotly's own would hide how large."""
    present = {value for value in values if value is not None}
    return {"rangemode": "tozero"} if len(present) == 1 and min(present) >= 0 else {}


def log_axis(values: Sequence[Any], log: bool) -> dict[str, Any]:
    """Return an axis that can be log, with whole labels; Plotly's own show 0.2 as a small 2.

    The labels lie ready, unused, while the axis is linear: the page switches `type` and `tickmode`.
    """
    positive = [value for value in values if value is not None and value > 0]
    if not positive:
        return {"type": "linear"}
    low, high = math.log10(min(positive)), math.log10(max(positive))
    if high - low < 2.5:
        parts = (1, 2, 5) if high - low > 0.8 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8)
        ticks = [
            part * 10.0**power for power in range(math.floor(low) - 1, math.ceil(high) + 1) for part in parts
        ]
    else:
        stride = math.ceil((high - low) / 8)
        ticks = [10.0**power for power in range(math.floor(low), math.ceil(high) + 1, stride)]
    return {
        "type": "log" if log else "linear",
        "tickmode": "array" if log else "auto",
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }
