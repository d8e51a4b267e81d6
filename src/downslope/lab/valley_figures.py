"""The pictures of the valley page: the surface from above, in three dimensions, and the loss by step.

A trace whose ``meta`` has the role "path" or "head" is cut by the page at the step that is shown, so one
figure holds the whole animation.
"""

from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from downslope.lab import look
from downslope.lab.paths import Path
from downslope.lab.surfaces import LOG_FROM, Surface, heights_of
from downslope.report import theme

Paths = dict[int, list[Path]]  # by the place of the descent, 1 … 4


def scaled(surface: Surface, heights: np.ndarray) -> np.ndarray:
    """Return heights as they are drawn: in their logarithm where they span too much to see both ends."""
    ground = heights_of(surface)[-1]
    low, high = np.nanmin(ground), np.nanmax(ground)
    if high - low <= LOG_FROM:
        return np.asarray(heights, np.float64)
    return np.log10(1 + np.maximum(np.asarray(heights, np.float64) - low, 0) * (1000 / (high - low)))


def map_figure(surface: Surface, paths: Paths) -> dict[str, Any]:
    """Return the surface from above with the paths on it; of a curve, the curve."""
    base = _map_base(surface)
    data = list(base["data"])
    for place, found in paths.items():
        for path in found:
            points = _rounded(path.points)
            x = [point[0] for point in points]
            y = [point[1] for point in points] if surface.dimension == 2 else _rounded(path.losses)
            data += _trail(place, x, y, _rounded(path.losses), fine=len(x) > 60)
    longest = max((len(path.points) - 1 for found in paths.values() for path in found), default=0)
    return {"data": data, "layout": {**base["layout"], "meta": {"steps": max(longest, 0)}}}


@lru_cache(maxsize=16)
def _map_base(surface: Surface) -> dict[str, Any]:
    *axes, heights = heights_of(surface)
    x_axis = {"range": list(surface.x), "title": {"text": "x"}, "showgrid": False, "fixedrange": True}
    minima: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "hoverinfo": "skip",
        "showlegend": False,
        "marker": {
            "symbol": "star",
            "size": 13,
            "color": look.HALO,
            "line": {"color": look.NEURON, "width": 1.2},
        },
        "x": [point[0] for point in surface.minima],
    }
    if surface.dimension == 1:
        ground = {
            "type": "scatter",
            "mode": "lines",
            "x": axes[0].astype(np.float32),
            "y": heights.astype(np.float32),
            "line": {"color": look.GROUND[0][1], "width": 3},
            "showlegend": False,
            "fill": "tozeroy" if np.nanmin(heights) >= 0 else "none",
            "fillcolor": look.GROUND[4][1],
            "hovertemplate": "x %{x:.2f}<br>loss %{y:.4g}<extra></extra>",
        }
        minima["y"] = [float(surface.loss(jnp.asarray(point))) for point in surface.minima]
        layout = look.figure(
            440,
            margin={"l": 48, "r": 12, "t": 12, "b": 40},
            showlegend=False,
            xaxis=x_axis,
            yaxis={"title": {"text": "loss"}, "fixedrange": True},
            hovermode="x",
            uirevision=surface.name,
            dragmode=False,
        )["layout"]
        return look.packed([ground, minima], layout)
    shown = scaled(surface, heights)
    ground = {
        "type": "contour",
        "x": axes[0],
        "y": axes[1],
        "z": shown.astype(np.float32),
        "customdata": heights.astype(np.float32),
        "colorscale": look.GROUND,
        "showscale": False,
        "ncontours": 18,
        "contours": {"coloring": "heatmap"},
        "line": {"color": look.CONTOUR, "width": 0.8},
        "hovertemplate": "x %{x:.2f}, y %{y:.2f}<br>loss %{customdata:.4g}<extra></extra>",
    }
    minima["y"] = [point[1] for point in surface.minima]
    assert surface.y is not None
    layout = look.figure(
        440,
        margin={"l": 40, "r": 12, "t": 12, "b": 40},
        showlegend=False,
        xaxis=x_axis,
        yaxis={"range": list(surface.y), "title": {"text": "y"}, "showgrid": False, "fixedrange": True},
        hovermode="closest",
        uirevision=surface.name,
        dragmode=False,
    )["layout"]
    return look.packed([ground, minima], layout)


def _trail(place: int, x: list[Any], y: list[Any], losses: list[Any], *, fine: bool) -> list[dict[str, Any]]:
    """Return a path, its start and the ball at its end."""
    colour = look.MARKS[place - 1]
    hover = "step %{pointNumber}<br>loss %{customdata:.4g}<extra></extra>"
    path = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x,
        "y": y,
        "customdata": losses,
        "meta": {"role": "path"},
        "line": {"color": colour, "width": 2},
        "marker": {"color": colour, "size": 3 if fine else 5},
        "hovertemplate": hover,
        "showlegend": False,
        "cliponaxis": True,
    }
    start = {
        "type": "scatter",
        "mode": "markers",
        "x": x[:1],
        "y": y[:1],
        "hoverinfo": "skip",
        "showlegend": False,
        "marker": {
            "symbol": "circle-open",
            "size": 11,
            "color": colour,
            "line": {"color": colour, "width": 2},
        },
    }
    ball = {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "hoverinfo": "skip",
        "showlegend": False,
        "marker": {"size": 13, "color": colour, "line": {"color": look.HALO, "width": 2}},
        "meta": {"role": "head"},
    }
    return [path, start, ball]


