"""The pictures of the network page: where it draws the line, how wrong it is, and its weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from downslope.lab import look
from downslope.lab.learner import Learner
from downslope.lab.shapes import Points
from downslope.report import theme

GRID = 70
MOST_NODES = 16  # of a layer that are drawn
MARGIN = 0.08  # of the width, round the points
THICKNESSES = (0.6, 1.6, 3.2, 5.5)  # of a weight, in pixels
# The classes in the order of their codes: orange and blue, which everyone can tell apart, come first.
CLASS_MARKS = [look.MARKS[place] for place in (0, 4, 1, 2, 5, 6, 7, 3)]


def boundary_figure(learner: Learner) -> dict[str, Any]:
    """Return the plane coloured by what the network says there, with the points on it."""
    points = learner.task.points
    x, y = axes(points)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    probabilities = learner.probabilities(grid)
    n_classes = len(points.classes)
    ground: dict[str, Any] = {
        "type": "heatmap",
        "x": x,
        "y": y,
        "showscale": False,
        "opacity": 0.55,
        "zmin": 0,
        "hovertemplate": "%{x:.3g}, %{y:.3g}<extra></extra>",
    }
    if n_classes == 2:
        ground["z"] = probabilities[:, 1].reshape(GRID, GRID).astype(np.float32)
        ground |= {
            "zmax": 1,
            "zsmooth": "best",
            "colorscale": [[0, CLASS_MARKS[0]], [0.5, look.HALO], [1, CLASS_MARKS[1]]],
            "hovertemplate": "%{z:.0%} " + theme.as_text(points.classes[1]) + "<extra></extra>",
        }
    else:
        ground["z"] = probabilities.argmax(axis=1).reshape(GRID, GRID).astype(np.uint8)
        steps = [
            [(place + after) / n_classes, CLASS_MARKS[place]]
            for place in range(n_classes)
            for after in (0, 1)
        ]
        ground |= {"zmax": n_classes - 1, "colorscale": steps, "opacity": 0.4, "hoverinfo": "skip"}
        ground.pop("hovertemplate")
    data = [ground]
    for code, name in enumerate(points.classes):
        for held_out in (False, True):
            chosen = (points.codes == code) & (points.held_out == held_out)
            mark = {"size": 8, "color": CLASS_MARKS[code], "line": {"color": look.HALO, "width": 1.2}}
            ring = {
                "size": 7,
                "symbol": "circle-open",
                "color": CLASS_MARKS[code],
                "line": {"color": CLASS_MARKS[code], "width": 2},
            }
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": points.inputs[chosen, 0],
                    "y": points.inputs[chosen, 1],
                    "marker": ring if held_out else mark,
                    "name": theme.as_text(name),
                    "hoverinfo": "skip",
                    "showlegend": not held_out,
                }
            )
    axis = {"showgrid": False, "zeroline": False, "fixedrange": True}
    layout = look.figure(
        430,
        margin={"l": 48, "r": 12, "t": 34, "b": 44},
        dragmode=False,
        uirevision="same",
        xaxis={
            **axis,
            "title": {"text": theme.as_text(points.names[0])},
            "range": [float(x[0]), float(x[-1])],
        },
        yaxis={
            **axis,
            "title": {"text": theme.as_text(points.names[1])},
            "range": [float(y[0]), float(y[-1])],
        },
    )["layout"]
    return {"data": data, "layout": layout}


def axes(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Return where the plane is asked: `GRID` places along each axis, a little beyond the points."""
    low, high = points.inputs.min(axis=0), points.inputs.max(axis=0)
    room = MARGIN * (high - low)
    return tuple(
        np.linspace(*ends, GRID, dtype=np.float32) for ends in zip(low - room, high + room, strict=True)
    )  # pyright: ignore[reportReturnType]


