"""The curse of dimensionality: losses to be looked at until a fixed loss is reached, as dimensions are added.

    f(w) = ½ (w − w*)ᵀ H (w − w*),  H = QΛQᵀ,  λᵢ = 10^((i − ½)/d),  w* = (±½, …, ±½),  w₀ = 0

Q is a random rotation and the signs are random: a bowl with a condition number below 10 in any number of
dimensions d, its minimum in the box [−1, 1]ᵈ that the searches look through. Reached is f ≤ ε = 0.1.

descent          w ← w − ∇f(w)/10; a gradient counts as three losses
random search    w uniform in the box. {f ≤ ε} is an ellipsoid with half axes √(2ε/λᵢ) < ½, all of it in
                 the box, so a try succeeds with p = vol(ellipsoid)/2ᵈ, and half of all searches need
                 more than ln 2 / p tries:

                     p = π^(d/2) (2ε)^(d/2) / (Γ(d/2 + 1) · 10^(d/4) · 2ᵈ)

grid search      the centres of kᵈ equal cells, k = ⌈√(10 d / 2ε)⌉: the coarsest grid that is sure to hold
                 a point with f ≤ ε, for the nearest centre is at most √d/k away from w*. Walked in order,
                 half of it on average: ½ kᵈ tries.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from downslope.data.seeds import generator
from downslope.errors import OptionError
from downslope.rules.sgd import gradient_descent
from downslope.study.bruteforce import LOSSES_PER_GRADIENT

TARGET = 0.1  # ε
CURVATURE = 10.0  # no eigenvalue of H is larger
METHODS = ("descent", "random-search", "grid-search")
DEFAULT_BUDGET = 10_000_000  # losses, for each search from each seed
HOPELESS = 10.0  # a search whose formula asks for so many budgets is not begun
MOST_DIMENSIONS = 4096
TRIES_AT_ONCE = 8192
MOST_STEPS = 100_000


@dataclass(frozen=True)
class Reached:
    """One method in one number of dimensions.

    Attributes:
        method: one of `METHODS`.
        dimensions: d.
        losses: for each seed, losses looked at until f ≤ ε; None where the budget came first.
        log10: log₁₀ of the median over the seeds, or, where most did not arrive, of the formula.
        measured: whether `log10` was measured; False: the formula's.
        formula: log₁₀ of what the formula says; None for descent.
        tried: whether any search was begun.
    """

    method: str
    dimensions: int
    losses: list[int | None]
    log10: float
    measured: bool
    formula: float | None
    tried: bool = True


def log10_random_search(dimensions: int) -> float:
    """Return log₁₀ of ln 2 / p, the tries within which half of all random searches arrive.

    >>> round(10 ** log10_random_search(1), 2), round(log10_random_search(1024))
    (2.76, 1834)
    """
    d = dimensions
    log_p = d / 2 * math.log(2 * math.pi * TARGET) - math.lgamma(d / 2 + 1) - d * math.log(2)
    return math.log10(math.log(2)) - log_p / math.log(10) + d / 4 * math.log10(CURVATURE)


def points_per_axis(dimensions: int) -> int:
    """Return k, the points per axis of the coarsest grid that is sure to hold a point with f ≤ ε."""
    return math.ceil(math.sqrt(CURVATURE * dimensions / (2 * TARGET)))


def log10_grid_search(dimensions: int) -> float:
    """Return log₁₀ of ½ kᵈ, the tries that a walk over the grid takes on average.

    >>> round(10 ** log10_grid_search(2))
    50
    """
    return dimensions * math.log10(points_per_axis(dimensions)) - math.log10(2)


def problem(dimensions: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (A, w*) with H = AᵀA, (d, d) and (d,), float32: a function of its arguments."""
    draws = generator(seed, "bowl", dimensions)
    rotation = np.linalg.qr(draws.normal(size=(dimensions, dimensions)))[0]
    eigenvalues = CURVATURE ** ((np.arange(dimensions) + 0.5) / dimensions)
    root = np.sqrt(eigenvalues)[:, None] * rotation
    return root.astype(np.float32), draws.choice([-0.5, 0.5], dimensions).astype(np.float32)


def bowl(points: Any, root: Any, minimum: Any) -> Any:
    """Return f at `points` (…, d)."""
    return 0.5 * jnp.sum(((points - minimum) @ root.T) ** 2, axis=-1)


def measure(
    dimensions: int, seeds: Sequence[int], budget: int = DEFAULT_BUDGET, stop: Callable[[], bool] = bool
) -> list[Reached]:
    """Return how many losses each method looks at, in `dimensions`.

    Args:
        dimensions: d ≥ 1.
        seeds: one problem each.
        budget: losses that a search may look at for each seed, at most 2³⁰.
        stop: asked between searches; True ends the measuring.
    """
    problems = [problem(dimensions, seed) for seed in seeds]
    found = [_descent(dimensions, [jax.device_get(_descend(*drawn)) for drawn in problems])]
    searches = ((log10_random_search, _random, "random-search"), (log10_grid_search, _grid, "grid-search"))
    for formula, look, method in searches:
        expected, losses = formula(dimensions), []
        if expected <= math.log10(HOPELESS * budget):
            for seed, (root, minimum) in zip(seeds, problems, strict=True):
                if stop():
                    break
                answer = look(root, minimum, jax.random.key(seed), jnp.int32(budget))
                losses.append(int(answer) or None)
        found.append(_summed_up(method, dimensions, losses, expected))
    return found


