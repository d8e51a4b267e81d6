"""Which operations a differentiated program says in another form, by the device that computes it."""

from collections.abc import Callable
from typing import Any

import jax

from downslope.gradient.convolutions import convolution
from downslope.gradient.pooling import largest, slope_of_largest
from downslope.gradient.products import summed_over_rows
from downslope.gradient.rewriting import rewritten

ON_CPU = {
    "dot_general": summed_over_rows,
    "conv_general_dilated": convolution,
    "reduce_window_max": largest,
    "select_and_scatter_add": slope_of_largest,
}


def in_forms_for_this_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, whose slow operations are computed in a quicker form where there is one.

    It goes around the differentiated function, so that it sees the backward pass too.
    """
    return rewritten(function, ON_CPU) if jax.default_backend() == "cpu" else function
