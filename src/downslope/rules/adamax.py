"""Adamax and RAdam: Adam with a maximum for its mean square, and Adam that trusts it only when it may."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int

from downslope.rules.adam import AdamState, check_moments
from downslope.rules.decay import DecayMask, add_decay
from downslope.rules.leafwise import each_leaf, one_minus_power, zero_steps, zeros
from downslope.rules.ranges import checked
from downslope.rules.rule import Rule

PyTree = Any


class AdamaxState(NamedTuple):
    """State of `adamax`: two numbers per parameter."""

    steps: Int[Array, ""]
    m: PyTree  # average of g, shaped like params
    u: PyTree  # decaying maximum of |g|, shaped like params


def adamax(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """Adamax: Adam with the infinity norm, so that no single step exceeds the learning rate by much.

        m ← β₁·m + (1 − β₁)·g
        u ← max(β₂·u, |g| + ε)
        d = m / ((1 − β₁ᵗ)·u)

    Args:
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1), how fast the maximum fades.
        eps: ε > 0.
        weight_decay: λ ≥ 0, coupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.005. Memory: 2 numbers per parameter.

    Paper: Kingma & Ba 2015, https://arxiv.org/abs/1412.6980, Algorithm 2.
    Departures: ε, which the paper does without, as in torch.optim.Adamax and Optax.
    """
    hyper = check_moments("adamax", b1, b2, eps, weight_decay, decay_mask)

    def init(params):
        return AdamaxState(zero_steps(), zeros(params), zeros(params))

    def direction(grads, state, params, **context):
        grads = add_decay(grads, params, weight_decay, decay_mask)
        steps = state.steps + 1

        def update(g, m, u, c1):
            m = b1 * m + (1 - b1) * g
            u = jnp.maximum(b2 * u, jnp.abs(g) + eps)
            return c1 * m / u, m, u

        numbers = (1 / one_minus_power(b1, steps),)
        d, m, u = each_leaf(update, params, grads, state.m, state.u, numbers=numbers)
        return d, AdamaxState(steps, m, u)

    return Rule("adamax", init, direction, 0.005, hyper)


def radam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    *,
    weight_decay: float = 0.0,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """RAdam: Adam that divides by √v only once enough gradients have been seen for it to be reliable.

        ρ∞ = 2/(1 − β₂) − 1              ρ = ρ∞ − 2t·β₂ᵗ/(1 − β₂ᵗ)        m, v, m̂ as in Adam
        d = m̂                                        while ρ ≤ 5
        d = r·m̂·√(1 − β₂ᵗ) / (√v + ε)                afterwards, with
        r = √( (ρ − 4)(ρ − 2)·ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)·ρ) )

    Args:
        b1: β₁ in [0, 1).
        b2: β₂ in [0.7, 1): below about 0.67, ρ never passes 5 and nothing would adapt.
        eps: ε > 0.
        weight_decay: λ ≥ 0, coupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.005. Memory: 2 numbers per parameter.

    Paper: Liu et al. 2020, "On the Variance of the Adaptive Learning Rate and Beyond",
    https://arxiv.org/abs/1908.03265, Algorithm 2.
    Departures: the threshold on ρ is 5 instead of 4, as in the authors' code and torch.optim.RAdam; ε is
    added to √v before the bias correction as in torch (Optax: after).
    """
    checked("radam", b2=(b2, "[0.7, 1)"))
    hyper = check_moments("radam", b1, b2, eps, weight_decay, decay_mask)
    rho_inf = 2 / (1 - b2) - 1

    def init(params):
        return AdamState(zero_steps(), zeros(params), zeros(params))

    def direction(grads, state, params, **context):
        grads = add_decay(grads, params, weight_decay, decay_mask)
        steps = state.steps + 1
        filled = one_minus_power(b2, steps)  # 1 − β₂ᵗ
        rho = rho_inf - 2 * steps.astype(filled.dtype) * (1 - filled) / filled
        reliable = rho > 5
        safe_rho = jnp.where(reliable, rho, 5.0)
        r = jnp.sqrt((safe_rho - 4) * (safe_rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * safe_rho))

        def update(g, m, v, plain, adaptive):
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            return jnp.where(reliable, adaptive * m / (jnp.sqrt(v) + eps), plain * m), m, v

        c1 = 1 / one_minus_power(b1, steps)
        numbers = c1, c1 * r * jnp.sqrt(filled)
        d, m, v = each_leaf(update, params, grads, state.m, state.v, numbers=numbers)
        return d, AdamState(steps, m, v)

    return Rule("radam", init, direction, 0.005, hyper)
