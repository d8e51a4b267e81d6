"""The compiled programs of a descent, and of all that are made of the same parts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from downslope import pytrees
from downslope.gradient.backprop import Batch, Objective
from downslope.rules.decay import add_decay
from downslope.rules.rule import Rule
from downslope.stepsize.schedule import Schedule
from downslope.training.compiling import jit_steps
from downslope.training.devices import Devices
from downslope.training.state import TrainState
from downslope.training.step import Pace, Step
from downslope.training.stretch import Stretch, Trace, batch_at, make_stretch


@dataclass(frozen=True)
class Programs:
    """What the device can be asked to do.

    Attributes:
        stretch: ``(state, trace, data, stretch, pace) -> (state, trace, done, worthwhile)``
            (`training.stretch`); the state and the trace it is given are used up.
        weights: ``(state, data, stretch) -> (params, model_state)``, copies of the weights to measure.
        copies: a pytree of arrays → copies of them.
        restarted: ``(step, params, multiplier, loss_scale, line_search) -> state``, the rule's memory
            cleared.
        shrunk: params → the same, where weights decay 1 % smaller.
        all_finite: a pytree of arrays → whether every number is finite.
        schedule: ``(step, total_steps) -> multiplier`` of the learning rate.
    """

    stretch: Any
    weights: Any
    copies: Callable[[Any], Any]
    restarted: Callable[..., TrainState]
    shrunk: Callable[[Any], Any]
    all_finite: Callable[[Any], Any]
    schedule: Callable[[Any, Any], Any]


def programs_of(
    objective: Objective, step: Step, rule: Rule, schedule: Schedule, devices: Devices
) -> Programs:
    """Return the programs of a descent of such parts, each to be compiled when it is first used.

    Nothing that changes on the way is compiled in, nor any row. So descents that are made of the same parts
    may share their programs, and those whose arrays have the same shapes what was compiled of them.
    """
    return Programs(
        stretch=jit_steps(make_stretch(step, devices), donate_argnums=(0, 1)),
        weights=jax.jit(weights_to_measure(objective, rule, devices)),
        copies=jax.jit(lambda arrays: jax.tree.map(jnp.copy, arrays)),
        restarted=jax.jit(lambda *snapshot: _restarted(rule, *snapshot)),
        shrunk=jax.jit(lambda params: add_decay(params, params, -0.01, "matrices")),
        all_finite=jax.jit(pytrees.all_finite),
        schedule=jax.jit(schedule),
    )


def compiled(
    programs: Programs, state: TrainState, trace: Trace, data: Batch, steps: Stretch, pace: Pace
) -> Programs:
    """Return the programs, those compiled that every descent needs, for arrays of these shapes."""
    programs.schedule(np.int32(0), pace.total_steps)
    return replace(
        programs,
        stretch=programs.stretch.lower(state, trace, data, steps, pace).compile(),
        weights=programs.weights.lower(state, data, steps).compile(),
    )


def weights_to_measure(objective: Objective, rule: Rule, devices: Devices) -> Callable[..., tuple[Any, Any]]:
    """Return the function that copies the weights to measure out of a state that is about to be reused.

    Where the rule averages weights, the batch statistics of the averaged weights are found in one pass over
    the rows in training mode (Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima",
    https://arxiv.org/abs/1803.05407, section 3.2).
    """

    def weights(state: TrainState, data: Batch, stretch: Stretch) -> tuple[Any, Any]:
        params, model_state = state.params, state.model_state

        def passed(index: Any, model_state: Any) -> Any:
            batch = batch_at(index, data, stretch, devices)
            return objective(params, model_state, batch, stretch.key)[1]

        if rule.evaluated is not None:
            params = rule.evaluated(params, state.rule_state)
            before, after = map(jax.tree.leaves, (model_state, passed(0, model_state)))
            # Numbers that come back as they went in are no averages
            if any(new is not old for new, old in zip(after, before, strict=True)):
                model_state = _averaged(passed, model_state, stretch.order.shape[0])
        return jax.tree.map(jnp.copy, (params, model_state))

    return weights


def _averaged(passed: Callable[[Any, Any], Any], model_state: Any, n_batches: int) -> Any:
    """Return the mean over all batches of what running averages take in of each.

    A running average s becomes m s + (1 − m) b with a batch whose own value is b. Its m is what the average
    of ones ends up above that of zeros. So b is known, and s moves to the mean of the i batches so far with

        s ← s + (b − s) / i  =  s + (m s + (1 − m) b − s) / ((1 − m) i)

    whatever it was before. What is not such an average goes the way the forward pass leads it.
    """
    ones = passed(0, jax.tree.map(jnp.ones_like, model_state))
    zeros = passed(0, jax.tree.map(jnp.zeros_like, model_state))

    def one_batch(index: Any, state: Any) -> Any:
        def moved(state: Any, after: Any, one: Any, zero: Any) -> Any:
            if not jnp.issubdtype(state.dtype, jnp.floating):
                return after
            taken = 1 - (one - zero)  # 1 − m
            is_average = (taken > 1e-6) & (taken <= 1)
            gain = jnp.where(is_average, 1 / (jnp.where(is_average, taken, 1) * (index + 1)), 1)
            return (state + gain * (after - state)).astype(state.dtype)

        return jax.tree.map(moved, state, passed(index, state), ones, zeros)

    return jax.lax.fori_loop(0, n_batches, one_batch, model_state)


def _restarted(
    rule: Rule, step: Any, params: Any, multiplier: Any, loss_scale: Any, line_search: Any
) -> TrainState:
    """Return the state at `step`, the rule's memory cleared, a line search beginning with shorter trials."""
    shorter = jax.tree.map(lambda size: (size * multiplier).astype(size.dtype), line_search)
    return TrainState(step, params, None, rule.init(params), loss_scale, shorter)
