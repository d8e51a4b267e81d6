"""What is seen of each layer: which leaves of the weights make one, and how long they are together.

A layer is the set of leaves under one name: ``linears/0/kernel`` and ``linears/0/bias`` are ``linears/0``.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from downslope import pytrees


def layer_names(params: Any) -> list[str]:
    """Return the name of every layer, in the order of their leaves.

    >>> layer_names({"linears": {0: {"bias": 0.0, "kernel": 0.0}}, "scale": 1.0})
    ['linears/0', 'scale']
    """
    return list(dict.fromkeys(map(_layer, pytrees.paths(params))))


def layer_norms(tree: Any) -> Float[Array, " layers"]:
    """Return ‖layer‖₂ of every layer, float32, in the order of `layer_names`."""
    squares: dict[str, Any] = {}
    for name, leaf in zip(map(_layer, pytrees.paths(tree)), jax.tree.leaves(tree), strict=True):
        squares[name] = squares.get(name, 0.0) + pytrees.dot(leaf, leaf).astype(jnp.float32)
    return jnp.sqrt(jnp.stack(list(squares.values())))  # (layers,)


def _layer(path: str) -> str:
    return path.rpartition("/")[0] or path


def dead_units(answers: list[Float[Array, "rows units"]]) -> Float[Array, " layers"]:
    """Return the share of units in each layer that answer the same to every row.

    A unit that varies a million times less than the liveliest of its layer says nothing either.
    """

    def share(layer: Array) -> Array:
        ranges = jnp.max(layer, axis=0) - jnp.min(layer, axis=0)  # (units,)
        return jnp.mean(ranges <= 1e-6 * jnp.max(ranges))

    return jnp.stack([share(layer) for layer in answers])
