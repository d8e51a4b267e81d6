"""NAdam and NAdamW: Adam with Nesterov's look-ahead in its mean."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from downslope.rules.adam import check_moments
from downslope.rules.decay import DecayMask, add_decay
from downslope.rules.leafwise import each_leaf, one, one_minus_power, zero_steps, zeros
from downslope.rules.ranges import NOT_NEGATIVE, checked
from downslope.rules.rule import Rule

PyTree = Any


class NadamState(NamedTuple):
    """State of `nadam` and `nadamw`: two numbers per parameter."""

    steps: Int[Array, ""]
    mu_product: Float[Array, ""]  # μ₁·μ₂·…·μₜ
    m: PyTree  # average of g, shaped like params
    v: PyTree  # average of g², shaped like params


def nadam(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    *,
    momentum_decay: float | None = 0.004,
    weight_decay: float = 0.0,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """NAdam: Adam whose mean gradient is the one that the next step would see.

        μₜ = β₁·(1 − ½·0.96^(t·ψ))                      m, v as in Adam
        m̂ = μₜ₊₁·m / (1 − Πᵢ₌₁ᵗ⁺¹ μᵢ) + (1 − μₜ)·g / (1 − Πᵢ₌₁ᵗ μᵢ)
        d = m̂ / (√(v / (1 − β₂ᵗ)) + ε)

    Args:
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: ε > 0.
        momentum_decay: ψ ≥ 0, how fast μ rises from β₁/2 to β₁; `None`: μ = β₁ throughout, as in Optax.
        weight_decay: λ ≥ 0, coupled (added to the gradient).
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.002. Memory: 2 numbers per parameter.

    Paper: Dozat 2016, "Incorporating Nesterov Momentum into Adam",
    https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ, Algorithm 2; the
    rising μ, with ψ = 1/250, as in torch.optim.NAdam.
    """
    return _nadam("nadam", b1, b2, eps, momentum_decay, weight_decay, decay_mask, decoupled=False)


def nadamw(
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    *,
    momentum_decay: float | None = 0.004,
    weight_decay: float = 0.01,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """NAdamW: NAdam whose weight decay bypasses the moments.

        d = m̂ / (√v̂ + ε) + λ·x          m̂, v̂ as in NAdam

    Args:
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: ε > 0.
        momentum_decay: ψ ≥ 0 or `None`; see `nadam`.
        weight_decay: λ ≥ 0, decoupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.002. Memory: 2 numbers per parameter.

    Paper: Dozat 2016 for the moments; Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101,
    Algorithm 2, for the decay. The same as torch.optim.NAdam(decoupled_weight_decay=True).
    """
    return _nadam("nadamw", b1, b2, eps, momentum_decay, weight_decay, decay_mask, decoupled=True)


def _nadam(
    name: str,
    b1: float,
    b2: float,
    eps: float,
    momentum_decay: float | None,
    weight_decay: float,
    decay_mask: DecayMask,
    decoupled: bool,
) -> Rule:
    hyper = check_moments(name, b1, b2, eps, weight_decay, decay_mask)
    if momentum_decay is not None:
        checked(name, momentum_decay=(momentum_decay, NOT_NEGATIVE))
    hyper |= {"momentum_decay": momentum_decay}

    def mu(step):
        if momentum_decay is None:
            return jnp.asarray(b1, one().dtype)
        return b1 * (1 - 0.5 * jnp.power(0.96, step.astype(one().dtype) * momentum_decay))

    def init(params):
        return NadamState(zero_steps(), one(), zeros(params), zeros(params))

    def direction(grads, state, params, *, weight_decay=weight_decay, **context):
        if not decoupled:
            grads = add_decay(grads, params, weight_decay, decay_mask)
        steps = state.steps + 1
        mu_now, mu_next = mu(steps), mu(steps + 1)
        product = state.mu_product * mu_now
        of_mean = mu_next / (1 - product * mu_next)
        of_gradient = (1 - mu_now) / (1 - product)

        def update(g, m, v, of_mean, of_gradient, c2):
            m = b1 * m + (1 - b1) * g
            v = b2 * v + (1 - b2) * g * g
            return (of_mean * m + of_gradient * g) / (jnp.sqrt(c2 * v) + eps), m, v

        numbers = of_mean, of_gradient, 1 / one_minus_power(b2, steps)
        d, m, v = each_leaf(update, params, grads, state.m, state.v, numbers=numbers)
        if decoupled:
            d = add_decay(d, params, weight_decay, decay_mask)
        return d, NadamState(steps, product, m, v)

    return Rule(name, init, direction, 0.002, hyper)
