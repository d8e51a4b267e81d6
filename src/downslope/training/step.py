"""One step downhill.

params  ←  params − step_size · direction(gradient)
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from downslope import pytrees
from downslope.errors import OptionError
from downslope.gradient.backprop import Batch, Objective, loss_and_gradient
from downslope.gradient.precision import PRECISIONS, SMALLEST_SCALE, Precision
from downslope.rules.rule import Rule
from downslope.stepsize.linesearch import LineSearch
from downslope.stepsize.schedule import Schedule
from downslope.training.compiling import after_all
from downslope.training.state import TrainState


class Pace(NamedTuple):
    """How fast and how long: arrays, so that changing them never compiles anything again.

    Attributes:
        learning_rate: scalar, > 0; the schedule multiplies it.
        total_steps: scalar; the length that the schedule is stretched over. For a schedule in phases
            (`stepsize.phases`), where they lie.
        warm_from: scalar; the step before which a rise of the rate from 0 began (`training.guard`).
        warm_steps: scalar ≥ 1; how many steps the rise takes.
        weight_decay: scalar ≥ 0, decoupled, instead of the rule's own; None: the rule's own.
    """

    learning_rate: Any
    total_steps: Any
    warm_from: Any = np.float32(-1e9)
    warm_steps: Any = np.float32(1.0)
    weight_decay: Any = None

    def warmth(self, step: Any) -> Any:
        """Return the share of the rate that a rise has reached at a step: exactly 1 after it."""
        return jnp.minimum((step - self.warm_from + 1.0) / self.warm_steps, 1.0)


class StepInfo(NamedTuple):
    """What one step saw.

    Attributes:
        loss: of the batch, before the step; NaN where float16 overflowed and the step was skipped.
        gradient: of the batch, the structure of params.
        goes_on: whether there is any point in another step: False once the loss is not a number.
    """

    loss: Float[Array, ""]
    gradient: Any
    goes_on: Bool[Array, ""]


Step = Callable[[TrainState, Batch, Any, Pace], tuple[TrainState, StepInfo]]


def make_step(
    objective: Objective,
    rule: Rule,
    schedule: Schedule,
    *,
    precision: Precision = PRECISIONS["float32"],
    micro_batches: int = 1,
    line_search: LineSearch | None = None,
) -> Step:
    """Return ``step(state, batch, key, pace) -> (state, info)``, a pure function.

    Args:
        objective: the loss of a batch (`gradient.backprop`).
        rule: which way to step.
        schedule: multiplier of the learning rate at a step.
        precision: decides how products add up, and whether the loss is scaled.
        micro_batches: into how many parts a batch is cut to save memory.
        line_search: how far to step, measured on the batch, instead of the pace.

    Raises:
        OptionError: a line search with a rule that must know its step size beforehand.
    """
    if line_search is not None and rule.needs_step_size:
        raise OptionError(
            f"the rule '{rule.name}' must know its step size beforehand, but a line search measures it "
            "afterwards; take another schedule, or another rule such as momentum"
        )
    gradient_of = loss_and_gradient(objective, micro_batches, precision)

    def step(state: TrainState, batch: Batch, key: Any, pace: Pace) -> tuple[TrainState, StepInfo]:
        step_size = pace.learning_rate * schedule(state.step, pace.total_steps) * pace.warmth(state.step)
        loss, gradient, model_state = gradient_of(
            state.params, state.model_state, batch, key, state.loss_scale
        )
        step_size = after_all(step_size, gradient)
        context = {"step": state.step, "step_size": step_size, "loss": loss, "key": key}
        if pace.weight_decay is not None:
            context["weight_decay"] = pace.weight_decay
        direction, rule_state = rule.direction(gradient, state.rule_state, state.params, **context)
        search_state = state.line_search
        if line_search is not None:

            def loss_at(params: Any) -> Float[Array, ""]:
                return objective(params, state.model_state, batch, key)[0]

            step_size, search_state, _ = line_search.search(
                loss_at, state.params, loss, gradient, direction, state.line_search
            )
        params = jax.tree.map(lambda p, d: (p - step_size * d).astype(p.dtype), state.params, direction)
        after = TrainState(state.step + 1, params, model_state, rule_state, state.loss_scale, search_state)
        if state.loss_scale is None:
            return after, StepInfo(loss, gradient, jnp.isfinite(loss))
        return _unless_overflown(precision, state, after, loss, gradient)

    return step


def _unless_overflown(
    precision: Precision, before: TrainState, after: TrainState, loss: Any, gradient: Any
) -> tuple[TrainState, StepInfo]:
    """Take the step where all numbers are finite; else only lower the loss scale, and go on."""
    assert before.loss_scale is not None
    finite = jnp.isfinite(loss) & pytrees.all_finite(gradient)
    taken = jax.tree.map(lambda new, old: jnp.where(finite, new, old), after, before)
    loss_scale = precision.adjusted(before.loss_scale, finite)
    state = replace(taken, step=after.step, loss_scale=loss_scale)
    info = StepInfo(jnp.where(finite, loss, jnp.nan), gradient, loss_scale.scale > SMALLEST_SCALE)
    return state, info
