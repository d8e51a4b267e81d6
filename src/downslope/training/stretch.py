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
from downslope.training.layers import layer_norms
from downslope.training.state import TrainState
from downslope.training.step import Pace, Step

# The norm of the gradient reads every gradient once more, a tenth of a small network's step. Seen
# every 16th step it still tells the trend, and costs nothing that can be measured.
STEPS_PER_NORM = 16

# How far a step moves each layer needs the weights from before it, which no step can spare: the new ones
# are written over them. So every 128th step is done alone, between a copy of the weights and their norm.
STEPS_PER_RATIO = 128


class Trace(NamedTuple):
    """What the steps of one epoch saw.

    Attributes:
        losses: (steps,), the loss of each batch before its step.
        gradient_norms: (ceil(steps / STEPS_PER_NORM),), ‖gradient‖₂ at each such step.
        layer_gradients: (the same, layers), that norm of each layer (`training.layers`).
        layer_ratios: (ceil(steps / STEPS_PER_RATIO), layers), ‖update‖₂ / ‖weights‖₂ of each layer, at the
            steps whose number since the start of training divides by STEPS_PER_RATIO.
    """

    losses: Float[Array, " steps"]
    gradient_norms: Float[Array, " observed"]
    layer_gradients: Float[Array, "observed layers"]
    layer_ratios: Float[Array, "rarely layers"]


def empty_trace(steps: int, layers: int = 0) -> Trace:
    """Return a trace in which nothing has been seen yet; of 0 `layers` nothing will be."""
    observed, rarely = -(-steps // STEPS_PER_NORM), -(-steps // STEPS_PER_RATIO)
    shapes = (steps, observed, (observed, layers), (rarely, layers))
    return Trace(*jax.device_put([np.full(shape, np.nan, np.float32) for shape in shapes]))


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

        def steps_until(stop: Any, carry: tuple) -> tuple:
            return jax.lax.while_loop(lambda carry: goes_on(carry) & (carry[0] < stop), one_step, carry)

        def one_alone_or_some(carry: tuple) -> tuple:
            """Do the step that is observed, or all up to the next such: one program for both."""
            index, before, trace, _ = carry
            since = before.step % STEPS_PER_RATIO
            index, after, trace, worthwhile = steps_until(
                index + jnp.where(since == 0, 1, STEPS_PER_RATIO - since), carry
            )
            slot = jnp.where(since == 0, (index - 1) // STEPS_PER_RATIO, len(trace.layer_ratios))
            ratios = trace.layer_ratios.at[slot].set(_ratios(before.params, after.params), mode="drop")
            return index, after, trace._replace(layer_ratios=ratios), worthwhile

        begin = (jnp.asarray(stretch.start, jnp.int32), state, trace, jnp.bool_(True))
        if trace.layer_ratios.shape[1]:
            done, state, trace, worthwhile = jax.lax.while_loop(goes_on, one_alone_or_some, begin)
        else:
            done, state, trace, worthwhile = steps_until(stretch.stop, begin)
        return state, trace, done, worthwhile

    return run


def _ratios(before: Any, after: Any) -> Float[Array, " layers"]:
    """Return ‖update‖ / ‖weights‖ of each layer; NaN where the weights are 0."""
    updates = jax.tree.map(lambda new, old: new - old, after, before)
    norms = layer_norms(before)
    return jnp.where(norms > 0, layer_norms(updates) / norms, jnp.nan)


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
    slot = index // STEPS_PER_NORM

    def norms() -> tuple[Array, Array]:
        if not trace.layer_gradients.shape[1]:
            norm = pytrees.norm(gradient).astype(jnp.float32)
            return trace.gradient_norms.at[slot].set(norm), trace.layer_gradients
        by_layer = layer_norms(gradient)
        norm = jnp.linalg.norm(by_layer)
        return trace.gradient_norms.at[slot].set(norm), trace.layer_gradients.at[slot].set(by_layer)

    seen = jax.lax.cond(
        index % STEPS_PER_NORM == 0, norms, lambda: (trace.gradient_norms, trace.layer_gradients)
    )
    losses = trace.losses.at[index].set(loss.astype(jnp.float32))
    return Trace(losses, seen[0], seen[1], trace.layer_ratios)
