"""The ground around a solution: the loss on a plane through it, and on the line between two of them.

    L(θ* + a·d₁ + b·d₂)          θ*: the kept weights, at a = b = 0

A network has too many weights to be looked at, so one looks at a plane. Two choices of its directions
tell two things:

*Principal directions* of the recorded path, the first two singular vectors of the matrix of all
θ_step − θ*: the plane that holds most of the descent, so that the descent can be drawn on it (Li et al.
2018, "Visualizing the Loss Landscape of Neural Nets", https://arxiv.org/abs/1712.09913, section 7). They
are orthogonal and of one length for the whole network, ‖d‖ = 1: a factor for each filter would tilt the
plane off the path that it was fitted to.

*Random directions*, filter-normalised: each filter of d is as long as that filter of θ*, so a step of 1
is as large as the weights, and the sharpness of two networks can be compared by eye (section 4 there).
Biases and other vectors do not move.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from downslope.errors import OptionError
from downslope.gradient.backprop import Batch
from downslope.gradient.curvature import BatchLoss, mean_over_batches

FEWEST, MOST = 3, 301  # points along an axis
POINTS_AT_ONCE = 16
MARGIN = 0.2  # of the path's extent, beyond it on both sides


@dataclass(frozen=True)
class Plane:
    """Two directions through a point, flat.

    Attributes:
        directions: (2, n), float32 or float64.
        explained: the share of the path's squared distances from the centre along each; None for random
            directions.
    """

    directions: Any
    explained: tuple[float, float] | None = None


def principal_plane(path: Sequence[Any], centre: Any) -> Plane | None:
    """Return the plane through `centre` that is nearest to all points of a path, in least squares.

    Args:
        path: trees of weights, of the structure of `centre`.
        centre: θ*.

    Returns:
        The plane, with the share of Σ‖θ − θ*‖² that lies along each direction; None where the path does
        not leave a straight line.
    """
    middle = np.asarray(ravel_pytree(centre)[0])
    away = np.stack([np.asarray(ravel_pytree(point)[0]) for point in path]) - middle  # (points, n)
    squares, mixtures = np.linalg.eigh(away.astype(np.float64) @ away.T.astype(np.float64))
    if len(path) < 2 or squares[-2] <= 1e-9 * max(squares[-1], 1e-300):
        return None
    first_two = mixtures[:, [-1, -2]]  # (points, 2)
    directions = first_two.T @ away  # (2, n)
    # Turned so that the path begins where both coordinates are positive: pictures of like runs look alike.
    signs = np.where(directions @ away[0] < 0, -1.0, 1.0)
    directions *= (signs / np.linalg.norm(directions, axis=1))[:, None]
    shares = squares[[-1, -2]] / squares.sum()
    return Plane(jnp.asarray(directions, middle.dtype), (float(shares[0]), float(shares[1])))


def random_plane(centre: Any, seed: int = 0) -> Plane:
    """Return two random directions, each filter of which is as long as that filter of `centre`.

    A filter is what makes one output: a column of a matrix (inputs, outputs), everything but the last axis
    of a kernel (height, width, channels, filters). Vectors are left where they are, unless there is
    nothing else: then each is one filter.
    """
    leaves, structure = jax.tree.flatten(centre)
    only_vectors = all(leaf.ndim < 2 for leaf in leaves)
    directions = []
    for which in range(2):
        key = jax.random.fold_in(jax.random.key(seed), which)
        drawn = [
            _like_filters(jax.random.fold_in(key, place), leaf, only_vectors)
            for place, leaf in enumerate(leaves)
        ]
        directions.append(ravel_pytree(jax.tree.unflatten(structure, drawn))[0])
    return Plane(jnp.stack(directions))


def _like_filters(key: Any, leaf: Any, only_vectors: bool) -> Any:
    if leaf.ndim < 2 and not only_vectors:
        return jnp.zeros_like(leaf)
    axes = tuple(range(leaf.ndim - 1)) if leaf.ndim > 1 else None
    drawn = jax.random.normal(key, leaf.shape, leaf.dtype)
    length, wanted = (jnp.sqrt(jnp.sum(x**2, axis=axes, keepdims=True)) for x in (drawn, jnp.asarray(leaf)))
    return drawn * wanted / length


def coordinates(plane: Plane, points: Sequence[Any], centre: Any) -> np.ndarray:
    """Return where trees of weights lie on a plane, (points, 2): their orthogonal projections."""
    middle, directions = np.asarray(ravel_pytree(centre)[0]), np.asarray(plane.directions)
    away = np.stack([np.asarray(ravel_pytree(point)[0]) for point in points]) - middle  # (points, n)
    inner = (directions @ directions.T).astype(np.float64)
    return np.linalg.solve(inner, (directions @ away.T).astype(np.float64)).T


def axis(low: float, high: float, resolution: int) -> np.ndarray:
    """Return evenly spaced values from about `low` to about `high`, one of which is exactly 0.

    >>> axis(-1.0, 1.0, 5).tolist(), axis(-0.4, 2.6, 4).tolist()
    ([-1.0, -0.5, 0.0, 0.5, 1.0], [0.0, 1.0, 2.0, 3.0])
    """
    step = (high - low) / (resolution - 1)
    before = min(max(round(-low / step), 0), resolution - 1)
    return step * np.arange(-before, resolution - before)


def span(values: np.ndarray, least: float) -> tuple[float, float]:
    """Return an interval that holds 0 and all `values`, with a margin, and is at least so wide."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    missing = max(0.0, least - (high - low)) / 2
    margin = MARGIN * max(high - low, least)
    return low - missing - margin, high + missing + margin


