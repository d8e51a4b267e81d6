"""Averages of the weights along the way: EMA, SWA and Lookahead, each around any other rule.

An average follows the params, not the steps: `direction` is handed the params that the last update made
and averages them then; `evaluated` adds the newest ones. The first params, random as they are, never count.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from downslope.errors import OptionError
from downslope.rules.leafwise import each_leaf, one, working_dtype, zero_steps, zeros
from downslope.rules.ranges import FRACTION, checked, counts
from downslope.rules.rule import Rule, as_rule

PyTree = Any


class AverageState(NamedTuple):
    """State of `with_ema` and `with_swa`: one number per parameter, and those of the rule within."""

    steps: Int[Array, ""]
    weight: Float[Array, ""]  # EMA: share of the average that is filled; SWA: how many params it holds
    average: PyTree  # shaped like params
    rule: Any


class LookaheadState(NamedTuple):
    """State of `lookahead`: one number per parameter, and those of the rule within."""

    steps: Int[Array, ""]
    slow: PyTree  # shaped like params
    rule: Any


def with_ema(rule: Rule | optax.GradientTransformation, decay: float = 0.999) -> Rule:
    """Evaluate the exponential moving average of the weights; train as before.

        a ← β·a + (1 − β)·x               evaluated at a / (1 − βᵗ)

    Args:
        rule: the rule that trains.
        decay: β in [0, 1); the last 1/(1 − β) steps count.

    Paper: Polyak & Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging"; with decay,
    Tarvainen & Valpola 2017, https://arxiv.org/abs/1703.01780, section 2. Departure: the average starts
    at 0 and is corrected for it as in Adam, so that it is not dominated by the first params.
    """
    checked("with-ema", decay=(decay, FRACTION))

    def fold(weight, average, params, steps):
        kept = jnp.where(steps > 0, decay, 1.0)  # nothing before the first update
        return _blend(kept, 1 - kept, weight, average, params)

    return _averaged(as_rule(rule), fold, {"ema": decay})


def with_swa(rule: Rule | optax.GradientTransformation, start: int, every: int = 1) -> Rule:
    """Evaluate the equal average of the weights from step `start` on; train as before.

        x̄ = mean of x after steps start, start + every, start + 2·every, …

    Args:
        rule: the rule that trains, with a learning rate that stays high.
        start: first step, ≥ 1, whose params count; before it the params themselves are evaluated.
        every: steps between one that counts and the next, ≥ 1.

    Paper: Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization",
    https://arxiv.org/abs/1803.05407, Algorithm 1.
    """
    counts("with-swa", start=(start, "[1, inf)"), every=(every, "[1, inf)"))

    def fold(weight, average, params, steps):
        due = (steps >= start) & ((steps - start) % every == 0)
        return _blend(1.0, jnp.where(due, 1.0, 0.0), weight, average, params)

    return _averaged(as_rule(rule), fold, {"swa": {"start": start, "every": every}})


def lookahead(rule: Rule | optax.GradientTransformation, every: int = 5, slow_step_size: float = 0.5) -> Rule:
    """Every few steps, go back part of the way: slow weights that follow the fast ones.

        after each k-th step:  φ ← φ + α·(x − φ),  x ← φ

    Args:
        rule: the rule that makes the fast steps.
        every: k ≥ 1, fast steps for one slow step.
        slow_step_size: α in (0, 1].

    Needs `step_size`. Evaluated at the params, which are the slow weights after each k-th step.

    Paper: Zhang et al. 2019, "Lookahead Optimizer: k steps forward, 1 step back",
    https://arxiv.org/abs/1907.08610, Algorithm 1.
    """
    inner = as_rule(rule)
    counts("lookahead", every=(every, "[1, inf)"))
    checked("lookahead", slow_step_size=(slow_step_size, "(0, 1]"))

    def init(params):
        slow = jax.tree.map(lambda leaf: jnp.array(leaf, working_dtype(leaf)), params)
        return LookaheadState(zero_steps(), slow, inner.init(params))

    def direction(grads, state, params, *, step_size, **context):
        d, rule_state = inner.direction(grads, state.rule, params, step_size=step_size, **context)
        steps = state.steps + 1
        back = (steps % every == 0) & (step_size > 0)  # a step of size 0 can take nothing back
        per_step = 1 / jnp.where(step_size > 0, step_size, 1.0)

        def update(d, x, slow, step_size, per_step):
            next_slow = slow + slow_step_size * (x - step_size * d - slow)
            return jnp.where(back, (x - next_slow) * per_step, d), jnp.where(back, next_slow, slow)

        d, slow = each_leaf(update, params, d, params, state.slow, numbers=(step_size, per_step))
        return d, LookaheadState(steps, slow, rule_state)

    def evaluated(params, state):
        return params if inner.evaluated is None else inner.evaluated(params, state.rule)

    hyper = {**inner.hyperparameters, "lookahead": {"every": every, "slow_step_size": slow_step_size}}
    return replace(
        inner,
        init=init,
        direction=direction,
        hyperparameters=hyper,
        evaluated=inner.evaluated and evaluated,
        needs_step_size=True,
    )


def _averaged(inner: Rule, fold, record: dict[str, Any]) -> Rule:
    """Wrap `inner` so that ``fold(weight, average, params, steps)`` sees the params of every step."""
    if inner.evaluated is not None:
        raise OptionError(f"{inner.name} averages its weights already; train with it alone")

    def init(params):
        return AverageState(zero_steps(), 0 * one(), zeros(params), inner.init(params))

    def direction(grads, state, params, **context):
        d, rule_state = inner.direction(grads, state.rule, params, **context)
        weight, average = fold(state.weight, state.average, params, state.steps)
        return d, AverageState(state.steps + 1, weight, average, rule_state)

    def evaluated(params, state):
        weight, average = fold(state.weight, state.average, params, state.steps)
        scale = 1 / jnp.where(weight > 0, weight, 1.0)

        def choose(average, x, scale):
            return (jnp.where(weight > 0, scale * average, x),)

        (chosen,) = each_leaf(choose, params, average, params, numbers=(scale,))
        return chosen

    return replace(
        inner,
        init=init,
        direction=direction,
        hyperparameters={**inner.hyperparameters, **record},
        evaluated=evaluated,
    )


def _blend(kept, added, weight, average, params):
    """Return ``kept·weight + added`` and ``kept·average + added·params``."""

    def update(average, x, kept, added):
        return kept * average + added * x, kept * average + added * x

    _, average = each_leaf(update, params, average, params, numbers=(kept, added))
    return jnp.asarray(kept * weight + added, weight.dtype), average
