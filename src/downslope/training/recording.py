"""The path that `minimize` takes, written down by the compiled steps themselves.

Of a few weights every point can be remembered, and an overshoot between two stretches is seen. The path
travels in the state beside the weights: one row for every so many steps, and a last row, never read,
for the steps in between, so that each step does the same.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from downslope import pytrees
from downslope.gradient.backprop import Batch
from downslope.training.state import TrainState
from downslope.training.step import Pace, Step, StepInfo

MOST_POINTS = 2000
MOST_WEIGHTS = 10_000  # of more, writing them down would be felt
MOST_NUMBERS = 1_000_000  # of all points together


def steps_per_point(params: Any, steps: int) -> int:
    """Return after how many steps a point is written down each time; 0: there are too many weights.

    >>> steps_per_point(np.zeros(2), 500), steps_per_point(np.zeros(2), 5000)
    (1, 3)
    >>> steps_per_point(np.zeros(10**6), 5)
    0
    """
    size = pytrees.count(params)
    if size > MOST_WEIGHTS or size == 0:
        return 0
    return -(-steps // min(MOST_POINTS, MOST_NUMBERS // size))


def empty_path(params: Any, steps: int, every: int) -> Any:
    """Return room for every point of so many steps, as a model state; nothing where there is no path."""
    if not every:
        return ()
    rows = -(-steps // every) + 1
    return jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape), leaf.dtype), params)


def recording(step: Step, every: int) -> Step:
    """Return `step`, writing down where each step begins if it is the turn of that step."""
    if not every:
        return step

    def recorded(state: TrainState, batch: Batch, key: Any, pace: Pace) -> tuple[TrainState, StepInfo]:
        after, info = step(state, batch, key, pace)

        def write(rows: Any, leaf: Any) -> Any:
            row = jnp.where(state.step % every == 0, state.step // every, len(rows) - 1)
            return jax.lax.dynamic_update_index_in_dim(rows, leaf, row, 0)

        return replace(after, model_state=jax.tree.map(write, state.model_state, state.params)), info

    return recorded


def path_so_far(path: Any, params: Any, steps: int, every: int) -> tuple[Any, np.ndarray]:
    """Return the points of so many steps and the end, (points, …) by leaf, and the step of each point."""
    seen = np.arange(0, steps, every)
    points = jax.tree.map(lambda rows, end: np.concatenate([rows[: len(seen)], end[None]]), path, params)
    return points, np.append(seen, steps)
