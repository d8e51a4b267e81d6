"""What descent replaces: trying weights and keeping the best, without ever asking which way is down.

random search   w = w₀ + r·s∘u,  u uniform in [−1, 1]ᵈ, a new u for every try
grid search     the same box, at every point of a grid with k points per axis: kᵈ tries

A gradient by backpropagation costs about what three losses do (one forward pass, and a backward pass of
twice its work; Griewank & Walther 2008, "Evaluating Derivatives", section 4.6, bound it by four), so a
search may look at three losses for every step of a descent. Every try is a function of (seed, number of
the try), so that only the best number has to be remembered, and tries are evaluated many at a time.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from downslope.data.seeds import generator

LOSSES_PER_GRADIENT = 3
TRIES_AT_ONCE = 32
GRID_POINTS = 3  # per axis: below, at and above the start

# candidate(number of the try) -> weights (d,)
Candidate = Callable[[Any], Float[Array, " d"]]


class Best(NamedTuple):
    """What a search carries: the lowest loss so far, and the number of the try that had it."""

    loss: Any
    index: Any


def nothing_yet() -> Best:
    """Return what a search starts with: any loss that is a number is better."""
    return Best(jnp.float32(jnp.inf), jnp.int32(0))


def box(params: Any) -> Float[Array, " d"]:
    """Return s, the half width of the box around the start for every weight, in the order of `flat`.

    1/√fan-in for the weights of a layer, 1/√n for a vector of n biases or scales: the size of usual initial
    weights, so that a radius r near 1 means a box of their size.
    """

    def half_width(leaf: Array) -> Array:
        fan_in = math.prod(leaf.shape[:-1]) if leaf.ndim > 1 else leaf.size
        return jnp.full(leaf.shape, 1.0 / math.sqrt(max(fan_in, 1)), jnp.float32)

    return ravel_pytree(jax.tree.map(half_width, params))[0]


def random_candidate(
    start: Float[Array, " d"], half_width: Float[Array, " d"], radius: Any, key: Any
) -> Candidate:
    """Return ``candidate(index)``: a point drawn uniformly from the box; number 0 is the start itself."""

    def candidate(index: Any) -> Float[Array, " d"]:
        u = jax.random.uniform(jax.random.fold_in(key, index), start.shape, minval=-1.0, maxval=1.0)
        return jnp.where(index == 0, start, start + radius * half_width * u)

    return candidate


def grid_candidate(
    start: Float[Array, " d"],
    half_width: Float[Array, " d"],
    radius: Any,
    axes: Int[Any, " q"],
    points: int = GRID_POINTS,
) -> Candidate:
    """Return ``candidate(index)``: number `index` of the kᵠ points of a grid over the weights `axes`.

    The grid is walked as nested loops do, the last axis fastest; all other weights stay at the start.
    """
    powers = jnp.asarray([points ** (len(axes) - 1 - axis) for axis in range(len(axes))], jnp.int32)

    def candidate(index: Any) -> Float[Array, " d"]:
        digits = (index // powers) % points  # (q,)
        u = 2.0 * digits / (points - 1) - 1.0
        return start.at[axes].add(radius * half_width[axes] * u)

    return candidate


def grid_axes(n_weights: int, tries: int, seed: int, points: int = GRID_POINTS) -> np.ndarray:
    """Return which weights a grid of at most `tries` points can cover, (q,): drawn by the seed.

    q = ⌊log_k tries⌋, at most all weights and at least one.
    """
    covered = 1
    while points ** (covered + 1) <= tries and covered < n_weights:
        covered += 1
    drawn = generator(seed, "axes of the grid").choice(n_weights, covered, replace=False)
    return np.sort(drawn).astype(np.int32)


def tries_of_whole_grid(dimensions: int, points: int = GRID_POINTS) -> float:
    """Return log₁₀ kᵈ: the power of ten of how many tries a grid over all weights would take."""
    return dimensions * math.log10(points)


def search(
    loss: Callable[[Float[Array, " d"]], Any], candidate: Candidate, best: Best, start: Any, stop: Any
) -> Best:
    """Return the best after the tries ``start ≤ index < stop``; pure, to be jitted.

    A loss that is not a number is worse than any that is. Of equal losses the first try is kept.
    """

    def goes_on(carry: tuple[Any, Best]) -> Any:
        return carry[0] < stop

    def look(carry: tuple[Any, Best]) -> tuple[Any, Best]:
        first, best = carry
        indices = first + jnp.arange(TRIES_AT_ONCE, dtype=jnp.int32)
        losses = jax.vmap(lambda index: loss(candidate(index)))(indices)  # (tries,)
        usable = (indices < stop) & ~jnp.isnan(losses)
        losses = jnp.where(usable, losses, jnp.inf).astype(jnp.float32)
        place = jnp.argmin(losses)
        better = losses[place] < best.loss
        best = Best(
            jnp.where(better, losses[place], best.loss), jnp.where(better, indices[place], best.index)
        )
        return first + TRIES_AT_ONCE, best

    return jax.lax.while_loop(goes_on, look, (jnp.int32(start), best))[1]
