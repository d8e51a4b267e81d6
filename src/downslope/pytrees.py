"""Arithmetic on whole pytrees: the handful of operations that a descent needs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PyTree = Any


def dot(a: PyTree, b: PyTree) -> Float[Array, ""]:
    """Inner product ⟨a, b⟩ over all leaves of two trees of one structure; in float32 at least."""
    products = [
        jnp.vdot(_at_least_float32(x), _at_least_float32(y))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    ]
    if not products:
        return jnp.float32(0.0)
    dtype = jnp.result_type(*products) if len({p.dtype for p in products}) == 1 else jnp.float32
    return jnp.sum(jnp.stack([product.astype(dtype) for product in products]))


def norm(tree: PyTree) -> Float[Array, ""]:
    """Euclidean norm ‖tree‖₂ over all leaves together; at least float32."""
    return jnp.sqrt(dot(tree, tree))


def zeros_like(tree: PyTree) -> PyTree:
    """Return a tree of zeros with the shapes and dtypes of `tree`."""
    return jax.tree.map(jnp.zeros_like, tree)


def cast(tree: PyTree, dtype: Any) -> PyTree:
    """Cast floating-point leaves to `dtype`; leave integers, booleans and keys alone."""

    def cast_leaf(leaf: Any) -> Any:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast_leaf, tree)


def count(tree: PyTree) -> int:
    """Return how many numbers all leaves hold together."""
    return sum(int(leaf.size) for leaf in jax.tree.leaves(tree))


def all_finite(tree: PyTree) -> Array:
    """Return a boolean scalar: is every number in every floating-point leaf finite?"""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves])) if leaves else jnp.bool_(True)


def fits(array: np.ndarray, dtype: Any) -> bool:
    """Return whether whole numbers keep their values in a `dtype` of whole numbers.

    >>> fits(np.array([3 * 10**10]), np.int32), fits(np.array([3]), np.int32)
    (False, True)
    """
    limits = np.iinfo(dtype)
    return not array.size or bool(array.min() >= limits.min and array.max() <= limits.max)


def paths(tree: PyTree) -> list[str]:
    """Return the name of every leaf, ``"layers/0/kernel"``, in the order of `jax.tree.leaves`."""
    return [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def path_name(path: tuple[Any, ...]) -> str:
    """Return a `jax.tree_util` key path as ``"layers/0/kernel"``."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _at_least_float32(x: Array) -> Array:
    return x.astype(jnp.float32) if x.dtype in (jnp.float16, jnp.bfloat16) else x
