"""The door through which every network enters: an (init, apply) pair of pure functions.

    init(key, example)                               -> (params, state)
    apply(params, state, inputs, *, key, train, mask) -> (outputs, state)

`params` are what descent changes. `state` is what the forward pass changes by itself: the running
averages of batch normalisation. Both are plain nested dictionaries of arrays. `mask` says which rows
of a batch are real, so that the padding of a last batch cannot leak into batch statistics.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from flax import nnx

from downslope.errors import OptionError


class Model(NamedTuple):
    """A network as two pure functions.

    Attributes:
        init: ``init(key, example) -> (params, state)``; `example` is a batch of inputs, used for shapes.
        apply: ``apply(params, state, inputs, *, key, train, mask=None) -> (outputs, state)``. `key` feeds
            dropout, `train` switches dropout and batch statistics, `mask` (batch,) is 1 for real rows.
    """

    init: Callable[..., tuple[Any, Any]]
    apply: Callable[..., tuple[Any, Any]]


def as_model(network: Any) -> Model:
    """Return anything that a user may call a network as an (init, apply) pair.

    Args:
        network: a `Model`; a Flax NNX module, whose weights are the start; a function ``rngs -> module``
            that makes one; an Equinox module, or the pair (module, state) of one that carries state; or a
            pair of functions ``init(key, example)``, ``apply(params, inputs)``. These may also be
            ``init(key, example) -> (params, state)`` with ``apply(params, state, inputs, *, key, train)
            -> (outputs, state)``, for networks with dropout or batch statistics.

    Raises:
        OptionError: it is none of these.
    """
    if isinstance(network, Model):
        return network
    if isinstance(network, nnx.Module):
        return from_nnx(lambda rngs: network, network)
    if is_equinox(network):
        from downslope.models.equinox import from_equinox

        return from_equinox(network)
    if isinstance(network, tuple) and len(network) == 2 and all(callable(part) for part in network):
        return from_functions(*network)
    if callable(network):
        return from_nnx(cast(Callable[[nnx.Rngs], nnx.Module], network))
    raise OptionError(
        "a network must be a Flax NNX module, an Equinox module, or a pair of functions (init, apply); "
        f"got {type(network).__name__}"
    )


def is_network(value: Any) -> bool:
    """Return whether `value` is a network rather than data: none of the kinds of data is one of these."""
    is_pair = isinstance(value, tuple) and len(value) == 2 and all(callable(part) for part in value)
    return isinstance(value, Model | nnx.Module) or is_pair or is_equinox(value)


def is_equinox(value: Any) -> bool:
    """Return whether `value` is an Equinox module or a pair (module, state), without importing Equinox."""
    module = value[0] if isinstance(value, tuple) and value else value
    return any(kind.__module__.split(".")[0] == "equinox" for kind in type(module).__mro__)


def from_functions(init: Callable[..., Any], apply: Callable[..., Any]) -> Model:
    """Return a pair of plain functions as a `Model`; see `as_model`."""
    names = inspect.signature(apply).parameters
    if "state" not in names:

        def stateless(params: Any, state: Any, inputs: Any, **context: Any) -> tuple[Any, Any]:
            return apply(params, inputs, **_taken(names, context)), state

        return Model(lambda key, example: (init(key, example), ()), stateless)

    def stateful(params: Any, state: Any, inputs: Any, **context: Any) -> tuple[Any, Any]:
        return apply(params, state, inputs, **_taken(names, context))

    return Model(init, stateful)


def _taken(names: Any, context: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in context.items() if name in names}


def from_nnx(build: Callable[[nnx.Rngs], nnx.Module], made: nnx.Module | None = None) -> Model:
    """Return a Flax NNX module as an (init, apply) pair.

    Args:
        build: makes the module from its random streams, ``lambda rngs: MyModule(..., rngs=rngs)``. A
            module's ``__call__(inputs)`` may also take ``mask``, which batch normalisation needs.
        made: the module, where it is there already: its weights are the start, whatever the key.
    """
    abstract = nnx.eval_shape(lambda: build(nnx.Rngs(0))) if made is None else _shapes_of(made)
    _compute_as_stored(abstract)
    graph_for = {
        train: nnx.split(_in_mode(abstract, train), nnx.Param, nnx.RngState, ...)[0]
        for train in (True, False)
    }
    takes_mask = "mask" in inspect.signature(type(abstract).__call__).parameters

    def init(key: jax.Array, example: Any) -> tuple[Any, Any]:
        _, params, _, state = nnx.split(build(nnx.Rngs(key)), nnx.Param, nnx.RngState, ...)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(state)

    def apply(
        params: Any, state: Any, inputs: Any, *, key: Any, train: bool, mask: Any = None
    ) -> tuple[Any, Any]:
        _, abstract_params, abstract_random, abstract_state = nnx.split(
            abstract, nnx.Param, nnx.RngState, ...
        )
        nnx.replace_by_pure_dict(abstract_params, params)
        nnx.replace_by_pure_dict(abstract_state, state)
        module = nnx.merge(
            graph_for[train], abstract_params, _streams_from(key, abstract_random), abstract_state
        )
        outputs = module(inputs, mask=mask) if takes_mask else module(inputs)
        state = nnx.split(module, nnx.Param, nnx.RngState, ...)[3]
        return outputs, nnx.to_pure_dict(state)

    return Model(init, apply)


def _shapes_of(module: nnx.Module) -> nnx.Module:
    """Return a copy of the module that holds shapes in place of arrays."""
    graph, state = nnx.split(module)
    return nnx.merge(graph, jax.eval_shape(lambda: state))


def _compute_as_stored(module: nnx.Module) -> None:
    """Let embeddings give what their table is stored in, as other layers do.

    Flax writes float32 down in an embedding that is given no dtype; all after it then computes in float32,
    even where the weights are cast to bfloat16.
    """
    for _, part in nnx.iter_modules(module):
        if isinstance(part, nnx.Embed) and part.dtype == part.embedding.dtype:
            part.dtype = None


def _in_mode(module: nnx.Module, train: bool) -> nnx.Module:
    """Return the module with dropout and batch normalisation set to training or to evaluation."""
    return nnx.view(module, deterministic=not train, use_running_average=not train, raise_if_not_found=False)


def _streams_from(key: jax.Array | None, random_state: nnx.State) -> nnx.State:
    """Give every random stream of a module its own key, a function of the step's key alone."""
    key = jax.random.key(0) if key is None else key  # evaluation draws nothing

    def restart(index: int, leaf: Any) -> jax.Array:
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.fold_in(key, index) if is_key else jnp.zeros(leaf.shape, leaf.dtype)

    leaves, structure = jax.tree.flatten(random_state)
    return jax.tree.unflatten(structure, [restart(index, leaf) for index, leaf in enumerate(leaves)])
