"""Convolutions in the forms that are quick on a CPU.

XLA's CPU convolution is quick for (batch, place…, channel) inputs and (place…, channel, output channel)
filters. The gradient of the inputs is the same with the filters the other way round: said in that order it
is as quick. The gradient of the filters is a convolution whose window is a whole image and whose result is
a few places large, and runs in plain loops, a hundred times slower than a matrix product of its size. It is
one, of what each place of the result sees:

    out[p, i, o] = Σ_n Σ_t  inputs[n, p·stride + t·dilation, i] · slope[n, t, o]

The shifted copies of the inputs, one for each p, lie side by side (Chellapilla, Puri & Simard 2006, "High
Performance Convolutional Neural Networks for Document Processing"), and one product sums over all (n, t).
The gradient of the inputs of a convolution with strides has the copies side by side too, one for each t.

With few channels XLA's own convolution is no quicker than such a product, and the filters' gradient has the
copies already. Where fewer channels come out than go in, it is quicker still to multiply first, with the
filters of all taps side by side, and to shift and add the products.
"""

from collections.abc import Sequence
from itertools import product as positions_in
from math import prod
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from downslope.gradient.products import product

MOST_COPIES = 64  # of the input, side by side; more of them are left to XLA
WIDE = 128  # channels on both sides: from here on XLA's own convolution is quick in float32
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
    """Return `jax.lax.conv_general_dilated` of these in a quicker form; None where there is none."""
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
    rank = inputs.ndim
    stays = [d for d in range(rank) if d != inputs_at[1]]
    order = [stays.index(inputs_at[0]), len(stays), *(stays.index(d) for d in inputs_at[2:])]
    few_taps = prod(window) <= prod(size)
    is_plain = few_taps and max(lhs_dilation) == 1
    channels, filtered = inputs.shape[inputs_at[1]], filters.shape[filters_at[0]]
    is_narrow = min(channels, filtered) < WIDE or dtype == jnp.bfloat16
    by_products = is_narrow and max(window_strides) == 1
    if is_plain and by_products and filtered <= channels and _fits(inputs.size // channels, window, filtered):
        # (in channel, tap · out channel): a product for all taps, whose parts are then shifted and added
        taps = jnp.transpose(filters, (filters_at[1], *filters_at[2:], filters_at[0])).reshape(channels, -1)
        products = lax.dot_general(inputs, taps, (((inputs_at[1],), (0,)), ((), ())), **how)
        out = _shifted_sum(products, order[2:], window, padding, rhs_dilation)
    elif is_plain and not by_products:
        # (batch, place…, channel) and (place…, channel, output channel): the order XLA has a quick form for
        usual = (0, rank - 1, *range(1, rank - 1))
        numbers = lax.ConvDimensionNumbers(usual, (rank - 1, rank - 2, *range(rank - 2)), usual)
        if dimension_numbers == numbers:
            return None
        inputs = jnp.transpose(inputs, (inputs_at[0], *inputs_at[2:], inputs_at[1]))
        filters = jnp.transpose(filters, (*filters_at[2:], filters_at[1], filters_at[0]))
        out = lax.conv_general_dilated(
            inputs,
            filters,
            window_strides,
            padding,
            rhs_dilation=rhs_dilation,
            dimension_numbers=numbers,
            **how,
        )
        order = usual
    elif few_taps:
        copies = _copies(padded, inputs_at, window, size, rhs_dilation, window_strides)
        taps = jnp.transpose(filters, (*filters_at[2:], filters_at[1], filters_at[0]))
        taps = taps.reshape(len(copies), -1, taps.shape[-1])  # (tap, channel, output channel)
        summed = (((inputs_at[1],), (0,)), ((), ()))
        if _fit_together(copies):
            copies, taps = [jnp.concatenate(copies, inputs_at[1])], taps.reshape(1, -1, taps.shape[-1])
        out = sum(lax.dot_general(copy, tap, summed, **how) for copy, tap in zip(copies, taps, strict=True))
    else:
        copies = _copies(padded, inputs_at, size, window, window_strides, rhs_dilation)
        summed = (((inputs_at[1], *inputs_at[2:]), (filters_at[1], *filters_at[2:])), ((), ()))
        if _fit_together(copies):
            copies = [jnp.concatenate(copies, inputs_at[0])]
        out = jnp.concatenate([product(copy, filters, dimension_numbers=summed, **how) for copy in copies])
        out = out.reshape(*size, inputs.shape[inputs_at[0]], -1)  # (place…, batch, output channel)
        order = [len(size), len(size) + 1, *range(len(size))]
    # (batch, output channel, place…) to where the dimension numbers want each
    return jnp.transpose(out, [order[out_at.index(d)] for d in range(rank)]).astype(dtype)


def _fits(places: int, window: Sequence[int], channels: int) -> bool:
    return 4 * places * prod(window) * channels <= MOST_BYTES  # float32


def _fit_together(copies: Sequence[Array]) -> bool:
    return sum(copy.size * copy.dtype.itemsize for copy in copies) <= MOST_BYTES


def _shifted_sum(
    products: Array,
    spatial: Sequence[int],
    window: Sequence[int],
    padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> Array:
    """Return Σ over the window's taps of their part of the last dimension, each seen from its place."""
    zero = jnp.zeros((), products.dtype)
    parts = jnp.split(products, prod(window), axis=-1)
    seen = []
    for part, tap in zip(parts, positions_in(*map(range, window)), strict=True):
        config = [(0, 0, 0)] * products.ndim
        for d, (low, high), at, count, step in zip(spatial, padding, tap, window, dilation, strict=True):
            config[d] = (low - at * step, high - (count - 1 - at) * step, 0)
        seen.append(lax.pad(part, zero, config))
    return sum(seen[1:], seen[0])


def _padded(inputs: Array, spatial: Sequence[int], padding: Any, dilation: Sequence[int]) -> Array:
    config = [(0, 0, 0)] * inputs.ndim
    for d, (low, high), step in zip(spatial, padding, dilation, strict=True):
        config[d] = (low, high, step - 1)
    return lax.pad(inputs, jnp.zeros((), inputs.dtype), config)


def _copies(
    inputs: Array,
    inputs_at: Sequence[int],
    counts: Sequence[int],
    lengths: Sequence[int],
    offsets: Sequence[int],
    steps: Sequence[int],
) -> list[Array]:
    """Return what of `inputs` is seen from each of `counts` places, in reading order.

    Along each spatial dimension these are `lengths` elements, each `steps` on, from place × `offsets`.
    """
    copies = []
    for place in positions_in(*map(range, counts)):
        first, last, stride = [0] * inputs.ndim, list(inputs.shape), [1] * inputs.ndim
        for d, at, offset, length, step in zip(inputs_at[2:], place, offsets, lengths, steps, strict=True):
            first[d], stride[d] = at * offset, step
            last[d] = first[d] + (length - 1) * step + 1
        copies.append(lax.slice(inputs, first, last, stride))
    return copies
