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
from dataclasses import dataclass
from functools import cached_property
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
    dtype = jnp.result_type(inputs, filters) if preferred_element_type is None else preferred_element_type
    how = {"precision": precision, "preferred_element_type": jnp.promote_types(dtype, jnp.float32)}
    conv = _Convolution(
        inputs, filters, dimension_numbers, window_strides, padding, lhs_dilation, rhs_dilation, how
    )
    is_simple = feature_group_count == batch_group_count == 1 and all(o is None for o in others.values())
    if not (is_simple and jnp.issubdtype(inputs.dtype, jnp.floating) and conv.is_small_enough):
        return None
    is_narrow = min(conv.channels, conv.filtered) < WIDE or dtype == jnp.bfloat16
    if conv.taps > prod(conv.size):
        out, order = conv.as_sum_over_places()
    elif max(lhs_dilation) > 1:
        out, order = conv.copies_first()
    elif max(window_strides) > 1 or not is_narrow or not conv.fits_as_products:
        if dimension_numbers == conv.usual_numbers:
            return None
        out, order = conv.in_usual_order()
    elif conv.filtered <= conv.channels:
        out, order = conv.products_first()
    else:
        out, order = conv.copies_first()
    # (batch, output channel, place…) to where the dimension numbers want each
    out_at = dimension_numbers.out_spec
    return jnp.transpose(out, [order[out_at.index(d)] for d in range(out.ndim)]).astype(dtype)


