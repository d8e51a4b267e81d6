"""The path of a descent over a surface, by the package's own rules and its own step.

One program is compiled for each (surface, rule). Step size, noise and starting points are arguments of
it, so a change of any of them is answered without compiling.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from downslope.gradient.backprop import Batch
from downslope.lab.surfaces import Surface
from downslope.rules.registry import rule_by_name
from downslope.stepsize.schedule import schedule_by_name
from downslope.training.state import TrainState, initial_state
from downslope.training.step import Pace, make_step

MOST_STEPS = 1000
MOST_STARTS = 6
BEYOND = 6.0  # a path that is so many pictures away has left


class Path(NamedTuple):
    """Where one descent went.

    Attributes:
        points: (steps + 1, dimension), from the start on; cut where it left or lost its value.
        losses: (steps + 1,), the height at each point.
        left: whether it was cut because it went far out of the picture.
        lost: whether it was cut because the loss, or a point, was not a number any more.
        beyond: the loss at the first point that was cut away; NaN where it has none, or nothing was.
    """

    points: np.ndarray
    losses: np.ndarray
    left: bool
    lost: bool
    beyond: float


def descend(
    surface: Surface,
    rule: str,
    step_size: float,
    starts: Sequence[Sequence[float]],
    *,
    steps: int,
    noise: float = 0.0,
    seed: int = 0,
) -> list[Path]:
    """Return one path for each starting point.

    Args:
        surface: what to go down.
        rule: a name of `rules.registry.RULES`.
        step_size: > 0.
        starts: at most `MOST_STARTS` points.
        steps: 1 … `MOST_STEPS`.
        noise: standard deviation of what is added to each slope, as a random batch would; ≥ 0.
        seed: fixes the noise: step i of start j feels the same noise under every rule.
    """
    padded = np.zeros((MOST_STARTS, surface.dimension), np.float32)
    padded[: len(starts)] = starts
    run = _compiled(surface.loss, rule)
    points, losses = run(padded, np.float32(step_size), np.float32(noise), np.uint32(seed))
    points, losses = np.asarray(points), np.asarray(losses)
    return [_cut(surface, points[i, : steps + 1], losses[i, : steps + 1]) for i in range(len(starts))]


@lru_cache(maxsize=256)
def _compiled(loss: Callable[[Any], Any], rule_name: str) -> Callable[..., Any]:
    """Return ``run(starts, step_size, noise, seed) -> (points, losses)``, jitted."""
    rule = rule_by_name(rule_name)

    def objective(point: Any, noise: Any, batch: Batch, key: Any) -> tuple[Any, Any]:
        """The height, whose slope is disturbed: ∇ = ∇loss + noise · n with n standard normal."""
        push = noise * jax.random.normal(key, point.shape)
        disturbance = jnp.vdot(push, point - jax.lax.stop_gradient(point))  # 0, but its slope is not
        return loss(point) + disturbance, noise

    step = make_step(objective, rule, schedule_by_name("constant", warmup=0.0))
    nothing = Batch((), (), jnp.ones(1))

    def one(start: Any, place: Any, step_size: Any, noise: Any, seed: Any) -> Any:
        key = jax.random.fold_in(jax.random.key(seed), place)
        pace = Pace(step_size, jnp.float32(MOST_STEPS))

        def body(state: TrainState, _: None) -> tuple[TrainState, Any]:
            after, _info = step(state, nothing, jax.random.fold_in(key, state.step), pace)
            here = rule.evaluated(after.params, after.rule_state) if rule.evaluated else after.params
            return after, here

        _, points = jax.lax.scan(body, initial_state(start, noise, rule), length=MOST_STEPS)
        points = jnp.concatenate([start[None], points])  # (steps + 1, dimension)
        return points, jax.vmap(loss)(points)

    every = jax.vmap(one, in_axes=(0, 0, None, None, None))
    return jax.jit(
        lambda starts, step_size, noise, seed: every(starts, jnp.arange(len(starts)), step_size, noise, seed)
    )


def _cut(surface: Surface, points: np.ndarray, losses: np.ndarray) -> Path:
    """Return the path up to where it has a value and is anywhere near."""
    spans = np.array([surface.x, surface.y] if surface.y is not None else [surface.x])
    centre, width = spans.mean(axis=1), spans[:, 1] - spans[:, 0]
    with np.errstate(invalid="ignore", over="ignore"):
        has_value = np.isfinite(losses) & np.isfinite(points).all(axis=1)
        is_far = (np.abs(points - centre) > BEYOND * width).any(axis=1)
    good = has_value & ~is_far
    if good.all():
        return Path(points, losses, False, False, math.nan)
    end = int(np.argmin(good))
    left = bool(is_far[end]) or _was_leaving(points[:end], centre, width)
    return Path(points[:end], losses[:end], left, not left, float(losses[end]))


def _was_leaving(points: np.ndarray, centre: np.ndarray, width: np.ndarray) -> bool:
    """Return whether the last point with a value was out of the picture already."""
    return bool(len(points)) and bool((np.abs(points[-1] - centre) > width).any())