def loss_figure(learner: Learner) -> dict[str, Any]:
    """Return the loss by step: of each batch, of the points learned from, and of those held out."""
    history = [*learner.history]
    if learner.failed_at is None and history[-1].step < learner.step:
        history.append(learner.now)
    steps = [measured.step for measured in history]
    curves = {
        "points learned from": ([m.train_loss for m in history], theme.LIGHT["train"], 2.5),
        "points held out": ([m.held_out_loss for m in history], theme.LIGHT["accent"], 2.5),
    }
    stride = max(1, len(learner.losses) // 600)
    batches = learner.losses[::stride]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": list(range(0, len(learner.losses), stride)),
            "y": _finite(batches),
            "line": {"color": theme.LIGHT["line"], "width": 1},
            "name": "each batch",
            "hoverinfo": "skip",
        }
    ]
    data += [
        {
            "type": "scatter",
            "mode": "lines" if len(steps) > 1 else "markers",
            "x": steps,
            "y": _finite(values),
            "name": name,
            "line": {"color": colour, "width": width},
            "marker": {"color": colour},
            "hovertemplate": "step %{x}<br>loss %{y:.4g}<extra></extra>",
        }
        for name, (values, colour, width) in curves.items()
    ]
    seen = [value for trace in data for value in trace["y"] if value is not None and value > 0]
    in_logs = bool(seen) and max(seen) > 30 * min(seen)
    layout = look.figure(
        260,
        margin={"l": 60, "r": 12, "t": 30, "b": 44},
        dragmode=False,
        xaxis={"title": {"text": "step"}, "fixedrange": True, "rangemode": "tozero"},
        yaxis={
            "title": {"text": "loss"},
            "fixedrange": True,
            "type": "log" if in_logs else "linear",
            "rangemode": "normal" if in_logs else "tozero",
            **(look.log_ticks(data) if in_logs else {}),
        },
    )["layout"]
    return {"data": data, "layout": layout}


def weights_figure(learner: Learner) -> dict[str, Any]:
    """Return the network as circles and lines: blue lines push up, orange push down, thick ones hard."""
    layers, points = learner.layers(), learner.task.points
    sizes = [2, *(len(bias) for _, bias in layers)]
    shown = [_spread(size) for size in sizes]
    heights = [_heights(len(places)) for places in shown]
    strongest = max(float(np.abs(weights).max(initial=0)) for weights, _ in layers) or 1.0
    lines: dict[tuple[bool, int], tuple[list[Any], list[Any]]] = {}
    for layer, (weights, _) in enumerate(layers):
        for a, source in enumerate(shown[layer]):
            for b, target in enumerate(shown[layer + 1]):
                weight = float(weights[source, target])
                level = min(len(THICKNESSES) - 1, int(len(THICKNESSES) * abs(weight) / strongest))
                x, y = lines.setdefault((weight > 0, level), ([], []))
                x += [layer, layer + 1, None]
                y += [heights[layer][a], heights[layer + 1][b], None]
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": x,
            "y": y,
            "hoverinfo": "skip",
            "showlegend": False,
            "line": {"color": look.MARKS[4] if positive else look.MARKS[0], "width": THICKNESSES[level]},
            "opacity": 0.35 + 0.2 * level,
        }
        for (positive, level), (x, y) in sorted(lines.items(), key=lambda item: item[0][1])
    ]
    names = [
        list(points.names),
        *(
            [f"bias {layers[layer][1][place]:.3g}" for place in shown[layer + 1]]
            for layer in range(len(layers))
        ),
    ]
    data.append(
        {
            "type": "scatter",
            "mode": "markers",
            "showlegend": False,
            "x": [layer for layer, places in enumerate(shown) for _ in places],
            "y": [height for column in heights for height in column],
            "text": [theme.as_text(name) for column in names for name in column],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"size": 15, "color": look.HALO, "line": {"color": look.NEURON, "width": 1.6}},
        }
    )
    titles = [
        "inputs",
        *(f"{size} units" + (f", {MOST_NODES} shown" if size > MOST_NODES else "") for size in sizes[1:-1]),
        "output",
    ]
    layout = look.figure(
        300,
        margin={"l": 12, "r": 12, "t": 12, "b": 34},
        dragmode=False,
        hovermode="closest",
        xaxis={
            "showgrid": False,
            "showline": False,
            "ticks": "",
            "fixedrange": True,
            "tickmode": "array",
            "tickvals": list(range(len(sizes))),
            "ticktext": titles,
            "range": [-0.3, len(sizes) - 0.7],
        },
        yaxis={"visible": False, "fixedrange": True, "range": [-0.08, 1.08]},
    )["layout"]
    return {"data": data, "layout": layout}


def _spread(size: int) -> list[int]:
    """Return which units of a layer are drawn: all, or evenly chosen ones."""
    return (
        list(range(size)) if size <= MOST_NODES else np.linspace(0, size - 1, MOST_NODES).astype(int).tolist()
    )


def _heights(count: int) -> list[float]:
    return (
        [0.5]
        if count == 1
        else np.linspace(1, 0, count).tolist()
        if count > 3
        else np.linspace(0.75, 0.25, count).tolist()
    )


def _finite(values: Sequence[float]) -> list[float | None]:
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in values]