def _summed_up(method: str, dimensions: int, losses: list[int | None], expected: float) -> Reached:
    tries = sorted(math.inf if count is None else count for count in losses)
    median = tries[len(tries) // 2] if tries else math.inf  # of an even number, the larger of the two
    measured = math.isfinite(median)
    log10 = math.log10(median) if measured else expected
    return Reached(method, dimensions, losses, log10, measured, expected, bool(losses))


def _descent(dimensions: int, steps: list[Any]) -> Reached:
    losses = [LOSSES_PER_GRADIENT * int(count) for count in steps]
    return Reached("descent", dimensions, list(losses), math.log10(np.median(losses)), True, None)


@jax.jit
def _descend(root: Any, minimum: Any) -> Any:
    """Return the steps of gradient descent until f ≤ ε."""
    rule = gradient_descent()

    def goes_on(carry: Any) -> Any:
        steps, w, _ = carry
        return (bowl(w, root, minimum) > TARGET) & (steps < MOST_STEPS)

    def step(carry: Any) -> Any:
        steps, w, state = carry
        gradient = jax.grad(bowl)(w, root, minimum)
        direction, state = rule.direction(gradient, state, w)
        return steps + 1, w - direction / CURVATURE, state

    w = jnp.zeros_like(minimum)
    return jax.lax.while_loop(goes_on, step, (jnp.int32(0), w, rule.init(w)))[0]


@jax.jit
def _random(root: Any, minimum: Any, key: Any, budget: Any) -> Any:
    """Return the number of the first try with f ≤ ε, counted from 1; 0 where the budget holds none."""

    def points(first: Any) -> Any:
        shape = (TRIES_AT_ONCE, minimum.shape[0])
        return jax.random.uniform(jax.random.fold_in(key, first), shape, minval=-1.0, maxval=1.0)

    return _first_hit(points, root, minimum, budget)


@jax.jit
def _grid(root: Any, minimum: Any, key: Any, budget: Any) -> Any:
    """Return the number of the first point of the grid with f ≤ ε, counted from 1; else 0."""
    d = minimum.shape[0]
    k = points_per_axis(d)
    # What is larger than any index: its axis has not moved yet.
    powers = jnp.asarray([min(k ** (d - 1 - axis), 2**31 - 1) for axis in range(d)], jnp.int32)

    def points(first: Any) -> Any:
        indices = first + jnp.arange(TRIES_AT_ONCE, dtype=jnp.int32)
        digits = (indices[:, None] // powers) % k  # (tries, d)
        return (2.0 * digits + 1.0) / k - 1.0

    return _first_hit(points, root, minimum, jnp.minimum(budget, jnp.int32(min(k**d, 2**30))))


def _first_hit(points: Callable[[Any], Any], root: Any, minimum: Any, budget: Any) -> Any:
    def goes_on(carry: Any) -> Any:
        first, hit = carry
        return (first < budget) & (hit == 0)

    def look(carry: Any) -> Any:
        first, _ = carry
        inside = bowl(points(first), root, minimum) <= TARGET
        inside &= first + jnp.arange(TRIES_AT_ONCE) < budget
        hit = jnp.where(inside.any(), first + jnp.argmax(inside) + 1, 0)
        return first + TRIES_AT_ONCE, hit.astype(jnp.int32)

    return jax.lax.while_loop(goes_on, look, (jnp.int32(0), jnp.int32(0)))[1]


def dimensions_from(text: str) -> list[int]:
    """Read ``"1,2,4,…,1024"``: whole numbers, ascending; dots go on as the two before them do.

    Twice as many each time where the second is twice the first, else by the same difference.

    >>> dimensions_from("1,2,4,...,32"), dimensions_from("2, 3, …, 6")
    ([1, 2, 4, 8, 16, 32], [2, 3, 4, 5, 6])
    """
    words = [word.strip() for word in text.replace("...", "…").split(",") if word.strip()]
    found: list[int] = []
    for place, word in enumerate(words):
        if word != "…":
            found.append(_dimension(word))
            continue
        if place < 2 or place + 1 != len(words) - 1 or "…" in words[:place]:
            raise OptionError(f"--dimensions: dots stand between two numbers and the last; got '{text}'")
        before, latest, last = found[-2], found[-1], _dimension(words[-1])
        doubling = latest == 2 * before
        while latest > before and (latest := 2 * found[-1] if doubling else 2 * found[-1] - found[-2]) < last:
            found.append(latest)
    if not found or sorted(set(found)) != found:
        raise OptionError(f"--dimensions must be ascending whole numbers such as 1,2,4,8; got '{text}'")
    return found


def _dimension(word: str) -> int:
    if not word.isdecimal() or not 1 <= int(word) <= MOST_DIMENSIONS:
        raise OptionError(
            f"--dimensions must be whole numbers from 1 to {MOST_DIMENSIONS:,}, such as 1,2,4,…,1024; "
            f"got '{word}'"
        )
    return int(word)
