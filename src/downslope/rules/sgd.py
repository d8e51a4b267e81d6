"""The rules that follow the gradient itself: plain descent, heavy-ball momentum, Nesterov's momentum.

Weight decay is coupled in all of them (added to the gradient), as in torch.optim.SGD; for these rules
without momentum that is the same as decoupled decay.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Int

from downslope.rules.decay import DecayMask, add_decay, check_mask
from downslope.rules.leafwise import each_leaf, zero_steps, zeros
from downslope.rules.ranges import FRACTION, NOT_NEGATIVE, checked
from downslope.rules.rule import Rule

PyTree = Any


class MomentumState(NamedTuple):
    """State of `momentum` and `nesterov`: one number per parameter."""

    steps: Int[Array, ""]
    velocity: PyTree  # shaped like params


def gradient_descent(*, weight_decay: float = 0.0, decay_mask: DecayMask = "matrices") -> Rule:
    """Steepest descent: the direction is the gradient (of the whole data set, in batch descent).

        d = g

    Args:
        weight_decay: λ ≥ 0, coupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.5. Memory: nothing.

    Paper: Cauchy 1847, "Méthode générale pour la résolution des systèmes d'équations simultanées".
    """
    return _plain("gradient-descent", 0.5, weight_decay, decay_mask)


def sgd(*, weight_decay: float = 0.0, decay_mask: DecayMask = "matrices") -> Rule:
    """Stochastic gradient descent: the same direction, from the gradient of a batch drawn at random.

        d = g

    Args:
        weight_decay: λ ≥ 0, coupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.1. Memory: nothing.

    Paper: Robbins & Monro 1951, "A Stochastic Approximation Method".
    """
    return _plain("sgd", 0.1, weight_decay, decay_mask)


def momentum(
    momentum: float = 0.9,
    *,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """Heavy ball: a velocity that remembers past gradients, so that steady directions add up.

        u ← μ·u + (1 − τ)·g        (first step: u = g)
        d = u

    Args:
        momentum: μ in [0, 1); gradients of the last 1/(1 − μ) steps count.
        dampening: τ in [0, 1]; τ = μ makes the velocity an average instead of a sum.
        weight_decay: λ ≥ 0, coupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.05. Memory: 1 number per parameter.

    Paper: Polyak 1964, "Some methods of speeding up the convergence of iteration methods".
    Departures: the learning rate multiplies the whole velocity instead of each gradient as it enters (as in
    torch.optim.SGD); the two are the same while the rate is constant. Dampening is torch's.
    """
    return _with_velocity("momentum", momentum, dampening, weight_decay, decay_mask, look_ahead=False)


def nesterov(momentum: float = 0.9, *, weight_decay: float = 0.0, decay_mask: DecayMask = "matrices") -> Rule:
    """Nesterov's momentum: the velocity as it will be after this gradient has been felt once more.

        u ← μ·u + g
        d = g + μ·u

    Args:
        momentum: μ in [0, 1).
        weight_decay: λ ≥ 0, coupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.05. Memory: 1 number per parameter.

    Paper: Nesterov 1983; in the form of Sutskever et al. 2013, "On the importance of initialization and
    momentum in deep learning", equations 3 and 4, with the look-ahead point taken as the parameters
    (Bengio et al. 2012, "Advances in optimizing recurrent networks", equation 7), as in torch.optim.SGD.
    """
    return _with_velocity("nesterov", momentum, 0.0, weight_decay, decay_mask, look_ahead=True)


def _plain(name: str, learning_rate: float, weight_decay: float, decay_mask: DecayMask) -> Rule:
    hyper = checked(name, weight_decay=(weight_decay, NOT_NEGATIVE))

    def init(params):
        return ()

    def direction(grads, state, params, **context):
        grads = add_decay(grads, params, weight_decay, decay_mask)
        (d,) = each_leaf(lambda g: (g,), params, grads)
        return d, state

    hyper |= {"decay_mask": check_mask(name, decay_mask)}
    return Rule(name, init, direction, learning_rate, hyper)


def _with_velocity(
    name: str, mu: float, dampening: float, weight_decay: float, decay_mask: DecayMask, look_ahead: bool
) -> Rule:
    hyper = checked(name, momentum=(mu, FRACTION), weight_decay=(weight_decay, NOT_NEGATIVE))
    if not look_ahead:
        hyper |= checked(name, dampening=(dampening, "[0, 1]"))

    def init(params):
        return MomentumState(zero_steps(), zeros(params))

    def direction(grads, state, params, **context):
        grads = add_decay(grads, params, weight_decay, decay_mask)
        entering = jnp.where(state.steps == 0, 1.0, 1.0 - dampening)

        def update(g, u, entering):
            u = mu * u + (entering * g if dampening else g)
            return g + mu * u if look_ahead else u, u

        d, velocity = each_leaf(update, params, grads, state.velocity, numbers=(entering,))
        return d, MomentumState(state.steps + 1, velocity)

    hyper |= {"decay_mask": check_mask(name, decay_mask)}
    return Rule(name, init, direction, 0.05, hyper)
