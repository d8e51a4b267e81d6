"""One step downhill.

params  ←  params − step_size · direction(gradient)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from downslope.gradient.backprop import Batch, Objective, loss_and_gradient
from downslope.rules.rule import Rule
from downslope.stepsize.schedule import Schedule
from downslope.training.state import TrainState


class Pace(NamedTuple):
    """How fast and how long: arrays, so that changing them never compiles anything again.

    Attributes:
        learning_rate: scalar, > 0; the schedule multiplies it.
        total_steps: scalar; the length that the schedule is stretched over.
    """

    learning_rate: Any
    total_steps: Any


class StepInfo(NamedTuple):
    """What one step saw.

    Attributes:
        loss: of the batch, before the step.
        gradient: of the batch, the structure of params.
    """

    loss: Float[Array, ""]
    gradient: Any


Step = Callable[[TrainState, Batch, Any, Pace], tuple[TrainState, StepInfo]]


def make_step(objective: Objective, rule: Rule, schedule: Schedule) -> Step:
    """Return ``step(state, batch, key, pace) -> (state, info)``, a pure function.

    Args:
        objective: the loss of a batch (`gradient.backprop`).
        rule: which way to step.
        schedule: multiplier of the learning rate at a step.
    """
    gradient_of = loss_and_gradient(objective)

    def step(state: TrainState, batch: Batch, key: Any, pace: Pace) -> tuple[TrainState, StepInfo]:
        step_size = pace.learning_rate * schedule(state.step, pace.total_steps)
        loss, gradient, model_state = gradient_of(state.params, state.model_state, batch, key)
        direction, rule_state = rule.direction(
            gradient, state.rule_state, state.params, step=state.step, step_size=step_size, loss=loss, key=key
        )
        params = jax.tree.map(lambda p, d: (p - step_size * d).astype(p.dtype), state.params, direction)
        return TrainState(state.step + 1, params, model_state, rule_state), StepInfo(loss, gradient)

    return step
