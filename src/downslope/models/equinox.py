"""Equinox modules as (init, apply) pairs. They are called with one example; the batch is `vmap`'s."""

import inspect
from typing import Any

import equinox as eqx
import jax

from downslope.models.functional import Model

BATCH_AXIS = "batch"  # the name that equinox.nn.BatchNorm is to be given


def from_equinox(network: Any) -> Model:
    """Return an Equinox module, or the pair (module, state) that `equinox.nn.make_with_state` makes.

    The module is called as ``module(x)``, ``module(x, key=key)``, ``module(x, state)`` or
    ``module(x, state, key=key)`` with one example, under a `vmap` whose axis is named ``"batch"``. Its
    inexact arrays are the params.
    """
    module, state = network if isinstance(network, tuple) else (network, None)
    params, static = eqx.partition(module, eqx.is_inexact_array)
    takes_key = "key" in inspect.signature(type(module).__call__).parameters
    state_arrays, state_rest = eqx.partition(state, eqx.is_array)

    def init(key: jax.Array, example: Any) -> tuple[Any, Any]:
        return params, state_arrays

    def apply(
        params: Any, state: Any, inputs: Any, *, key: Any, train: bool, mask: Any = None
    ) -> tuple[Any, Any]:
        called = eqx.nn.inference_mode(eqx.combine(params, static), value=not train)
        n_rows = jax.tree.leaves(inputs)[0].shape[0]
        keys = jax.random.split(jax.random.key(0) if key is None else key, n_rows)

        def one(x: Any, state: Any, key: Any) -> Any:
            context = {"key": key} if takes_key else {}
            return called(x, **context) if state is None else called(x, state, **context)

        if jax.tree.structure(state_rest) == jax.tree.structure(None):
            return jax.vmap(lambda x, key: one(x, None, key), axis_name=BATCH_AXIS)(inputs, keys), state
        whole = eqx.combine(state, state_rest)
        mapped = jax.vmap(one, axis_name=BATCH_AXIS, in_axes=(0, None, 0), out_axes=(0, None))
        outputs, whole = mapped(inputs, whole, keys)
        return outputs, eqx.partition(whole, eqx.is_array)[0]

    return Model(init, apply)
