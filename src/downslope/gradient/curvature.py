"""How the slope bends: Hessian-vector products, and the ends of the Hessian's spectrum.

    H v = ∂∕∂r ∇L(params + r·v) at r = 0          (forward over reverse: about three gradients)

The Hessian of a network with n weights has n² entries; it is never formed. A product with it costs a few
gradients (Pearlmutter 1994, "Fast Exact Multiplication by the Hessian"), and from a few dozen products
the Lanczos iteration has its largest and its smallest eigenvalue, whatever n is.

Lanczos, C. 1950, "An Iteration Method for the Solution of the Eigenvalue Problem"; full
reorthogonalisation as in Golub & Van Loan, "Matrix Computations", section 10.3; thick restart, which
bounds the memory, from Wu & Simon 2000, "Thick-Restart Lanczos Method for Large Symmetric Eigenvalue
Problems", https://doi.org/10.1137/S0895479898334605, section 2.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from downslope.gradient.backprop import Batch

# loss(params, model_state, batch) -> weighted mean over the batch (`gradient.backprop.evaluation_objective`)
BatchLoss = Callable[[Any, Any, Batch], Float[Array, ""]]
Product = Callable[..., Float[Array, " n"]]

MOST_BYTES = 1 << 30  # of the vectors that Lanczos remembers
FEWEST_VECTORS, MOST_VECTORS = 12, 64
PRODUCTS_BETWEEN_CHECKS = 4
NEXT_TO_NOTHING = 1e-6  # an eigenvalue that is so much smaller than the other is not told from zero


class Extremes(NamedTuple):
    """The two ends of a spectrum.

    Attributes:
        smallest, largest: eigenvalues, algebraically; each is off by `residuals` at most (without rounding).
        residuals: ‖H v − λ v‖₂ of (smallest, largest), for unit vectors v.
        products: how many products with the matrix were taken.
        converged: whether both residuals are below what was asked for.
    """

    smallest: float
    largest: float
    residuals: tuple[float, float]
    products: int
    converged: bool


def hessian_vector_product(loss: Callable[[Any], Any], params: Any, vector: Any) -> Any:
    """Return H v, for the Hessian H of `loss` at `params`; all of one structure.

    Example:
        >>> import jax.numpy as jnp
        >>> bowl = lambda x: x[0] ** 2 + 3 * x[1] ** 2
        >>> hessian_vector_product(bowl, jnp.array([5.0, 7.0]), jnp.array([1.0, 1.0])).tolist()
        [2.0, 6.0]
    """
    return jax.jvp(jax.grad(loss), (params,), (vector,))[1]


def mean_over_batches(of_batch: Callable[[Batch], Any], batches: Batch) -> Any:
    """Return the mean of a tree over batches, each counted by its weights, one batch in memory at a time.

    Args:
        of_batch: batch → tree of arrays, a weighted mean over the batch.
        batches: every leaf (batches, rows, …), as `stacked` makes them.
    """
    total = jnp.maximum(jnp.sum(batches.weights), jnp.finfo(batches.weights.dtype).tiny)

    def add(sums: Any, batch: Batch) -> tuple[Any, None]:
        share = jnp.sum(batch.weights) / total
        return jax.tree.map(lambda a, b: a + (share * b).astype(a.dtype), sums, of_batch(batch)), None

    shapes = jax.eval_shape(of_batch, jax.tree.map(lambda leaf: leaf[0], batches))
    start = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.scan(add, start, batches)[0]


def stacked(batches: list[Batch]) -> Batch:
    """Return batches of one shape as one, with a leading axis (batches, rows, …), on the device."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)


def loss_and_gradient_over(loss: BatchLoss, params: Any, model_state: Any, batches: Batch) -> tuple[Any, Any]:
    """Return the mean loss over all batches and its gradient."""
    return mean_over_batches(lambda batch: jax.value_and_grad(loss)(params, model_state, batch), batches)


def hessian_product(loss: BatchLoss, params: Any) -> Product:
    """Return ``product(vector, params, model_state, batches)``, H v over all batches, on flat vectors (n,).

    `params` gives the structure; the values are an argument of the product, so that one compiled program
    serves a whole descent.
    """
    _, unravel = ravel_pytree(params)

    def product(
        vector: Float[Array, " n"], params: Any, model_state: Any, batches: Batch
    ) -> Float[Array, " n"]:
        direction = unravel(vector)

        def of_batch(batch: Batch) -> Any:
            return hessian_vector_product(lambda at: loss(at, model_state, batch), params, direction)

        return ravel_pytree(mean_over_batches(of_batch, batches))[0]

    return product


