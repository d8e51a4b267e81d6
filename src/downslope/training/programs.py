"""The compiled programs of a descent: made once, before the first step, whatever happens later."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from downslope import pytrees
from downslope.gradient.backprop import Batch
from downslope.rules.decay import add_decay
from downslope.rules.rule import Rule
from downslope.training.compiling import jit_steps
from downslope.training.devices import Devices
from downslope.training.plan import Problem
from downslope.training.state import TrainState
from downslope.training.step import Pace
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

    stretch: Callable[..., tuple[TrainState, Trace, Any, Any]]
    weights: Callable[..., tuple[Any, Any]]
    copies: Callable[[Any], Any]
    restarted: Callable[..., TrainState]
    shrunk: Callable[[Any], Any]
    all_finite: Callable[[Any], Any]
    schedule: Callable[[Any, Any], Any]


def compile_programs(
    problem: Problem,
    devices: Devices,
    state: TrainState,
    trace: Trace,
    data: Batch,
    steps: Stretch,
    pace: Pace,
) -> Programs:
    """Return the programs for arrays of these shapes; nothing that changes on the way is compiled in."""
    stretch = jit_steps(make_stretch(problem.step, devices), donate_argnums=(0, 1))
    weights = jax.jit(weights_to_measure(problem, devices))
    schedule = jax.jit(problem.schedule)
    compiled = stretch.lower(state, trace, data, steps, pace).compile()
    schedule(np.int32(0), pace.total_steps)
    return Programs(
        stretch=compiled,
        weights=weights.lower(state, data, steps).compile(),
        copies=jax.jit(lambda arrays: jax.tree.map(jnp.copy, arrays)),
        restarted=jax.jit(lambda *snapshot: _restarted(problem.rule, *snapshot)),
        shrunk=jax.jit(lambda params: add_decay(params, params, -0.01, "matrices")),
        all_finite=jax.jit(pytrees.all_finite),
        schedule=schedule,
    )


def weights_to_measure(problem: Problem, devices: Devices) -> Callable[..., tuple[Any, Any]]:
    """Return the function that copies the weights to measure out of a state that is about to be reused.

    Where the rule averages weights, batch statistics are not those of the average: one pass over the
    rows in training mode brings the running averages to where they belong (Izmailov et al. 2018,
    "Averaging Weights Leads to Wider Optima", https://arxiv.org/abs/1803.05407, section 3.2).
    """

    def weights(state: TrainState, data: Batch, stretch: Stretch) -> tuple[Any, Any]:
        params, model_state = state.params, state.model_state
        if problem.rule.evaluated is not None:
            params = problem.rule.evaluated(params, state.rule_state)
            if jax.tree.leaves(model_state):

                def restate(index: Any, model_state: Any) -> Any:
                    batch = batch_at(index, data, stretch, devices)
                    return problem.objective(params, model_state, batch, stretch.key)[1]

                model_state = jax.lax.fori_loop(0, stretch.order.shape[0], restate, model_state)
        return jax.tree.map(jnp.copy, (params, model_state))

    return weights


def _restarted(
    rule: Rule, step: Any, params: Any, multiplier: Any, loss_scale: Any, line_search: Any
) -> TrainState:
    """Return the state at `step`, the rule's memory cleared, a line search beginning with shorter trials."""
    shorter = jax.tree.map(lambda size: (size * multiplier).astype(size.dtype), line_search)
    return TrainState(step, params, None, rule.init(params), loss_scale, shorter)