def checked_resolution(resolution: Any) -> int:
    """Return the number of points along each axis; OptionError where it is not one from 3 to 301."""
    whole = isinstance(resolution, int) and not isinstance(resolution, bool)
    if not whole or not FEWEST <= resolution <= MOST:
        raise OptionError(f"--resolution must be a whole number from {FEWEST} to {MOST}, got {resolution!r}")
    return resolution


def line_through(resolution: int) -> np.ndarray:
    """Return shares of the way from one point to another: evenly from 0 to 1, and a quarter beyond both.

    >>> line_through(5).tolist()
    [-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    """
    beyond = resolution // 4
    return np.arange(-beyond, resolution + beyond) / (resolution - 1)


def barrier(shares: np.ndarray, losses: np.ndarray) -> float:
    """Return how high the loss rises between two solutions, above the straight line between their losses.

    max over 0 ≤ t ≤ 1 of L(t) − ((1 − t)·L(0) + t·L(1)); Frankle et al. 2020, "Linear Mode Connectivity and
    the Lottery Ticket Hypothesis", https://arxiv.org/abs/1912.05671, section 2. Infinite where a loss
    between them is not finite.

    >>> barrier(np.array([0.0, 0.5, 1.0]), np.array([1.0, 3.0, 2.0]))
    1.5
    """
    between = (shares >= 0) & (shares <= 1)
    t, inside = shares[between], losses[between]
    if not np.isfinite(inside).all():
        return float("inf")
    return float(np.max(inside - ((1 - t) * inside[0] + t * inside[-1])))


def losses_on(
    loss: BatchLoss,
    plane: Plane,
    centre: Any,
    model_state: Any,
    batches: Batch,
    points: np.ndarray,
    *,
    towards: Any = None,
    listen: Callable[[int], Any] | None = None,
) -> np.ndarray:
    """Return the loss at points of a plane, (points,), many at once in compiled calls.

    Args:
        loss: (params, model_state, batch) → weighted mean.
        plane: two directions.
        centre: θ*, a tree of weights.
        model_state: of the network, at the centre.
        towards: the model state at (1, 0), which it changes to evenly along the first axis; None: it stays.
        batches: the rows, as `gradient.curvature.stacked` makes them.
        points: (points, 2), coordinates on the plane.
        listen: told how many points are done.
    """
    flat, unravel = ravel_pytree(centre)
    states = model_state, model_state if towards is None else towards
    evaluate = partial(_losses_at, loss, unravel)
    found = []
    for start in range(0, len(points), POINTS_AT_ONCE):
        part = points[start : start + POINTS_AT_ONCE]
        padded = np.concatenate([part, np.zeros((POINTS_AT_ONCE - len(part), 2))]).astype(flat.dtype)
        found.append(np.asarray(evaluate(padded, flat, plane.directions, states, batches))[: len(part)])
        if listen is not None:
            listen(min(start + POINTS_AT_ONCE, len(points)))
    return np.concatenate(found).astype(np.float64)


def _between(share: Any, here: Any, there: Any) -> Any:
    """Return the point so far from here to there; a flag or a count stays what it is here."""
    return here + share * (there - here) if jnp.issubdtype(here.dtype, jnp.inexact) else here


@partial(jax.jit, static_argnums=(0, 1))
def _losses_at(
    loss: BatchLoss,
    unravel: Callable[[Any], Any],
    points: Any,
    centre: Any,
    directions: Any,
    states: tuple[Any, Any],
    batches: Batch,
) -> Float[Array, " points"]:
    def at(point: Float[Array, "2"]) -> Float[Array, ""]:
        params = unravel(centre + point @ directions)
        state = jax.tree.map(partial(_between, point[0]), *states)
        return mean_over_batches(lambda batch: loss(params, state, batch), batches)

    return jax.vmap(at)(points)
