"""Adagrad and Adadelta: each coordinate's step over the root of the squares it has seen."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from downslope.rules.decay import DecayMask, add_decay, check_mask
from downslope.rules.leafwise import each_leaf, zeros
from downslope.rules.ranges import FRACTION, NOT_NEGATIVE, POSITIVE, checked
from downslope.rules.rule import Rule

PyTree = Any


class AdagradState(NamedTuple):
    """State of `adagrad`: one number per parameter."""

    squares: PyTree  # sum of g², shaped like params


class AdadeltaState(NamedTuple):
    """State of `adadelta`: two numbers per parameter."""

    v: PyTree  # average of g², shaped like params
    w: PyTree  # average of d², shaped like params


def adagrad(
    eps: float = 1e-10,
    *,
    initial_accumulator: float = 0.0,
    weight_decay: float = 0.0,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """Adagrad: coordinates with a large gradient history take small steps, rare features large ones.

        s ← s + g²
        d = g / (√s + ε)

    Args:
        eps: ε > 0.
        initial_accumulator: s at the start, ≥ 0; above 0 it tames the first steps, which are otherwise ±1.
        weight_decay: λ ≥ 0, coupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.02. Memory: 1 number per parameter.

    Paper: Duchi, Hazan & Singer 2011, "Adaptive Subgradient Methods for Online Learning and Stochastic
    Optimization", https://jmlr.org/papers/v12/duchi11a.html, Figure 1 (diagonal form).
    Departures: torch.optim.Adagrad's `lr_decay` is absent, being a schedule. Optax puts ε inside the root.
    """
    hyper: dict[str, Any] = checked(
        "adagrad",
        eps=(eps, POSITIVE),
        initial_accumulator=(initial_accumulator, NOT_NEGATIVE),
        weight_decay=(weight_decay, NOT_NEGATIVE),
    )
    hyper |= {"decay_mask": check_mask("adagrad", decay_mask)}

    def init(params):
        return AdagradState(jax.tree.map(lambda zero: zero + initial_accumulator, zeros(params)))

    def direction(grads, state, params, **context):
        grads = add_decay(grads, params, weight_decay, decay_mask)

        def update(g, s):
            s = s + g * g
            return g / (jnp.sqrt(s) + eps), s

        d, squares = each_leaf(update, params, grads, state.squares)
        return d, AdagradState(squares)

    return Rule("adagrad", init, direction, 0.02, hyper)


def adadelta(
    rho: float = 0.9,
    eps: float = 1e-6,
    *,
    weight_decay: float = 0.0,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """Adadelta: steps in the units of the parameters, from the ratio of two root mean squares.

        v ← ρ·v + (1 − ρ)·g²
        d = √(w + ε) / √(v + ε) · g
        w ← ρ·w + (1 − ρ)·d²

    Args:
        rho: ρ in [0, 1), how long both averages remember.
        eps: ε > 0; it also sets the size of the first steps, about √ε.
        weight_decay: λ ≥ 0, coupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 1.0. Memory: 2 numbers per parameter.

    Paper: Zeiler 2012, "ADADELTA: An Adaptive Learning Rate Method", https://arxiv.org/abs/1212.5701,
    Algorithm 1.
    """
    hyper: dict[str, Any] = checked(
        "adadelta", rho=(rho, FRACTION), eps=(eps, POSITIVE), weight_decay=(weight_decay, NOT_NEGATIVE)
    )
    hyper |= {"decay_mask": check_mask("adadelta", decay_mask)}

    def init(params):
        return AdadeltaState(zeros(params), zeros(params))

    def direction(grads, state, params, **context):
        grads = add_decay(grads, params, weight_decay, decay_mask)

        def update(g, v, w):
            v = rho * v + (1 - rho) * g * g
            d = jnp.sqrt((w + eps) / (v + eps)) * g
            return d, v, rho * w + (1 - rho) * d * d

        d, v, w = each_leaf(update, params, grads, state.v, state.w)
        return d, AdadeltaState(v, w)

    return Rule("adadelta", init, direction, 1.0, hyper)
