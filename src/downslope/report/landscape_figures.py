"""Figures of the ground: maps and surfaces with the descent on them, a line, the sharpness.

A loss often spans many powers of ten, and a picture of it on a linear scale is a flat floor with walls.
So where all losses are positive and far apart, heights and colours are their logarithms; labels and what
the pointer shows stay the losses themselves.
"""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from downslope.report.figures import History, epoch_axis, log_axis, spans
from downslope.report.formatting import is_number, number
from downslope.report.theme import LIGHT, as_text, figure

MOST_POINTS = 101
"""Along an axis; finer grids are thinned, to keep the page light."""
# The same on the light and on the dark page: a map is read by its colours. Valleys are dark, heights pale.
GROUND = [[0, "#0a2f6b"], [0.35, "#1f62b8"], [0.7, "#6ba3e0"], [1, "#c3dbf5"]]
CONTOUR = "rgba(255,255,255,0.35)"
PATH = "#ff7a1a"
MOST_MARKERS = 120  # more would be a thick line
LIFT = 0.012  # of the height of the ground: what keeps the path from sinking into it


def contour_figure(plane: dict[str, Any]) -> go.Figure:
    """Return the loss on a plane as a map, with the descent where it was recorded."""
    plane = thinned(plane)
    heights, ticks = _heights(plane)
    traces: list[Any] = [
        go.Contour(
            x=_short(plane["x"]),
            y=_short(plane["y"]),
            z=heights,
            text=_texts(plane),
            colorscale=GROUND,
            ncontours=24,
            contours={"coloring": "heatmap"},
            line={"width": 0.6, "color": CONTOUR},
            colorbar={
                **ticks,
                "title": {"text": "loss", "font": {"color": LIGHT["muted"], "size": 12}},
                "thickness": 10,
                "outlinewidth": 0,
                "tickfont": {"color": LIGHT["muted"], "size": 11},
                "x": 1.01,
                "xpad": 2,
            },
            hovertemplate="loss %{text}<br>at %{x:.3~g}, %{y:.3~g}<extra></extra>",
            name="loss",
            showlegend=False,
        )
    ]
    for part, dash in zip(_parts(plane), ("solid", "dot"), strict=True):
        if len(part["x"]) > 1:
            traces.append(_path_on_map(part, dash))
    path = plane.get("path")
    at = _kept(plane)
    kept = ([path["x"][at]], [path["y"][at]]) if path else ([0], [0])
    traces.append(_mark(*kept, plane.get("kept_name", "kept weights")))
    if path:
        traces.append(_mark([path["x"][0]], [path["y"][0]], "start", symbol="circle-open"))
    labels = plane.get("labels") or [f"{which} {plane['kind']} direction" for which in ("first", "second")]
    return figure(
        *traces,
        height=420,
        xaxis={
            "title": {"text": as_text(labels[0], 60)},
            "range": [plane["x"][0], plane["x"][-1]],
            "showline": False,
        },
        yaxis={
            "title": {"text": as_text(labels[1], 60)},
            "range": [plane["y"][0], plane["y"][-1]],
            "showgrid": False,
        },
        margin={"l": 56, "r": 12, "t": 36, "b": 48},
        hovermode="closest",
    )


def surface_figure(plane: dict[str, Any]) -> go.Figure:
    """Return the loss on a plane as a surface that can be turned, with the descent on it."""
    plane = thinned(plane)
    heights, ticks = _heights(plane)
    traces: list[Any] = [
        go.Surface(
            x=_short(plane["x"]),
            y=_short(plane["y"]),
            z=heights,
            colorscale=GROUND,
            showscale=False,
            hoverinfo="skip",
            lighting={"ambient": 0.7, "diffuse": 0.55, "specular": 0.05, "roughness": 0.9},
            name="loss",
        )
    ]
    log = "ticktext" in ticks
    present = [height for row in heights for height in row if height is not None]
    lift = LIFT * (max(present) - min(present)) if present else 0.0
    for part, dash in zip(_parts(plane), ("solid", "dot"), strict=True):
        if len(part["x"]) > 1:
            traces.append(
                go.Scatter3d(
                    x=part["x"],
                    y=part["y"],
                    z=[_height(value, log, lift) for value in part["loss_on_plane"]],
                    mode="lines+markers" if dash == "solid" else "lines",
                    line={"color": PATH, "width": 6 if dash == "solid" else 3},
                    marker={"color": PATH, "size": 3},
                    text=_path_texts(part),
                    hovertemplate="%{text}<extra></extra>",
                    name="descent",
                    showlegend=False,
                )
            )
    axis = {
        "title": {"text": ""},
        "showticklabels": False,
        "backgroundcolor": "rgba(0,0,0,0)",
        "gridcolor": LIGHT["grid"],
        "linecolor": LIGHT["line"],
        "zeroline": False,
        "showspikes": False,
    }
    return figure(
        *traces,
        height=420,
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        scene={
            "xaxis": axis,
            "yaxis": axis,
            "zaxis": {
                **axis,
                **ticks,
                "showticklabels": True,
                "tickfont": {"color": LIGHT["muted"], "size": 11},
                "title": {"text": "loss", "font": {"color": LIGHT["muted"], "size": 12}},
            },
            "aspectmode": "manual",
            "aspectratio": {"x": 1, "y": 1, "z": 0.7},
            "dragmode": "turntable",  # of its own: on a touch screen the page's other figures have none
            "camera": {"eye": {"x": -1.5, "y": -1.6, "z": 1.1}, "center": {"x": 0, "y": 0, "z": -0.15}},
        },
    )


