"""A loss of the user's own, as an objective that the compiled steps can descend."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from downslope import pytrees
from downslope.errors import OptionError
from downslope.gradient.backprop import Batch, Objective, weighted_mean
from downslope.training.own_arrays import refuse_tracers


def as_objective(loss: Callable[..., Any], params: Any, rows: Batch, key: Any) -> tuple[Objective, bool]:
    """Return the loss as an objective, and whether it gives one number per row."""
    takes_key = _takes_key(loss, (params, *rows.inputs))

    def value(params: Any, inputs: tuple[Any, ...], key: Any) -> Any:
        found = loss(params, *inputs, **({"key": key} if takes_key else {}))
        if not isinstance(found, (jax.Array, np.ndarray, np.generic)):
            kind = type(found).__name__
            raise OptionError(
                f"loss: must return an array that is computed from the params; it returns {kind}"
            )
        return jnp.asarray(found)

    program, form = jax.make_jaxpr(value, return_shape=True)(params, rows.inputs, key)
    refuse_tracers(program.consts)  # of a loss that closes over what is traced around it
    if not jnp.issubdtype(form.dtype, jnp.floating):
        raise OptionError(
            f"loss: must return floating-point numbers, which have a slope; it returns {form.dtype}"
        )
    if not _may_depend(program.jaxpr, len(jax.tree.leaves(params))):
        raise OptionError("loss: does not depend on the params, so it has no slope; compute it from them")
    by_row = bool(rows.inputs) and form.shape == rows.weights.shape
    if form.shape != () and not by_row:
        raise OptionError(f"loss: must return a scalar, or one number per row; it returns shape {form.shape}")

    def objective(params: Any, model_state: Any, batch: Batch, key: Any) -> tuple[Any, Any]:
        values = value(params, batch.inputs, key)
        return (weighted_mean(values, batch.weights) if by_row else values), model_state

    return objective, by_row


def _takes_key(loss: Callable[..., Any], arguments: tuple[Any, ...]) -> bool:
    """Return whether `key` is an argument that is left; OptionError where these are not those of the loss."""
    try:
        signature = inspect.signature(loss)
    except ValueError:  # of a function that is not written in Python
        return False
    given, inner = set(), inspect.unwrap(loss)
    while isinstance(inner, functools.partial):
        given |= set(inner.keywords)
        inner = inspect.unwrap(inner.func)
    try:
        given |= set(signature.bind_partial(*arguments).arguments)
        key = signature.parameters.get("key")
        by_name = key is not None and key.kind in (key.POSITIONAL_OR_KEYWORD, key.KEYWORD_ONLY)
        takes_key = by_name and "key" not in given
        signature.bind(*arguments, **({"key": None} if takes_key else {}))
    except TypeError as error:
        raise OptionError(
            f"loss: takes other arguments than the params and what data=(…) holds, here {len(arguments)} "
            f"in all; {error}"
        ) from None
    return takes_key


def _may_depend(program: Any, n_leaves: int) -> bool:
    """Return whether a way leads from the first inputs to the output; programs within it are not opened."""
    reached = {id(variable) for variable in program.invars[:n_leaves]}
    for step in program.eqns:
        passes = step.primitive.name != "stop_gradient"
        if passes and any(id(variable) in reached for variable in step.invars):
            reached.update(id(variable) for variable in step.outvars)
    return any(id(variable) in reached for variable in program.outvars)


def on_all_rows(objective: Objective, batch_size: int) -> Callable[[Any, Batch], Any]:
    """Return ``(params, rows) -> loss`` on all rows, taking no more than a batch of them at once.

    It is the mean over batches of consecutive rows, each counted by its rows; of a mean over rows that is
    the mean over all of them. One batch of all rows is one call of the objective.
    """

    def loss_at(params: Any, rows: Batch) -> Any:
        n_rows, key = len(rows.weights), jax.random.key(0)
        whole = n_rows // batch_size

        def share(first: Any, size: int, key: Any) -> Any:
            batch = jax.tree.map(lambda array: jax.lax.dynamic_slice_in_dim(array, first, size), rows)
            loss = objective(params, (), batch, key)[0]
            return loss.astype(jnp.promote_types(loss.dtype, jnp.float32)) * (size / n_rows)

        def add(index: Any, total: Any) -> Any:
            return total + share(index * batch_size, batch_size, jax.random.fold_in(key, index))

        if batch_size == n_rows:
            return objective(params, (), rows, key)[0]
        rest = n_rows - whole * batch_size
        total = share(0, batch_size, jax.random.fold_in(key, 0))
        total = jax.lax.fori_loop(1, whole, add, total)
        return total + share(n_rows - rest, rest, jax.random.fold_in(key, whole)) if rest else total

    return loss_at


def has_slope(loss_at: Callable[[Any, Batch], Any], params: Any, rows: Batch) -> bool:
    """Return whether the gradient on all rows is finite; `loss_at` as of `on_all_rows`."""
    return bool(pytrees.all_finite(jax.jit(jax.grad(loss_at))(params, rows)))
