"""Where a descent ended: a minimum, a saddle, or not settled yet. The slope and the curvature say so.

    ‖∇L‖ small          is there any slope left?           if so: not settled
    λ_min < 0 < λ_max   does it fall away on some side?    if so: a saddle
    0 ≤ λ_min           does it rise on every side?        then:  a minimum

"Small" needs a measure. On the line along the gradient the loss is, to second order, a parabola of
curvature κ = gᵀHg ∕ gᵀg, and its level point lies ‖g‖² ∕ 2|κ| away in height: below, where κ > 0, and
that is how much one best step would still gain. A descent has settled when this is below a hundredth of
the loss itself, or below what the arithmetic can tell.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from downslope.gradient.backprop import Batch
from downslope.gradient.curvature import (
    BatchLoss,
    extreme_eigenvalues,
    hessian_product,
    loss_and_gradient_over,
)

SETTLED = 0.01  # the share of the loss that the level point along the gradient may be away


@dataclass(frozen=True)
class Sharpness:
    """Slope and curvature of a loss at one point.

    Attributes:
        loss: at the point.
        gradient_norm: ‖∇L‖₂.
        gradient_curvature: gᵀHg ∕ gᵀg, along the gradient; 0 where there is none.
        smallest, largest: eigenvalues of the Hessian.
        residuals: by how much each of them may be off (smallest, largest).
        resolution: a curvature of less than this is not told from zero.
        products: Hessian-vector products that were taken.
        converged: whether the eigenvalues are as accurate as was asked for.
        verdict: ``"minimum"``, ``"flat minimum"``, ``"saddle"``, ``"maximum"``, ``"flat"`` or
            ``"not settled"``.
    """

    loss: float
    gradient_norm: float
    gradient_curvature: float
    smallest: float
    largest: float
    residuals: tuple[float, float]
    resolution: float
    products: int
    converged: bool
    verdict: str

    @property
    def to_gain(self) -> float:
        """How much one best step along the gradient would lower the loss; infinite where it falls away."""
        if self.gradient_norm == 0.0:
            return 0.0
        return (
            self.gradient_norm**2 / (2 * self.gradient_curvature) if self.gradient_curvature > 0 else np.inf
        )


def sharpness(
    loss: BatchLoss,
    params: Any,
    model_state: Any,
    batches: Batch,
    *,
    tolerance: float = 1e-3,
    most_products: int = 600,
    listen: Callable[[int], Any] | None = None,
) -> Sharpness:
    """Return slope, curvature and verdict at `params`; arguments as in `gradient.curvature`.

    Example:
        >>> import jax.numpy as jnp
        >>> rows = Batch((), (), jnp.ones((1, 1)))
        >>> saddle = lambda at, state, batch: 1.0 + at[0] ** 2 - at[1] ** 2
        >>> found = sharpness(saddle, jnp.zeros(2), (), rows)
        >>> found.verdict, round(found.smallest, 3), round(found.largest, 3)
        ('saddle', -2.0, 2.0)
    """
    product = hessian_product(loss, params)
    flat = ravel_pytree(params)[0]

    def slope(params: Any, model_state: Any, batches: Batch) -> tuple[Any, Any, Any]:
        value, gradient = loss_and_gradient_over(loss, params, model_state, batches)
        gradient = ravel_pytree(gradient)[0]
        norm = jnp.linalg.norm(gradient)
        unit = gradient / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny)
        return value, norm, unit @ product(unit, params, model_state, batches)

    with jax.default_matmul_precision("highest"):
        value, norm, along = map(float, jax.jit(slope)(params, model_state, batches))
    ends = extreme_eigenvalues(
        product,
        flat.size,
        params,
        model_state,
        batches,
        dtype=flat.dtype,
        tolerance=tolerance,
        most_products=most_products,
        listen=listen,
    )
    largest_size = max(abs(ends.smallest), abs(ends.largest))
    resolution = max(1000 * float(jnp.finfo(flat.dtype).eps) * largest_size, *ends.residuals)
    # below this the gradient is the rounding of its own terms
    noise = 10 * float(jnp.finfo(flat.dtype).eps) * largest_size * max(1.0, float(jnp.linalg.norm(flat)))
    found = Sharpness(
        value, norm, along, *ends[:2], ends.residuals, resolution, ends.products + 1, ends.converged, ""
    )
    settled = norm <= noise or norm**2 <= 2 * abs(along) * SETTLED * abs(value)
    return Sharpness(**{**vars(found), "verdict": _verdict(found, settled)})


def _verdict(found: Sharpness, settled: bool) -> str:
    if not settled or not np.isfinite([found.loss, found.smallest, found.largest]).all():
        return "not settled"
    rises, falls = found.largest > found.resolution, found.smallest < -found.resolution
    if rises and falls:
        return "saddle"
    if falls:
        return "maximum"
    if not rises:
        return "flat"
    return "minimum" if found.smallest > found.resolution else "flat minimum"


def explained(found: Sharpness) -> str:
    """Return the verdict as a sentence with its evidence."""
    slope = f"the slope is {found.gradient_norm:.3g}"
    curvature = f"the curvature lies between {found.smallest:.3g} and {found.largest:.3g}"
    if found.verdict == "not settled":
        if not np.isfinite(found.loss):
            return f"Not settled: the loss is {found.loss} here."
        gain = (
            f"one best step along it would still take {found.to_gain:.2g} off the loss of {found.loss:.4g}"
            if np.isfinite(found.to_gain)
            else "the loss bends downwards along it"
        )
        if found.smallest < -found.resolution:
            curvature += ", so it falls away to some sides"
        return f"Not settled: {slope}, and {gain}; {curvature}."
    said = {
        "minimum": f"A minimum: {slope}, and {curvature}, above zero to every side.",
        "flat minimum": f"A minimum with flat directions: {slope}, and {curvature}; it falls away nowhere.",
        "saddle": f"A saddle: {slope}, but {curvature}: it falls away to some sides.",
        "maximum": f"A maximum: {slope}, and {curvature}, below zero to every side.",
        "flat": f"Flat ground: {slope}, and no curvature can be told from zero.",
    }
    return said[found.verdict]
