"""What the networks for tables share: embeddings for categories, activations and their initial weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from downslope.errors import OptionError, did_you_mean

# Each activation with the initial weights that keep the signal's variance through depth:
# He et al. 2015 (eq. 10) for those that silence half of it, LeCun et al. 1998 for SELU, which
# normalises itself, Glorot & Bengio 2010 (eq. 12) for those that are symmetric about zero.
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[..., Any]]] = {
    "relu": (jax.nn.relu, nnx.initializers.he_normal),
    "leaky-relu": (jax.nn.leaky_relu, nnx.initializers.he_normal),
    "gelu": (jax.nn.gelu, nnx.initializers.he_normal),
    "silu": (jax.nn.silu, nnx.initializers.he_normal),
    "mish": (jax.nn.mish, nnx.initializers.he_normal),
    "elu": (jax.nn.elu, nnx.initializers.he_normal),
    "selu": (jax.nn.selu, nnx.initializers.lecun_normal),
    "tanh": (jnp.tanh, nnx.initializers.glorot_uniform),
    "sigmoid": (jax.nn.sigmoid, nnx.initializers.glorot_uniform),
    "softplus": (jax.nn.softplus, nnx.initializers.glorot_uniform),
}


@dataclass(frozen=True)
class Columns:
    """What the columns of an encoded table are.

    Attributes:
        n_dense: columns that are numbers already.
        embedding_sizes: number of codes of each category column.
        edges: for each dense column, the ascending edges of its ramps; empty where it has none.
    """

    n_dense: int
    embedding_sizes: tuple[int, ...] = ()
    edges: tuple[tuple[float, ...], ...] = ()

    @property
    def n_ramps(self) -> int:
        """How many ramps all columns have together."""
        return sum(max(0, len(edges) - 1) for edges in self.edges)


def activation_by_name(name: str) -> tuple[Callable[[Array], Array], Callable[..., Any]]:
    """Return (activation, initialiser of the weights before it); OptionError for an unknown name."""
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise OptionError(f"--activation: unknown '{name}'.{did_you_mean(name, ACTIVATIONS)} Known: {known}")
    return ACTIVATIONS[name]


class TableInput(nnx.Module):
    """What a network for tables sees: dense columns, ramps of its numbers, embeddings of its categories.

    Args:
        columns: what the table's columns are.
    """

    def __init__(self, columns: Columns, *, rngs: nnx.Rngs):
        widths = [embedding_width(size) for size in columns.embedding_sizes]
        self.embeddings = nnx.List(
            nnx.Embed(
                size,
                width,
                embedding_init=nnx.initializers.normal(0.1),
                promote_dtype=_unchanged,  # else they are float32 whatever the precision
                rngs=rngs,
            )
            for size, width in zip(columns.embedding_sizes, widths, strict=True)
        )
        self.edges = columns.edges
        self.width = columns.n_dense + columns.n_ramps + sum(widths)

    def __call__(self, inputs: Any) -> Float[Array, "batch width"]:
        dense, categories = inputs
        parts = [dense]
        if any(self.edges):
            parts.append(ramps(dense, self.edges))
        parts += [embed(categories[:, index]) for index, embed in enumerate(self.embeddings)]
        return jnp.concatenate(parts, axis=-1) if len(parts) > 1 else dense


def ramps(
    dense: Float[Array, "batch columns"], edges: Sequence[Sequence[float]]
) -> Float[Array, "batch ramps"]:
    """Return how far each number has climbed each step between two neighbouring edges of its column.

    A ramp is 0 below its step, 1 above, and linear within, so the first layer can give every stretch of
    a column its own slope, where a number alone is one straight line. Gorishniy et al. 2022, "On
    Embeddings for Numerical Features in Tabular Deep Learning", https://arxiv.org/abs/2203.05556,
    section 3.2.
    """
    column = np.repeat(np.arange(len(edges)), [max(0, len(own) - 1) for own in edges])
    low = np.concatenate([np.asarray(own[:-1], np.float32) for own in edges])  # (ramps,)
    height = np.concatenate([np.diff(np.asarray(own, np.float32)) for own in edges if own])  # (ramps,)
    return jnp.clip((dense[:, column] - low) / height, 0.0, 1.0).astype(jnp.result_type(dense))


def embedding_width(n_codes: int) -> int:
    """Return how many numbers stand for one category: 4 · ⁴√codes, between 2 and 64."""
    return min(64, max(2, round(4 * n_codes**0.25)))


def _unchanged(arrays: Any, /, **_: Any) -> Any:
    return arrays
