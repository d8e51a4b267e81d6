"""Convolutions as matrix products, for CPUs.

XLA's CPU convolution is quick forwards. Backwards it is not: the gradient of a filter is a convolution
whose window is a whole image and whose result is a few numbers wide, and runs in plain loops, a hundred
times slower than a product of the same size. Each is a product, though, of what a small window sees:

    out[n, p, o] = Σ_t Σ_c  in[n, p·stride + t·dilation, c] · filter[t, c, o]

Few window positions t: the shifted copies of the input, one for each t, lie side by side (`im2col`,
Chellapilla, Puri & Simard 2006, "High Performance Convolutional Neural Networks for Document Processing")
and one product sums over all (t, c). Few outputs p: the copies, one for each p, lie side by side and one
product sums over all (t, c) for all of them.
"""

from collections.abc import Sequence
from itertools import product as positions_in
from math import prod
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from downslope.gradient.products import product

MOST_COPIES = 64  # of the input, side by side; more of them are left to XLA
MOST_BYTES = 2**28  # of all copies together; beyond, one product for each copy


def convolution(
    inputs: Array,
    filters: Array,
    *,
    dimension_numbers: lax.ConvDimensionNumbers,
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int],
    rhs_dilation: Sequence[int],
    feature_group_count: int,
    batch_group_count: int,
    precision: Any,
    preferred_element_type: Any,
    **others: Any,
) -> Array | None:
    """Return `jax.lax.conv_general_dilated` of these by a matrix product; None where that is no gain."""
    inputs_at, filters_at, out_at = dimension_numbers
    window = [filters.shape[d] for d in filters_at[2:]]
    padded = _padded(inputs, inputs_at[2:], padding, lhs_dilation)
    spans = [dilation * (size - 1) + 1 for size, dilation in zip(window, rhs_dilation, strict=True)]
    size = [
        (padded.shape[d] - span) // stride + 1
        for d, span, stride in zip(inputs_at[2:], spans, window_strides, strict=True)
    ]
    if (
        feature_group_count != 1
        or batch_group_count != 1
        or any(other is not None for other in others.values())
        or not jnp.issubdtype(inputs.dtype, jnp.floating)
        or min(*size, *padded.shape, *filters.shape) < 1
        or min(prod(window), prod(size)) > MOST_COPIES
    ):
        return None
    dtype = jnp.result_type(inputs, filters) if preferred_element_type is None else preferred_element_type
    how = {"precision": precision, "preferred_element_type": jnp.promote_types(dtype, jnp.float32)}
    few_taps = prod(window) <= prod(size)
    if few_taps:
        steps, lengths, offsets, counts = window_strides, size, rhs_dilation, window
    else:
        steps, lengths, offsets, counts = rhs_dilation, window, window_strides, size
    copies = [
        _window(padded, inputs_at[2:], place, offsets, lengths, steps)
        for place in positions_in(*map(range, counts))
    ]
    together = sum(copy.size * copy.dtype.itemsize for copy in copies) <= MOST_BYTES
    if few_taps:
        taps = jnp.transpose(filters, (*filters_at[2:], filters_at[1], filters_at[0]))
        taps = taps.reshape(len(copies), -1, taps.shape[-1])  # (tap, channel, output channel)
        summed = (((inputs_at[1],), (0,)), ((), ()))
        if together:
            copies, taps = [jnp.concatenate(copies, inputs_at[1])], taps.reshape(1, -1, taps.shape[-1])
        out = sum(lax.dot_general(copy, tap, summed, **how) for copy, tap in zip(copies, taps, strict=True))
        stays = [d for d in range(inputs.ndim) if d != inputs_at[1]]  # out is (those…, output channel)
        order = [stays.index(inputs_at[0]), len(stays), *(stays.index(d) for d in inputs_at[2:])]
    else:
        summed = (((inputs_at[1], *inputs_at[2:]), (filters_at[1], *filters_at[2:])), ((), ()))
        if together:
            copies = [jnp.concatenate(copies, inputs_at[0])]
        out = jnp.concatenate([product(copy, filters, dimension_numbers=summed, **how) for copy in copies])
        out = out.reshape(*size, inputs.shape[inputs_at[0]], -1)  # (place…, batch, output channel)
        order = [len(size), len(size) + 1, *range(len(size))]
    # (batch, output channel, place…) to where the dimension numbers want each
    return jnp.transpose(out, [order[out_at.index(d)] for d in range(inputs.ndim)]).astype(dtype)


def _padded(inputs: Array, spatial: Sequence[int], padding: Any, dilation: Sequence[int]) -> Array:
    config = [(0, 0, 0)] * inputs.ndim
    for d, (low, high), step in zip(spatial, padding, dilation, strict=True):
        config[d] = (low, high, step - 1)
    return lax.pad(inputs, jnp.zeros((), inputs.dtype), config)


def _window(
    inputs: Array,
    spatial: Sequence[int],
    place: Sequence[int],
    offsets: Sequence[int],
    lengths: Sequence[int],
    steps: Sequence[int],
) -> Array:
    """Return, along `spatial`, `lengths` elements of `inputs`, each `steps` on, from `place` × `offsets`."""
    first, last, stride = [0] * inputs.ndim, list(inputs.shape), [1] * inputs.ndim
    for d, at, offset, length, step in zip(spatial, place, offsets, lengths, steps, strict=True):
        first[d], stride[d] = at * offset, step
        last[d] = first[d] + (length - 1) * step + 1
    return lax.slice(inputs, first, last, stride)
