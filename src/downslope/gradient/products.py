"""Matrix products in the form that is quickest on a CPU: the same numbers."""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

OVER_ROWS = (((0,), (0,)), ((), ()))  # of two matrices: lhsᵀ · rhs
ROWS_BY_COLUMNS = (((1,), (0,)), ((), ()))  # lhs · rhs
EACH_OVER_ROWS = (((1,), (1,)), ((0,), (0,)))  # the same for each pair of a batch of them
LONG, SMALL = 8192, 2**15  # rows from which, and numbers of the result up to which, two sums are quicker


def product(lhs: Array, rhs: Array, **how: Any) -> Array:
    """Return `jax.lax.dot_general` of these in the form that is quickest on a CPU."""
    out = summed_over_rows(lhs, rhs, **how)
    return lax.dot_general(lhs, rhs, **how) if out is None else out


def summed_over_rows(lhs: Array, rhs: Array, *, dimension_numbers: Any, **how: Any) -> Array | None:
    """Return `jax.lax.dot_general` over several leading dimensions as a product over one; else None.

    The gradient of a dense layer is such a sum, over the batch and what else there is, tokens or places:
    Σ_bt x[b, t, i] · g[b, t, o]. XLA's CPU turns one of the two around in memory first, unless both are
    matrices (batch × tokens, …), which costs nothing to say. A long sum with a small result, the gradient
    of a convolution's filters, it does not spread over two cores well; two sums it does.
    """
    (lhs_summed, rhs_summed), (lhs_batch, _) = dimension_numbers
    leading = tuple(range(len(lhs_summed)))
    if lhs_batch or len(leading) < 2 or tuple(lhs_summed) != leading or tuple(rhs_summed) != leading:
        return None
    if how.get("out_sharding") is not None:
        return None
    rows, lhs_rest, rhs_rest = (
        prod(lhs.shape[: len(leading)]),
        lhs.shape[len(leading) :],
        rhs.shape[len(leading) :],
    )
    n_left, n_right = prod(lhs_rest), prod(rhs_rest)
    if rows % 2 == 0 and rows >= LONG and n_left * n_right <= SMALL:
        left, right = lhs.reshape(2, rows // 2, n_left), rhs.reshape(2, rows // 2, n_right)
        out = lax.dot_general(left, right, EACH_OVER_ROWS, **how).sum(axis=0)
    else:
        out = lax.dot_general(lhs.reshape(rows, n_left), rhs.reshape(rows, n_right), OVER_ROWS, **how)
    return out.reshape(lhs_rest + rhs_rest)


def transposed_sum_over_rows(
    lhs: Float[Array, "rows left"], rhs: Float[Array, "rows right"], *, precision: Any = None
) -> Float[Array, "right left"]:
    """Return (lhsᵀ · rhs)ᵀ of low-precision matrices, added up in float32.

    XLA's CPU is quick in bfloat16 only where rows meet columns, three times as quick as here; so there `rhs`
    is turned around first.
    """
    how = {"precision": precision, "preferred_element_type": jnp.float32}
    if lhs.dtype == rhs.dtype == jnp.bfloat16 and jax.default_backend() == "cpu":
        return lax.dot_general(_turned(rhs), lhs, ROWS_BY_COLUMNS, **how)
    return lax.dot_general(rhs, lhs, OVER_ROWS, **how)


def _turned(matrix: Float[Array, "rows columns"]) -> Float[Array, "columns rows"]:
    """Return the transpose, written down: of one in two parts the compiler does not see that it is one."""
    middle = matrix.shape[1] // 2
    return jnp.concatenate([matrix[:, :middle].T, matrix[:, middle:].T])
