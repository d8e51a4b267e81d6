"""Max-pooling over windows that do not overlap, for CPUs.

    out[p] = max_t in[p·size + t],   ∂L/∂in[p·size + t] = ∂L/∂out[p] where t is the first maximum, else 0

XLA looks for the maximum of each window once forwards, and backwards with a scatter, in plain loops. Where
windows neither overlap nor reach over the edge, all elements number t of the windows are one strided
slice, and both passes compare whole slices.
"""

from collections.abc import Sequence
from itertools import product as positions_in
from math import prod
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

MOST_ELEMENTS = 16  # of a window; larger ones are left to XLA


def largest(
    inputs: Array,
    *,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Any,
    base_dilation: Sequence[int],
    window_dilation: Sequence[int],
) -> Array | None:
    """Return `jax.lax.reduce_window` of these with `max`; None where windows overlap or reach out."""
    if {*base_dilation, *window_dilation} != {1} or not _tiles(
        inputs, window_dimensions, window_strides, padding
    ):
        return None
    slices = _elements(inputs, window_dimensions)
    out = slices[0]
    for element in slices[1:]:
        out = lax.max(out, element)
    return out


def slope_of_largest(
    slope: Array,
    inputs: Array,
    *,
    select_prim: Any,
    window_dimensions: Sequence[int],
    window_strides: Sequence[int],
    padding: Any,
) -> Array | None:
    """Return `slope` (of the maxima) where the maxima were, else 0; None as for `largest`."""
    if select_prim is not lax.ge_p or not _tiles(inputs, window_dimensions, window_strides, padding):
        return None
    slices = _elements(inputs, window_dimensions)
    best, chosen = slices[0], jnp.zeros(slices[0].shape, jnp.int32)
    for number, element in enumerate(slices[1:], start=1):
        stays = best >= element  # as XLA: the first of equals, and past a NaN
        best, chosen = jnp.where(stays, best, element), jnp.where(stays, chosen, number)
    # each window dimension beside its own: (out₀, size₀, out₁, size₁, …)
    apart = [length for pair in zip(chosen.shape, window_dimensions, strict=True) for length in pair]
    outer = tuple(range(0, len(apart), 2))
    numbers = jnp.arange(prod(window_dimensions), dtype=jnp.int32).reshape(window_dimensions)
    here = lax.broadcast_in_dim(chosen, apart, outer) == lax.broadcast_in_dim(
        numbers, apart, tuple(d + 1 for d in outer)
    )
    return jnp.where(here, lax.broadcast_in_dim(slope, apart, outer), 0).reshape(inputs.shape)


def _tiles(inputs: Array, sizes: Sequence[int], strides: Sequence[int], padding: Any) -> bool:
    """Return whether windows of these sizes tile the inputs."""
    return (
        tuple(sizes) == tuple(strides)
        and 1 < prod(sizes) <= MOST_ELEMENTS
        and all(low == high == 0 for low, high in padding)
        and all(length and length % size == 0 for length, size in zip(inputs.shape, sizes, strict=True))
    )


def _elements(inputs: Array, sizes: Sequence[int]) -> list[Array]:
    """Return element number 0, 1, … of every window, in reading order."""
    return [lax.slice(inputs, start, inputs.shape, sizes) for start in positions_in(*map(range, sizes))]