def surface_figure(surface: Surface, paths: Paths) -> dict[str, Any]:
    """Return the surface in three dimensions with the paths on it."""
    base = _surface_base(surface)
    data = list(base["data"])
    ground = scaled(surface, heights_of(surface)[-1])
    lift = 0.02 * float(np.nanmax(ground) - np.nanmin(ground) or 1.0)
    assert surface.y is not None
    for place, found in paths.items():
        for path in found:
            inside = _inside(surface, path.points)
            x, y = _rounded(path.points[:inside, 0]), _rounded(path.points[:inside, 1])
            z = _rounded(scaled(surface, path.losses[:inside]) + lift)
            colour = look.MARKS[place - 1]
            common = {"type": "scatter3d", "x": x, "y": y, "z": z, "hoverinfo": "skip", "showlegend": False}
            data += [
                {**common, "mode": "lines", "line": {"color": colour, "width": 6}, "meta": {"role": "path"}},
                {
                    **common,
                    "mode": "markers",
                    "marker": {"color": colour, "size": 6},
                    "meta": {"role": "head"},
                },
            ]
    return {"data": data, "layout": base["layout"]}


def _inside(surface: Surface, points: np.ndarray) -> int:
    """Return how many of the first points lie over what is drawn."""
    assert surface.y is not None
    spans = np.array([surface.x, surface.y])
    inside = ((points >= spans[:, 0]) & (points <= spans[:, 1])).all(axis=1)
    return len(points) if inside.all() else int(np.argmin(inside))


@lru_cache(maxsize=16)
def _surface_base(surface: Surface) -> dict[str, Any]:
    x, y, heights = heights_of(surface)
    ground = {
        "type": "surface",
        "x": x,
        "y": y,
        "z": scaled(surface, heights).astype(np.float32),
        "colorscale": look.GROUND,
        "showscale": False,
        "hoverinfo": "skip",
        "lighting": {"ambient": 0.92, "diffuse": 0.25, "specular": 0.05, "roughness": 0.9},
        "contours": {
            "z": {"show": True, "color": look.CONTOUR, "width": 1, "highlight": False},
            "x": {"highlight": False},
            "y": {"highlight": False},
        },
    }
    axis = {
        "showgrid": False,
        "zeroline": False,
        "showspikes": False,
        "showbackground": False,
        "tickfont": {"color": theme.LIGHT["muted"], "size": 10},
        "linecolor": theme.LIGHT["line"],
    }
    scene = {
        "xaxis": {**axis, "title": {"text": "x"}},
        "yaxis": {**axis, "title": {"text": "y"}},
        "zaxis": {**axis, "title": {"text": ""}, "showticklabels": False},
        "aspectmode": "manual",
        "aspectratio": {"x": 1.15, "y": 1.15, "z": 0.7},
        "camera": {"eye": {"x": -1.1, "y": -1.5, "z": 1.5}, "center": {"x": 0, "y": 0, "z": -0.1}},
        "dragmode": "turntable",
    }
    layout = look.figure(
        440, margin={"l": 0, "r": 0, "t": 0, "b": 0}, scene=scene, uirevision=surface.name, showlegend=False
    )["layout"]
    return look.packed([ground], layout)


def loss_figure(paths: Paths) -> dict[str, Any]:
    """Return the loss of every path by step; on a log scale where it falls far enough."""
    losses = [path.losses for found in paths.values() for path in found if len(path.losses)]
    every = np.concatenate(losses) if losses else np.ones(1)
    in_logs = bool(every.min() > 0) and every.max() > 30 * every.min()
    data = []
    for place, found in paths.items():
        colour = look.MARKS[place - 1]
        for path in found:
            y = _rounded(path.losses)
            common = {"type": "scatter", "x": list(range(len(y))), "y": y, "showlegend": False}
            data += [
                {
                    **common,
                    "mode": "lines",
                    "line": {"color": colour, "width": 2},
                    "meta": {"role": "path"},
                    "hovertemplate": "step %{x}<br>loss %{y:.4g}<extra></extra>",
                },
                {
                    **common,
                    "mode": "markers",
                    "marker": {"color": colour, "size": 9},
                    "hoverinfo": "skip",
                    "meta": {"role": "head"},
                },
            ]
    longest = max((len(one) for one in losses), default=2)
    y_axis: dict[str, Any] = {"title": {"text": "loss"}, "fixedrange": True}
    if in_logs:
        floor = max(float(every.min()), float(every.max()) * 1e-9)
        y_axis |= {
            "type": "log",
            "exponentformat": "power",
            "nticks": 6,
            "range": [np.log10(floor) - 0.3, np.log10(float(every.max())) + 0.3],
        }
    layout = look.figure(
        250,
        margin={"l": 60, "r": 12, "t": 12, "b": 40},
        showlegend=False,
        yaxis=y_axis,
        dragmode=False,
        xaxis={"title": {"text": "step"}, "fixedrange": True, "range": [-0.01 * longest, 1.01 * longest]},
        hovermode="closest",
    )["layout"]
    return {"data": data, "layout": layout}


def _rounded(values: np.ndarray) -> Any:
    """Return numbers with five digits: as many as can be seen, and a third of the bytes."""
    values = np.asarray(values, np.float64)
    if values.ndim == 2:
        return [_rounded(row) for row in values]
    return [None if cell != cell else float(f"{cell:.5g}") for cell in values.tolist()]
