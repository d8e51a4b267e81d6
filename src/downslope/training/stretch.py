"""Many steps in one compiled call.

A stretch is a run of consecutive steps of one epoch. The device does them all without asking Python:
it looks up the rows of each batch in the epoch's order, steps, and writes down what it saw. How many
steps a stretch has is an argument, not a constant, so one compiled program serves for any number: a
whole epoch, the rest of one after a resume, or the few steps until the display wants to be refreshed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from downslope import pytrees
from downslope.gradient.backprop import Batch
from downslope.training.devices import ONE_DEVICE, Devices
from downslope.training.state import TrainState
from downslope.training.step import Pace, Step

# The norm of the gradient reads every gradient once more, a tenth of a small network's step. Seen
# every 16th step it still tells the trend, and costs nothing that can be measured.
STEPS_PER_NORM = 16


class Trace(NamedTuple):
    """What the steps of one epoch saw.

    Attributes:
        losses: (steps,), the loss of each batch before its step.
        gradient_norms: (ceil(steps / STEPS_PER_NORM),), ‖gradient‖₂ at each such step.
    """

    losses: Float[Array, " steps"]
    gradient_norms: Float[Array, " observed"]


def empty_trace(steps: int) -> Trace:
    """Return a trace in which nothing has been seen yet."""
    observed = -(-steps // STEPS_PER_NORM)
    nothing = [np.full(size, np.nan, np.float32) for size in (steps, observed)]
    return Trace(*jax.device_put(nothing))


class Stretch(NamedTuple):
    """Which steps to do.

    Attributes:
        order: (steps of the epoch, lanes), the rows of each batch; padded where there are fewer.
        batch_size: real lanes of a batch, at most.
        n_rows: rows of the epoch; after so many real lanes, in reading order, all is padding.
        start, stop: steps ``start ≤ i < stop`` of the epoch are done. Where one batch holds all rows,
            these may run on: every step then takes all rows.
        key: the run's key; the randomness of a step is a function of it and the step number.
    """

    order: Int[Any, "steps lanes"]
    batch_size: Any
    n_rows: Any
    start: Any
    stop: Any
    key: Any


def make_stretch(
    step: Step, devices: Devices = ONE_DEVICE
) -> Callable[[TrainState, Trace, Batch, Stretch, Pace], tuple[TrainState, Trace, Array, Array]]:
    """Return ``run(state, trace, data, stretch, pace) -> (state, trace, done, worthwhile)``, to be jitted.

    `data` is the whole training set as one `Batch`, on the device. `done` is where the stretch ended: at
    its stop, or early after a loss that is not finite, that of step ``done − 1``; then `worthwhile` is False.
    """

    def run(state: TrainState, trace: Trace, data: Batch, stretch: Stretch, pace: Pace):
        def goes_on(carry: tuple) -> Array:
            index, _, _, worthwhile = carry
            return (index < stretch.stop) & worthwhile

        def one_step(carry: tuple) -> tuple:
            index, state, trace, _ = carry
            key = jax.random.fold_in(stretch.key, state.step)
            state, info = step(state, batch_at(index, data, stretch, devices), key, pace)
            return index + 1, state, _observe(trace, index, info.loss, info.gradient), info.goes_on

        start = jnp.asarray(stretch.start, jnp.int32)
        done, state, trace, worthwhile = jax.lax.while_loop(
            goes_on, one_step, (start, state, trace, jnp.bool_(True))
        )
        return state, trace, done, worthwhile

    return run


def batch_at(index: Array, data: Batch, stretch: Stretch, devices: Devices = ONE_DEVICE) -> Batch:
    """Return the batch of one step, its rows spread over the devices; padding has weight 0."""
    steps_per_epoch, n_lanes = stretch.order.shape
    if steps_per_epoch == 1 and n_lanes == len(data.weights) and n_lanes % devices.count == 0:
        return devices.spread(data)  # a mean over all rows needs neither their order nor a copy of them
    rows = devices.spread(stretch.order[index])  # (lanes,)
    batch = jax.tree.map(lambda array: array.at[rows].get(mode="promise_in_bounds"), data)
    lanes = jnp.arange(n_lanes)
    is_real = (lanes < stretch.batch_size) & (index * stretch.batch_size + lanes < stretch.n_rows)
    return devices.spread(batch._replace(weights=jnp.where(is_real, batch.weights, 0.0)))


def _observe(trace: Trace, index: Array, loss: Array, gradient: Any) -> Trace:
    norms = jax.lax.cond(
        index % STEPS_PER_NORM == 0,
        lambda: trace.gradient_norms.at[index // STEPS_PER_NORM].set(
            pytrees.norm(gradient).astype(jnp.float32)
        ),
        lambda: trace.gradient_norms,
    )
    return Trace(trace.losses.at[index].set(loss.astype(jnp.float32)), norms)