def line_figure(line: dict[str, Any]) -> go.Figure:
    """Return the loss along the line between two runs."""
    losses = line["loss"]
    present = [value for value in losses if value is not None]
    ends = line["ends"]
    names = [as_text(line["first"]), as_text(line["second"])]
    return figure(
        go.Scatter(
            x=line["share"],
            y=_short(losses),
            mode="lines",
            line={"color": LIGHT["accent"], "width": 2},
            name="loss on the way",
            hovertemplate="%{x:.0%} of the way: loss %{y:.4~g}<extra></extra>",
        ),
        go.Scatter(
            x=[0, 1],
            y=ends,
            mode="lines+markers",
            line={"color": LIGHT["train"], "width": 1, "dash": "dot"},
            marker={"color": LIGHT["accent"], "size": 10, "line": {"color": LIGHT["paper"], "width": 2}},
            text=names,
            hovertemplate="%{text}: loss %{y:.4~g}<extra></extra>",
            name="straight between their losses",
        ),
        height=340,
        xaxis={
            "title": {"text": "share of the way"},
            "tickvals": [0, 0.5, 1],
            "ticktext": [names[0], "½", names[1]],
            "range": [line["share"][0], line["share"][-1]],
        },
        yaxis={"title": {"text": "loss"}, **log_axis(present, spans(present, factor=50))},
        hovermode="closest",
    )


def sharpness_figure(history: History) -> go.Figure:
    """Return the sharpness after each epoch beside 2 ÷ step size."""
    limits = [2 / rate if is_number(rate) and rate > 0 else None for rate in history["learning_rate"]]
    values = [value for value in (*history["sharpness"], *limits) if value is not None]
    curves = [
        go.Scatter(
            x=history["epoch"],
            y=_short(column),
            name=name,
            mode="lines",
            line={"color": LIGHT[colour], "width": 2, "dash": dash},
            hovertemplate="%{y:.4~g}",
        )
        for column, name, colour, dash in (
            (history["sharpness"], "sharpness", "accent", "solid"),
            (limits, "2 ÷ step size", "train", "dot"),
        )
    ]
    return figure(
        *curves,
        height=280,
        xaxis=epoch_axis(history),
        yaxis={"title": {"text": "curvature"}, **log_axis(values, spans(values, factor=20))},
        hovermode="x unified",
    )


def thinned(plane: dict[str, Any], limit: int = MOST_POINTS) -> dict[str, Any]:
    """Return a plane of at most about `limit` points along each axis, the one at 0 among them."""
    stride = -(-len(plane["x"]) // limit)
    if stride == 1:
        return plane
    columns, rows = (range(plane[axis].index(0.0) % stride, len(plane[axis]), stride) for axis in "xy")
    return {
        **plane,
        "x": [plane["x"][column] for column in columns],
        "y": [plane["y"][row] for row in rows],
        "loss": [[plane["loss"][row][column] for column in columns] for row in rows],
    }


def _heights(plane: dict[str, Any]) -> tuple[list[list[Any]], dict[str, Any]]:
    """Return what is drawn of the losses, and the ticks of its axis."""
    values = [value for row in plane["loss"] for value in row if value is not None]
    log = spans(values, factor=20)
    heights = [[_height(value, log) for value in row] for row in plane["loss"]]
    if not log:
        return heights, {}
    powers = range(math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    parts = (1, 2, 5) if len(powers) <= 3 else (1,)
    stride = math.ceil(len(powers) / 8)
    ticks = [part * 10.0**power for power in powers[::stride] for part in parts]
    ticks = [tick for tick in ticks if min(values) <= tick <= max(values)]
    return heights, {
        "tickmode": "array",
        "tickvals": [math.log10(tick) for tick in ticks],
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


def _height(value: Any, log: bool, lift: float = 0.0) -> float | None:
    if value is None or (log and value <= 0):
        return None
    return float(f"{(math.log10(value) if log else value) + lift:.4g}")


def _texts(plane: dict[str, Any]) -> list[list[str]]:
    return [["none" if value is None else f"{value:.3g}" for value in row] for row in plane["loss"]]


def _parts(plane: dict[str, Any]) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Return the path up to the kept weights, which lie at (0, 0), and from there on."""
    path = plane.get("path")
    if not path:
        nothing: dict[str, list[Any]] = {"x": [], "y": []}
        return nothing, nothing
    kept = _kept(plane)
    before = {name: values[: kept + 1] for name, values in path.items()}
    return before, {name: values[kept:] for name, values in path.items()}


def _kept(plane: dict[str, Any]) -> int:
    """Return which point of the path the kept weights are: the one at (0, 0), unless it is said."""
    path = plane.get("path")
    if "kept" in plane or not path:
        return plane.get("kept", 0)
    return min(range(len(path["x"])), key=lambda place: abs(path["x"][place]) + abs(path["y"][place]))


def _path_on_map(part: dict[str, list[Any]], dash: str) -> go.Scatter:
    return go.Scatter(
        x=part["x"],
        y=part["y"],
        mode="lines+markers" if len(part["x"]) <= MOST_MARKERS else "lines",
        line={"color": PATH, "width": 2, "dash": dash},
        marker={"color": PATH, "size": 5},
        text=_path_texts(part),
        hovertemplate="%{text}<extra></extra>",
        name="descent" if dash == "solid" else "after them",
    )


def _path_texts(part: dict[str, list[Any]]) -> list[str]:
    return [
        f"step {step:,}: loss {number(loss, 3)}"
        for step, loss in zip(part["step"], part["loss"], strict=True)
    ]


def _mark(x: list[Any], y: list[Any], name: str, symbol: str = "circle") -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"color": PATH, "size": 11, "symbol": symbol, "line": {"color": LIGHT["paper"], "width": 2}},
        name=name,
        hoverinfo="name",
    )


def _short(values: Sequence[Any]) -> list[Any]:
    return [None if value is None else float(f"{value:.6g}") for value in values]
