"""The arrays that are handed to `minimize`: read, and refused where they cannot be meant."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from downslope import pytrees
from downslope.errors import OptionError
from downslope.gradient.backprop import Batch


def as_params(params: Any) -> Any:
    """Return the start as a tree of arrays; OptionError if it is none, or not of floating point."""
    try:
        params = jax.tree.map(jnp.asarray, params)
    except TypeError as error:
        raise OptionError(f"params: needs a tree of arrays; {error}") from None
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise OptionError(f"params: '{pytrees.path_name(path)}' is {leaf.dtype}, not floating point")
    return params


def as_rows(data: Sequence[Any] | None) -> Batch:
    """Return the rows as one batch on the device; without data, one empty row.

    Raises:
        OptionError: they are no arrays, or of unequal lengths.
    """
    if data is None:
        return Batch((), (), jnp.ones(1, jnp.float32))
    if hasattr(data, "shape"):
        raise OptionError("data: needs a tuple of arrays, such as data=(x, y) or data=(x,); got one array")
    try:
        arrays = tuple(jnp.asarray(array) for array in data)
    except TypeError as error:
        raise OptionError(f"data: needs arrays of numbers; {error}") from None
    lengths = {array.shape[0] if array.ndim else 0 for array in arrays}
    if len(lengths) != 1 or lengths == {0}:
        raise OptionError(f"data: needs arrays with equally many rows; got {sorted(lengths)}")
    return Batch(arrays, (), jnp.ones(lengths.pop(), jnp.float32))
