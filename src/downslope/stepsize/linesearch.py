"""Backtracking line search: the step size from the loss itself, tried until it is good enough.

    accept the first α of  α₀, α₀·s, α₀·s², …  with   loss(x − α·d) ≤ loss(x) − c·α·⟨g, d⟩

Any direction with ⟨g, d⟩ > 0 descends for small enough α (Armijo's condition). The next search starts a
little above the step size that was accepted, so that it also grows back.

Armijo 1966, "Minimization of functions having Lipschitz continuous first partial derivatives"; Nocedal &
Wright 2006, "Numerical Optimization", Algorithm 3.1. The loss must be the same function for all trials:
the same batch, the same dropout key.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from downslope.pytrees import dot
from downslope.rules.ranges import POSITIVE, checked, counts

PyTree = Any


class LineSearchState(NamedTuple):
    """What is carried from step to step."""

    step_size: Float[Array, ""]  # the last one accepted


class LineSearchInfo(NamedTuple):
    """What is observed of one search."""

    loss: Float[Array, ""]  # at the params that the step leads to
    evaluations: Int[Array, ""]  # of the loss
    accepted: Bool[Array, ""]  # False: no trial was good enough and the step size is 0


@dataclass(frozen=True)
class LineSearch:
    """The (init, search) pair.

    Args:
        init: ``init() -> state``.
        search: ``search(loss, params, value, grads, direction, state) -> (step_size, state, info)``, with
            `loss` a function of the params alone, `value` and `grads` its value and gradient at `params`.
    """

    init: Callable[[], LineSearchState]
    search: Callable[..., tuple[Float[Array, ""], LineSearchState, LineSearchInfo]]


def backtracking(
    initial: float = 1.0,
    *,
    decrease: float = 1e-4,
    shrink: float = 0.5,
    grow: float = 2.0,
    max_step_size: float = math.inf,
    max_evaluations: int = 25,
) -> LineSearch:
    """Return Armijo's backtracking line search.

    Args:
        initial: > 0, the step size accepted "before the first"; the first trial is ``grow · initial``.
        decrease: c in (0, 1), the share of the decrease promised by the slope that must be had.
        shrink: s in (0, 1), the factor from one trial to the next.
        grow: ≥ 1, the first trial as a multiple of the last step size accepted.
        max_step_size: bounds all trials; 1 for Newton-like directions such as L-BFGS.
        max_evaluations: ≥ 1, trials before giving up.

    A trial whose loss is not finite counts as not good enough. When no trial is, and when the direction does
    not descend, the step size is 0 and ``info.accepted`` is False; what to do then is the caller's choice.

    >>> import jax, jax.numpy as jnp
    >>> search = backtracking()
    >>> loss = lambda x: 50 * jnp.sum(x * x)
    >>> x = jnp.ones(3)
    >>> g = jax.grad(loss)(x)
    >>> step_size, state, info = search.search(loss, x, loss(x), g, g, search.init())
    >>> float(step_size), bool(info.accepted), int(info.evaluations)
    (0.015625, True, 8)
    """
    checked(
        "backtracking",
        initial=(initial, POSITIVE),
        decrease=(decrease, "(0, 1)"),
        shrink=(shrink, "(0, 1)"),
        grow=(grow, "[1, inf)"),
    )
    counts("backtracking", max_evaluations=(max_evaluations, "[1, inf)"))
    if max_step_size != math.inf:
        checked("backtracking", max_step_size=(max_step_size, POSITIVE))

    def init():
        return LineSearchState(jnp.asarray(initial, jnp.result_type(float)))

    def search(loss, params, value, grads, direction, state):
        slope = dot(grads, direction)
        dtype = jnp.promote_types(jnp.result_type(value), slope.dtype)
        value, slope = jnp.asarray(value, dtype), jnp.asarray(slope, dtype)

        def trial(step_size):
            moved = jax.tree.map(lambda x, d: x - jnp.asarray(step_size, x.dtype) * d, params, direction)
            reached = jnp.asarray(loss(moved), dtype)
            return reached, jnp.isfinite(reached) & (reached <= value - decrease * step_size * slope)

        def unfinished(carry):
            _, _, good, evaluations = carry
            return ~good & (evaluations < max_evaluations) & (slope > 0)

        def shorten(carry):
            step_size, _, _, evaluations = carry
            step_size = jnp.where(evaluations == 0, step_size, shrink * step_size)
            return step_size, *trial(step_size), evaluations + 1

        first = jnp.asarray(jnp.minimum(grow * state.step_size, max_step_size), dtype)
        start = first, value, jnp.bool_(False), jnp.int32(0)
        step_size, reached, good, evaluations = jax.lax.while_loop(unfinished, shorten, start)
        info = LineSearchInfo(jnp.where(good, reached, value), evaluations, good)
        kept = jnp.where(good, jnp.asarray(step_size, state.step_size.dtype), state.step_size)
        return jnp.where(good, step_size, 0.0), LineSearchState(kept), info

    return LineSearch(init, search)
