"""Trees taken apart by leaf and put together again: what groups of parameters are made of."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from downslope.pytrees import path_name

PyTree = Any


def labels(params: PyTree, label: Callable[[str, Any], int]) -> list[int]:
    """Return ``label(path, leaf)`` of every leaf, in the order of `jax.tree.leaves`."""
    return [label(path_name(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)]


def split(tree: PyTree, of_leaf: Sequence[int], parts: int) -> list[PyTree]:
    """Return `parts` trees shaped like `tree`; each leaf is in the one it is labelled for, `None` elsewhere.

    `None` is an empty subtree to JAX: a rule that is given a part sees only the part's own leaves, under
    the paths that they have in the whole tree.
    """
    leaves, structure = jax.tree.flatten(tree)
    rows = list(zip(leaves, of_leaf, strict=True))
    return [
        structure.unflatten([leaf if label == part else None for leaf, label in rows])
        for part in range(parts)
    ]


def merge(parts: Sequence[PyTree], of_leaf: Sequence[int], like: PyTree) -> PyTree:
    """Return the tree that `split` took apart; `like` gives its structure."""
    remaining = [iter(jax.tree.leaves(part)) for part in parts]
    return jax.tree.structure(like).unflatten([next(remaining[label]) for label in of_leaf])
