"""The arrays that are handed to `minimize`: read, and refused where they cannot be meant."""

import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from downslope import pytrees
from downslope.errors import OptionError
from downslope.gradient.backprop import Batch


def as_params(params: Any) -> Any:
    """Return the start as a tree of arrays; OptionError if it cannot be descended as a whole."""
    for leaf in jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, nnx.Variable)):
        if isinstance(leaf, nnx.Variable) and not isinstance(leaf, nnx.Param):
            raise OptionError(
                f"params: the module holds {type(leaf).__name__}, which is not learned by descent; train it "
                "by downslope.train(model, …), or give the learned ones alone: "
                "graph, params, rest = nnx.split(model, nnx.Param, ...), and in the loss "
                "nnx.merge(graph, params, rest, copy=True)"
            )
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
        OptionError: they are no arrays, of unequal lengths, or hold whole numbers that the device would wrap.
    """
    if data is None:
        return Batch((), (), jnp.ones(1, jnp.float32))
    if not isinstance(data, tuple | list):
        kind = "one array" if hasattr(data, "shape") else type(data).__name__
        raise OptionError(
            "data: needs a tuple of what the loss takes beside the params, such as data=(x, y), data=(x,) or "
            f"data=({{'x': x, 'y': y}},); got {kind}"
        )
    inputs = jax.tree.map(_on_device, tuple(data), is_leaf=lambda node: not isinstance(node, tuple | dict))
    lengths = {array.shape[0] if array.ndim else 0 for array in jax.tree.leaves(inputs)}
    if len(lengths) != 1 or lengths == {0}:
        raise OptionError(f"data: needs arrays with equally many rows; got {sorted(lengths)}")
    return Batch(inputs, (), jnp.ones(lengths.pop(), jnp.float32))


def whole_number(name: str, value: Any, lowest: int, highest: int | None = None) -> int:
    """Return a whole number of Python's, of NumPy's or of JAX's as one of Python's.

    >>> whole_number("steps", np.int64(10), 1)
    10
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < lowest or (highest is not None and number > highest):
        allowed = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise OptionError(f"{name} must be a whole number {allowed}, got {value!r}")
    return number


def refuse_tracers(*trees: Any) -> None:
    """Refuse to descend inside of `jax.jit`, `jax.vmap` or `jax.grad`, whose arrays have no values yet.

    Args:
        trees: the arrays to look at. Under `jax.jit` a new array is a tracer too, wherever it comes from.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((trees, jnp.zeros(())))):
        raise OptionError(
            "minimize cannot be called inside of jax.jit, jax.vmap or jax.grad: it compiles and starts the "
            "descent itself. There, write the loop with rule.direction in jax.lax.scan; "
            "examples/plain_loop.py shows such a step"
        )


def _on_device(array: Any) -> jax.Array:
    """Return one array on the device; OptionError if it is none, or its whole numbers would be wrapped."""
    if not isinstance(array, jax.Array):
        try:
            array = np.asarray(array)
        except ValueError as error:  # lists of unequal lengths
            raise OptionError(f"data: needs arrays of numbers; {error}") from None
        if array.dtype.kind in "iu":
            _refuse_wrapped(array, jax.dtypes.canonicalize_dtype(array.dtype))
    try:
        return jnp.asarray(array)
    except TypeError as error:  # texts
        raise OptionError(f"data: needs arrays of numbers; {error}") from None


def _refuse_wrapped(array: np.ndarray, dtype: Any) -> None:
    if dtype != array.dtype and not pytrees.fits(array, dtype):
        limits = np.iinfo(dtype)
        raise OptionError(
            f"data: whole numbers must lie within {limits.min} to {limits.max}, got {array.min()} to "
            f"{array.max()}; give them as floating-point numbers, or as codes that are smaller"
        )