@dataclass(frozen=True)
class _Convolution:
    """A convolution, and the forms it can be computed in.

    Each form returns what comes out and where in that (batch, output channel, place…) are.
    """

    inputs: Array
    filters: Array
    numbers: lax.ConvDimensionNumbers
    strides: Sequence[int]
    padding: Sequence[tuple[int, int]]
    dilation: Sequence[int]  # of the inputs
    spacing: Sequence[int]  # of the filters' taps
    how: dict[str, Any]

    @property
    def channels(self) -> int:
        return self.inputs.shape[self.numbers.lhs_spec[1]]

    @property
    def filtered(self) -> int:
        """How many channels come out."""
        return self.filters.shape[self.numbers.rhs_spec[0]]

    @property
    def window(self) -> list[int]:
        return [self.filters.shape[d] for d in self.numbers.rhs_spec[2:]]

    @property
    def taps(self) -> int:
        return prod(self.window)

    @property
    def size(self) -> list[int]:
        """How many places come out, along each spatial dimension."""
        spans = [step * (count - 1) + 1 for count, step in zip(self.window, self.spacing, strict=True)]
        places = [self.padded.shape[d] for d in self.numbers.lhs_spec[2:]]
        return [
            (length - span) // stride + 1
            for length, span, stride in zip(places, spans, self.strides, strict=True)
        ]

    @cached_property
    def padded(self) -> Array:
        config = [(0, 0, 0)] * self.inputs.ndim
        spatial = self.numbers.lhs_spec[2:]
        for d, (low, high), step in zip(spatial, self.padding, self.dilation, strict=True):
            config[d] = (low, high, step - 1)
        return lax.pad(self.inputs, jnp.zeros((), self.inputs.dtype), config)

    @property
    def is_small_enough(self) -> bool:
        shapes = *self.size, *self.padded.shape, *self.filters.shape
        return min(shapes) >= 1 and min(self.taps, prod(self.size)) <= MOST_COPIES

    @property
    def fits_as_products(self) -> bool:
        """Whether the copies, or the products, of all taps fit side by side in float32."""
        narrower = min(self.channels, self.filtered)
        return 4 * self.taps * narrower * (self.inputs.size // self.channels) <= MOST_BYTES

    @property
    def stays(self) -> list[int]:
        """The dimensions of the inputs but for their channels, which a product sums over."""
        return [d for d in range(self.inputs.ndim) if d != self.numbers.lhs_spec[1]]

    @property
    def order(self) -> list[int]:
        """Where (batch, output channel, place…) are in (the dimensions that stay…, output channel)."""
        batch, _, *spatial = self.numbers.lhs_spec
        return [self.stays.index(batch), len(self.stays), *(self.stays.index(d) for d in spatial)]

    @property
    def usual_numbers(self) -> lax.ConvDimensionNumbers:
        """(batch, place…, channel) and (place…, channel, output channel)."""
        rank = self.inputs.ndim
        usual = (0, rank - 1, *range(1, rank - 1))
        return lax.ConvDimensionNumbers(usual, (rank - 1, rank - 2, *range(rank - 2)), usual)

    def in_usual_order(self) -> tuple[Array, Sequence[int]]:
        """Leave it to XLA, in the order it has a quick form for."""
        batch, channel, *spatial = self.numbers.lhs_spec
        out_channel, in_channel, *window = self.numbers.rhs_spec
        out = lax.conv_general_dilated(
            jnp.transpose(self.inputs, (batch, *spatial, channel)),
            jnp.transpose(self.filters, (*window, in_channel, out_channel)),
            self.strides,
            self.padding,
            rhs_dilation=self.spacing,
            dimension_numbers=self.usual_numbers,
            **self.how,
        )
        return out, self.usual_numbers.out_spec

    def products_first(self) -> tuple[Array, Sequence[int]]:
        """Multiply with the filters of all taps side by side; shift their parts and add them."""
        out_channel, in_channel, *window = self.numbers.rhs_spec
        taps = jnp.transpose(self.filters, (in_channel, *window, out_channel)).reshape(self.channels, -1)
        channel = self.numbers.lhs_spec[1]
        products = lax.dot_general(self.inputs, taps, (((channel,), (0,)), ((), ())), **self.how)
        parts = jnp.split(products, self.taps, axis=-1)
        shifted = []
        for part, tap in zip(parts, positions_in(*map(range, self.window)), strict=True):
            config = [(0, 0, 0)] * part.ndim
            along = zip(self.order[2:], self.padding, tap, self.window, self.spacing, strict=True)
            for d, (low, high), at, count, step in along:
                config[d] = (low - at * step, high - (count - 1 - at) * step, 0)
            shifted.append(lax.pad(part, jnp.zeros((), part.dtype), config))
        return sum(shifted[1:], shifted[0]), self.order

    def copies_first(self) -> tuple[Array, Sequence[int]]:
        """Put what each tap sees side by side, and multiply once."""
        channel = self.numbers.lhs_spec[1]
        out_channel, in_channel, *window = self.numbers.rhs_spec
        copies = _copies(
            self.padded, self.numbers.lhs_spec, self.window, self.size, self.spacing, self.strides
        )
        taps = jnp.transpose(self.filters, (*window, in_channel, out_channel))
        taps = taps.reshape(len(copies), -1, taps.shape[-1])  # (tap, channel, output channel)
        if _fit_together(copies):
            copies, taps = [jnp.concatenate(copies, channel)], taps.reshape(1, -1, taps.shape[-1])
        summed = (((channel,), (0,)), ((), ()))
        products = [
            lax.dot_general(copy, tap, summed, **self.how) for copy, tap in zip(copies, taps, strict=True)
        ]
        return sum(products[1:], products[0]), self.order

    def as_sum_over_places(self) -> tuple[Array, Sequence[int]]:
        """Put what each place of the result sees side by side: the gradient of filters."""
        batch, channel, *spatial = self.numbers.lhs_spec
        _, in_channel, *window = self.numbers.rhs_spec
        copies = _copies(
            self.padded, self.numbers.lhs_spec, self.size, self.window, self.strides, self.spacing
        )
        if _fit_together(copies):
            copies = [jnp.concatenate(copies, batch)]
        summed = (((channel, *spatial), (in_channel, *window)), ((), ()))
        products = [product(copy, self.filters, dimension_numbers=summed, **self.how) for copy in copies]
        places = len(self.size)
        out = jnp.concatenate(products).reshape(*self.size, self.inputs.shape[batch], -1)
        return out, [places, places + 1, *range(places)]


def _fit_together(copies: Sequence[Array]) -> bool:
    return sum(copy.size * copy.dtype.itemsize for copy in copies) <= MOST_BYTES


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
