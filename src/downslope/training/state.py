"""Everything that is carried from one step to the next, and nothing else."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from downslope.gradient.precision import LossScale
from downslope.rules.rule import Rule
from downslope.stepsize.linesearch import LineSearchState


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Where a descent stands.

    Attributes:
        step: number of updates done so far; int32 scalar.
        params: the weights, float32.
        model_state: what the forward pass carries (running averages of batch normalisation).
        rule_state: what the update rule carries (momentum, second moments).
        loss_scale: what float16 carries; None in other precisions.
        line_search: what a line search carries; None without one.
    """

    step: Int[Array, ""]
    params: Any
    model_state: Any
    rule_state: Any
    loss_scale: LossScale | None = None
    line_search: LineSearchState | None = None


def initial_state(params: Any, model_state: Any, rule: Rule, **carried: Any) -> TrainState:
    """Return the state before the first step; `carried` is what precision and line search begin with."""
    return TrainState(jnp.zeros([], jnp.int32), params, model_state, rule.init(params), **carried)