def extreme_eigenvalues(
    product: Product,
    size: int,
    *arguments: Any,
    dtype: Any = jnp.float32,
    tolerance: float = 1e-3,
    most_products: int = 600,
    ends: str = "both",
    seed: int = 0,
    listen: Callable[[int], Any] | None = None,
) -> Extremes:
    """Return the smallest and the largest eigenvalue of a symmetric matrix that is known by its products.

    Args:
        product: ``product(vector, *arguments) -> vector``, both (n,).
        size: n, ≥ 1.
        arguments: arrays that the product needs; handed to compiled code, never built into it.
        dtype: of the vectors, float32 or float64.
        tolerance: how small each residual shall be, as a share of its eigenvalue, > 0. Of an eigenvalue
            that vanishes beside the other, a millionth of that other is enough.
        most_products: when to give up, ≥ 1; the answer then says that it has not converged.
        ends: ``"both"``, or ``"largest"`` to be done when that one has converged.
        seed: of the random first vector.
        listen: told the number of products so far.

    At most 64 vectors of length n are remembered, fewer where they would fill more than a gibibyte.

    Example:
        >>> import jax.numpy as jnp
        >>> diagonal = jnp.array([-2.0, 0.5, 7.0])
        >>> found = extreme_eigenvalues(lambda vector: diagonal * vector, 3)
        >>> round(found.smallest, 4), round(found.largest, 4), found.converged
        (-2.0, 7.0, True)
    """
    n_vectors = max(FEWEST_VECTORS, min(MOST_VECTORS, MOST_BYTES // (size * jnp.dtype(dtype).itemsize)))
    n_vectors = min(n_vectors, size)
    rounding = 50 * float(jnp.finfo(dtype).eps)
    asked = [-1] if ends == "largest" else [0, -1]
    beside = max(rounding, NEXT_TO_NOTHING)
    start = jax.random.normal(jax.random.key(seed), (size,), dtype)
    basis = jnp.zeros((n_vectors + 1, size), dtype).at[0].set(start / jnp.linalg.norm(start))
    projected = np.zeros((n_vectors, n_vectors))  # basis · H · basisᵀ
    filled = products = 0
    with jax.default_matmul_precision("highest"):
        while True:
            basis, column, norm = _expand(product, basis, filled, *arguments)
            filled, products = filled + 1, products + 1
            projected[:filled, filled - 1] = projected[filled - 1, :filled] = np.asarray(column)[:filled]
            if listen is not None:
                listen(products)
            if not np.isfinite(projected).all():
                return Extremes(np.nan, np.nan, (np.nan, np.nan), products, False)
            is_full = filled == n_vectors
            spans_all = filled == size or float(norm) <= rounding * np.abs(projected).max()
            if not (
                is_full or spans_all or products >= most_products or products % PRODUCTS_BETWEEN_CHECKS == 0
            ):
                continue
            values, vectors = np.linalg.eigh(projected[:filled, :filled])
            residuals = (0.0 if filled == size else float(norm)) * np.abs(vectors[-1])
            wanted = np.maximum(tolerance * np.abs(values), beside * np.abs(values).max())
            converged = spans_all or bool((residuals <= wanted)[asked].all())
            if converged or products >= most_products:
                off = float(residuals[0]), float(residuals[-1])
                return Extremes(float(values[0]), float(values[-1]), off, products, converged)
            if is_full:
                kept = max(1, n_vectors // 4)
                chosen = [*range(kept), *range(filled - kept, filled)]
                basis = _restart(basis, jnp.asarray(vectors[:, chosen], dtype))
                filled = len(chosen)
                projected = np.zeros_like(projected)
                projected[range(filled), range(filled)] = values[chosen]


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _expand(product: Product, basis: Any, place: Any, *arguments: Any) -> tuple[Any, Any, Any]:
    """Add the next vector to an orthonormal basis; also return H's column in it, and what lies outside.

    Rows of `basis` beyond `place` are zero, so that projecting on all rows projects on those that exist.
    Once is not enough: after the first subtraction rounding still leaves a part inside ("twice is enough",
    Parlett, "The Symmetric Eigenvalue Problem", section 6.9).
    """
    outside = product(basis[place], *arguments)
    column = basis @ outside
    outside = outside - column @ basis
    correction = basis @ outside
    outside = outside - correction @ basis
    norm = jnp.linalg.norm(outside)
    basis = basis.at[place + 1].set(outside / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny))
    return basis, column + correction, norm


@jax.jit
def _restart(basis: Any, chosen: Any) -> Any:
    """Return a basis of the chosen Ritz vectors, (vectors, kept), and of the vector that came last."""
    kept = chosen.shape[1]
    return jnp.zeros_like(basis).at[:kept].set(chosen.T @ basis[:-1]).at[kept].set(basis[-1])
