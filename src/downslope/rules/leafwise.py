"""The book-keeping that every rule shares, so that each rule's file holds only its own mathematics.

A rule is written for *one* array, as in its paper; `each_leaf` applies it to every leaf of the tree. It
computes in the dtype of the params but never below float32, because a moment in bfloat16 (8 significant
bits) loses every change smaller than 1/256 of itself and an average that decays by 0.999 then never moves.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from downslope.errors import OptionError

PyTree = Any


def each_leaf(
    update: Callable[..., Any], params: PyTree, *trees: PyTree, numbers: tuple[Any, ...] = ()
) -> tuple[PyTree, ...]:
    """Apply ``update(*leaves, *numbers) -> (direction, *new_leaves)`` to each leaf; return whole trees.

    Args:
        update: the rule for one array. All it receives has one dtype: that of the leaf of `params`, at
            least float32.
        params: the tree whose structure and dtypes count. It is not passed to `update`; name it again in
            `trees` where the rule needs it.
        trees: gradients, moments, …, each with the structure of `params`.
        numbers: scalars computed once per step, such as bias corrections.

    Returns:
        as many trees as `update` returns arrays. The first, the direction, has the dtypes of `params`; the
        others, the state, keep at least float32.
    """
    leaves, structure = jax.tree.flatten(params)
    columns = [structure.flatten_up_to(tree) for tree in trees]
    results = []
    for leaf, *row in zip(leaves, *columns, strict=True):
        dtype = working_dtype(leaf)
        direction, *rest = update(*[jnp.asarray(value, dtype) for value in (*row, *numbers)])
        results.append((direction.astype(jnp.result_type(leaf)), *rest))
    if not results:  # no leaf to tell how many trees `update` returns: ask with an empty matrix
        empty = [jnp.zeros((0, 0))] * len(columns) + [jnp.zeros([])] * len(numbers)
        return tuple(structure.unflatten([]) for _ in jax.eval_shape(update, *empty))
    return tuple(structure.unflatten(column) for column in zip(*results, strict=True))


def zeros(params: PyTree) -> PyTree:
    """Return zeros shaped like `params`, in the dtype in which moments are kept (at least float32)."""
    return jax.tree.map(lambda leaf: jnp.zeros(jnp.shape(leaf), working_dtype(leaf)), params)


def working_dtype(leaf: Any) -> Any:
    """Return the dtype of `leaf`, but float32 for float16 and bfloat16; OptionError for other numbers."""
    dtype = jnp.result_type(leaf)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise OptionError(
            f"a rule steps in floating-point arrays, but a leaf of the params is {dtype.name}: leave whole "
            "numbers out or freeze them (with_groups); hold complex ones as two arrays, real and imaginary"
        )
    return jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype


def zero_steps() -> Int[Array, ""]:
    """Return the number of steps taken before the first: int32 zero."""
    return jnp.zeros([], jnp.int32)


def one() -> Float[Array, ""]:
    """Return 1 in the dtype of scalar state: float32, or float64 where JAX has it enabled."""
    return jnp.ones([], jnp.result_type(float))


def one_minus_power(b: float, steps: Int[Array, ""]) -> Float[Array, ""]:
    """Return 1 − bᵗ, the share of an exponential average that has been filled after t steps.

    Written as −expm1(t·ln b), exact in float32 also where bᵗ is close to 1: the plain form loses four of
    seven digits for b = 0.999 at t = 1.
    """
    log_b = math.log(b) if b > 0 else -math.inf
    return -jnp.expm1(steps.astype(one().dtype) * log_b)
