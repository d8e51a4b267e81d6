"""Weight decay: pull the weights towards zero, and leave biases and norm scales alone.

    tree  ←  tree + λ · params

Added to the *gradient*, before the rule, this is the gradient of the penalty λ/2·‖params‖²
(L2 regularisation; "coupled": an adaptive rule then rescales the pull too). Added to the
*direction*, after the rule, every weight shrinks by the same factor 1 − step_size·λ ("decoupled").
The two are the same for plain gradient descent and differ for every adaptive rule.

Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization", https://arxiv.org/abs/1711.05101,
equations 1 and 2 and Algorithm 2.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from downslope.errors import OptionError
from downslope.pytrees import path_name

# Rules that can be told another decay than their own at any step.
DECOUPLED = ("adamw", "nadamw", "lion", "muon")

PyTree = Any
DecayMask = str | None | Callable[[str, Any], bool]


def add_decay(tree: PyTree, params: PyTree, weight_decay: Any, decay_mask: DecayMask) -> PyTree:
    """Return ``tree + weight_decay · params`` on the leaves that decay, `tree` itself on the others.

    Args:
        tree: gradients (coupled decay) or a direction (decoupled decay).
        params: the weights, of the same structure.
        weight_decay: λ ≥ 0, a number or a scalar array; at the number 0 nothing is compiled.
        decay_mask: which leaves decay. ``"matrices"``: those with at least two axes, so neither biases nor
            norm scales; `None`: all; or a function ``(path, leaf) -> bool`` with paths as
            ``"layers/0/kernel"``.
    """
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return tree
    decays = _resolve(decay_mask)

    def decayed(path: tuple[Any, ...], leaf: jax.Array, param: jax.Array) -> jax.Array:
        if not decays(path_name(path), param):
            return leaf
        return jnp.asarray(leaf, jnp.result_type(param)) + weight_decay * param

    return jax.tree_util.tree_map_with_path(decayed, tree, params)


def check_mask(rule: str, decay_mask: DecayMask) -> DecayMask:
    """Return `decay_mask`, or raise `OptionError` when it is none of the three kinds."""
    if decay_mask in ("matrices", None) or callable(decay_mask):
        return decay_mask
    raise OptionError(
        f"{rule}: decay_mask must be 'matrices', None or a function (path, leaf) -> bool, got {decay_mask!r}"
    )


def _resolve(decay_mask: DecayMask) -> Callable[[str, Any], bool]:
    if decay_mask is None:
        return lambda path, leaf: True
    if callable(decay_mask):
        return decay_mask
    return lambda path, leaf: jnp.ndim(leaf) >= 2
