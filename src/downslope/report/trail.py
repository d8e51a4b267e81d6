"""The path of a minimisation, drawn on the loss that it descended."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import plotly.graph_objects as go
from jax.flatten_util import ravel_pytree

from downslope import pytrees
from downslope.report.figures import log_axis, spans
from downslope.report.formatting import number, percent
from downslope.report.landscape_figures import PATH, contour_figure
from downslope.report.theme import LIGHT, as_text, figure, on_paper
from downslope.study.landscape import axis, coordinates, principal_plane, span

RESOLUTION = 81
POINTS_OF_A_CURVE = 401
POINTS_AT_ONCE = 512


def path_figure(loss: Callable[[Any], Any], path: Any, steps: np.ndarray) -> go.Figure:
    """Return the path on the loss: on its curve, on its map, or on the plane that holds most of the path.

    Args:
        loss: params → scalar.
        path: tree of arrays (points, …); the last point is the end.
        steps: (points,), the step of each.
    """
    leaves, structure = jax.tree.flatten(path)
    points = [jax.tree.unflatten(structure, point) for point in zip(*leaves, strict=True)]
    flat = np.stack([np.asarray(ravel_pytree(point)[0], np.float64) for point in points])  # (points, n)
    end, unravel = ravel_pytree(points[-1])

    @jax.jit
    def many(places: Any) -> Any:
        return jax.lax.map(lambda place: loss(unravel(place)), places, batch_size=POINTS_AT_ONCE)

    def losses(places: np.ndarray) -> list[float | None]:
        found = np.asarray(many(places.astype(end.dtype)), np.float64)
        return [float(value) if np.isfinite(value) else None for value in found]

    if flat.shape[1] == 1:
        return on_paper(_curve(losses, flat[:, 0], steps, names_of(points[-1])[0]))
    own = losses(flat)
    if flat.shape[1] == 2:
        plane, directions, origin, places = None, np.eye(2), np.zeros(2), flat
        labels, kind = names_of(points[-1]), "own"
    else:
        plane = principal_plane(points, points[-1])
        if plane is None:  # a straight path: any second direction will do
            away = flat[0] - flat[-1]
            first = away / np.linalg.norm(away) if away.any() else np.eye(flat.shape[1])[0]
            second = np.eye(flat.shape[1])[np.argmin(np.abs(first))]
            second = second - (second @ first) * first
            directions, shares = np.stack([first, second / np.linalg.norm(second)]), (1.0, 0.0)
            places = (flat - flat[-1]) @ directions.T
        else:
            directions, shares = np.asarray(plane.directions, np.float64), plane.explained or (0.0, 0.0)
            places = coordinates(plane, points, points[-1])
        origin = flat[-1]
        labels = [
            f"principal direction {place + 1}: {percent(shares[place])} of the path" for place in (0, 1)
        ]
        kind = "principal"
    x, y = (_axis_around(places[:, which], float(np.ptp(places, axis=0).max())) for which in (0, 1))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)  # y is the slow axis
    heights = losses(origin + grid @ directions)
    return on_paper(
        contour_figure(
            {
                "kind": kind,
                "labels": labels,
                "x": x.tolist(),
                "y": y.tolist(),
                "loss": [heights[row * len(x) : (row + 1) * len(x)] for row in range(len(y))],
                "path": {
                    "step": steps.tolist(),
                    "x": places[:, 0].tolist(),
                    "y": places[:, 1].tolist(),
                    "loss": own,
                },
                "kept": len(steps) - 1,
                "kept_name": "end",
            }
        )
    )


def names_of(params: Any) -> list[str]:
    """Return a name for every number: ``x``, or ``centre[0]`` where a leaf holds several.

    >>> names_of({"x": np.float32(1.0), "w": np.zeros(2)})
    ['w[0]', 'w[1]', 'x']
    """
    names = []
    for path, leaf in zip(pytrees.paths(params), jax.tree.leaves(params), strict=True):
        name = path or "x"
        places = np.ndindex(leaf.shape) if leaf.shape else [()]
        names += [f"{name}[{', '.join(map(str, place))}]" if place else name for place in places]
    return names


def _axis_around(values: np.ndarray, extent: float) -> np.ndarray:
    """Return an even axis around the values, at least half as long as the path is wide."""
    middle = float(values[-1])
    low, high = span(values - middle, least=max(extent / 2, 1e-3 * max(1.0, abs(middle))))
    return middle + axis(low, high, RESOLUTION)


def _curve(
    losses: Callable[[np.ndarray], list[float | None]], x: np.ndarray, steps: Any, name: str
) -> go.Figure:
    low, high = span(x - x[-1], least=1e-3 * max(1.0, abs(float(x[-1]))))
    ground = np.linspace(x[-1] + low, x[-1] + high, POINTS_OF_A_CURVE)
    heights, own = losses(ground[:, None]), losses(x[:, None])
    values = [value for value in heights if value is not None]
    return figure(
        go.Scatter(
            x=ground, y=heights, mode="lines", line={"color": LIGHT["train"], "width": 2}, name="loss"
        ),
        go.Scatter(
            x=x,
            y=own,
            mode="lines+markers",
            line={"color": PATH, "width": 1},
            marker={"color": PATH, "size": 6},
            text=[f"step {step:,}: loss {number(loss, 3)}" for step, loss in zip(steps, own, strict=True)],
            hovertemplate="%{text}<extra></extra>",
            name="descent",
        ),
        height=380,
        xaxis={"title": {"text": as_text(name)}},
        yaxis={"title": {"text": "loss"}, **log_axis(values, spans(values, factor=1000))},
        hovermode="closest",
    )
