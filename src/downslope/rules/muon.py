"""Muon: momentum whose matrices are made orthogonal before the step.

The gradient of a weight matrix is dominated by few directions. Replacing the momentum U·S·Vᵀ by U·Vᵀ
gives all directions the same length. Newton–Schulz iterations do so with matrix products only.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from downslope.errors import OptionError
from downslope.rules.adam import adamw
from downslope.rules.decay import DecayMask, add_decay, check_mask
from downslope.rules.leafwise import each_leaf, zeros
from downslope.rules.partition import labels, merge, split
from downslope.rules.ranges import FRACTION, NOT_NEGATIVE, POSITIVE, checked, counts
from downslope.rules.rule import Rule, as_rule

PyTree = Any
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # the quintic a·s + b·s³ + c·s⁵ of the post, steepest at s = 0
NOT_HIDDEN = ("embed", "head", "output", "logits", "readout")


class MuonState(NamedTuple):
    """State of `muon`: one number per parameter of hidden matrices, the other rule's elsewhere."""

    m: PyTree  # average of g, shaped like the hidden matrices; None elsewhere
    other: Any  # state of the rule for the rest


def is_hidden_matrix(path: str, leaf: Any) -> bool:
    """Return whether a leaf has two axes and no part of its path names an embedding or the output layer."""
    return jnp.ndim(leaf) == 2 and not any(word in path.lower() for word in NOT_HIDDEN)


def muon(
    momentum: float = 0.95,
    *,
    nesterov: bool = True,
    newton_schulz_steps: int = 5,
    eps: float = 1e-7,
    scale: str = "original",
    weight_decay: float = 0.1,
    decay_mask: DecayMask = "matrices",
    hidden: Callable[[str, Any], bool] | None = None,
    other: Rule | optax.GradientTransformation | None = None,
    other_rate: float = 0.1,
) -> Rule:
    """Muon: orthogonalised momentum for the hidden matrices, another rule for all other parameters.

        m ← μ·m + (1 − μ)·g               n = μ·m + (1 − μ)·g    (without Nesterov: n = m)
        d = s · NewtonSchulz(n) + λ·x

    Args:
        momentum: μ in [0, 1).
        nesterov: look ahead by one gradient.
        newton_schulz_steps: iterations, 1 to 99; 5 bring all singular values to about 0.7 … 1.2.
        eps: ε > 0, the least norm by which n is divided first.
        scale: s for a matrix of `inputs` × `outputs`. ``"original"``: √max(1, outputs/inputs);
            ``"match_rms_adamw"``: 0.2·√max(outputs, inputs), with which AdamW's learning rates and
            ``other_rate=1`` suit (Liu et al. 2025, https://arxiv.org/abs/2502.16982, equation 4).
        weight_decay: λ ≥ 0, decoupled; of the hidden matrices.
        decay_mask: which of them decay; see `downslope.rules.decay`.
        hidden: ``(path, leaf) -> bool``: which leaves are hidden matrices; `None`: those with two axes
            whose path does not contain embed, head, output, logits or readout. The first layer of a
            network without embeddings counts as hidden, as in the author's examples.
        other: the rule for the rest; `None`: ``adamw()``.
        other_rate: the other rule's learning rate as a multiple of this one's, > 0.

    Default learning rate 0.02. Memory: 1 number per parameter of hidden matrices, 2 elsewhere.

    Paper: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks",
    https://kellerjordan.github.io/posts/muon/.
    Departures: the average m where the post has a sum, which is the same after orthogonalisation (as in
    torch); matrices are (inputs, outputs) here and (outputs, inputs) in torch.optim.Muon, whose scale is
    therefore of the transpose; the iterations run in the dtype of the params (at least float32) where the
    post and torch round to bfloat16; a leaf of more than two axes counts as not hidden, as in torch.
    """
    hyper: dict[str, Any] = checked(
        "muon",
        momentum=(momentum, FRACTION),
        eps=(eps, POSITIVE),
        weight_decay=(weight_decay, NOT_NEGATIVE),
        other_rate=(other_rate, POSITIVE),
    )
    hyper |= counts("muon", newton_schulz_steps=(newton_schulz_steps, "[1, 99]"))
    if scale not in ("original", "match_rms_adamw"):
        raise OptionError(f"muon: scale must be 'original' or 'match_rms_adamw', got {scale!r}")
    hyper |= {"nesterov": nesterov, "scale": scale, "decay_mask": check_mask("muon", decay_mask)}
    if hidden is not None and not callable(hidden):
        raise OptionError(f"muon: hidden must be a function of (path, leaf), got {hidden!r}")
    hyper |= {"hidden": hidden, "other": other}
    is_hidden = is_hidden_matrix if hidden is None else hidden
    rest = adamw() if other is None else as_rule(other)

    def parts(params):
        of_leaf = labels(params, lambda path, leaf: 0 if is_hidden(path, leaf) else 1)
        return of_leaf, *split(params, of_leaf, 2)

    def init(params):
        _, matrices, others = parts(params)
        return MuonState(zeros(matrices), rest.init(others))

    def direction(grads, state, params, *, step_size=None, weight_decay=weight_decay, **context):
        of_leaf, matrices, others = parts(params)
        matrix_grads, other_grads = split(grads, of_leaf, 2)

        def update(g, m):
            if g.ndim != 2:
                raise OptionError(f"muon: hidden must choose matrices, but chose an array of shape {g.shape}")
            m = momentum * m + (1 - momentum) * g
            n = momentum * m + (1 - momentum) * g if nesterov else m
            return _scale(scale, *g.shape) * orthogonalized(n, newton_schulz_steps, eps), m

        d, m = each_leaf(update, matrices, matrix_grads, state.m)
        d = add_decay(d, matrices, weight_decay, decay_mask)
        rest_step_size = None if step_size is None else other_rate * step_size
        e, rest_state = rest.direction(other_grads, state.other, others, step_size=rest_step_size, **context)
        (e,) = each_leaf(lambda e: (other_rate * e,), others, e)
        return merge([d, e], of_leaf, like=params), MuonState(m, rest_state)

    def evaluated(params, state):
        of_leaf, matrices, others = parts(params)
        assert rest.evaluated is not None
        return merge([matrices, rest.evaluated(others, state.other)], of_leaf, like=params)

    return Rule(
        "muon",
        init,
        direction,
        0.02,
        hyper,
        evaluated if rest.evaluated else None,
        needs_step_size=rest.needs_step_size,
    )


def orthogonalized(matrix: Float[Array, "n m"], steps: int = 5, eps: float = 1e-7) -> Float[Array, "n m"]:
    """Return about U·Vᵀ for a matrix U·S·Vᵀ: singular values all near 1, by Newton–Schulz iteration.

        X ← a·X + (b·A + c·A²)·X          A = X·Xᵀ,  X₀ = matrix / ‖matrix‖

    Args:
        matrix: any shape (n, m); a matrix of zeros gives zeros.
        steps: iterations.
        eps: the least norm by which the matrix is divided.
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    X = matrix.T if tall else matrix  # the smaller product X·Xᵀ
    X = X / jnp.maximum(jnp.sqrt(jnp.sum(X * X)), eps)
    for _ in range(steps):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X.T if tall else X


def _scale(scale: str, inputs: int, outputs: int) -> float:
    if scale == "original":
        return math.sqrt(max(1.0, outputs / max(inputs, 1)))
    return 0.2 * math.sqrt(max(outputs, inputs))
