"""What the networks for tables share: embeddings for categories, activations and their initial weights."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
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

NOT_LEVELS = 2  # codes of a column of texts that come before those of its levels: other, missing


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
    def climbing(self) -> tuple[int, ...]:
        """Which column each ramp looks at."""
        return tuple(column for column, edges in enumerate(self.edges) for _ in edges[1:])

    @property
    def n_ramps(self) -> int:
        """How many ramps all columns have together."""
        return len(self.climbing)

    def steps(self) -> tuple[Float[Array, " ramps"], Float[Array, " ramps"]]:
        """Return where each ramp begins, and how much higher it ends."""
        ramps = [step for edges in self.edges for step in pairwise(np.asarray(edges, np.float32))]
        low, high = np.array(ramps, np.float32).reshape(-1, 2).T
        return jnp.asarray(low), jnp.asarray(high - low)

    @property
    def alike(self) -> "Columns":
        """The same columns with edges 0, 1, 2, …: one for all tables whose networks have the same shapes."""
        return replace(self, edges=tuple(tuple(map(float, range(len(edges)))) for edges in self.edges))


def activation_by_name(name: str) -> tuple[Callable[[Array], Array], Callable[..., Any]]:
    """Return (activation, initialiser of the weights before it); OptionError for an unknown name."""
    if name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise OptionError(f"--activation: unknown '{name}'.{did_you_mean(name, ACTIVATIONS)} Known: {known}")
    return ACTIVATIONS[name]


class Fixed(nnx.Variable):
    """Numbers of a network that come from the data and are not learned.

    As variables they are given to compiled programs, which so are the same for other data.
    """


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
                embedding_init=_random_levels,
                promote_dtype=_unchanged,  # else they are float32 whatever the precision
                rngs=rngs,
            )
            for size, width in zip(columns.embedding_sizes, widths, strict=True)
        )
        self.climbing = columns.climbing
        if self.climbing:
            self.low, self.height = map(Fixed, columns.steps())
        self.width = columns.n_dense + columns.n_ramps + sum(widths)

    def __call__(self, inputs: Any) -> Float[Array, "batch width"]:
        dense, categories = inputs
        parts = [dense]
        if self.climbing:
            parts.append(ramps(dense[:, np.array(self.climbing)], self.low[...], self.height[...]))
        parts += [embed(categories[:, index]) for index, embed in enumerate(self.embeddings)]
        return jnp.concatenate(parts, axis=-1) if len(parts) > 1 else dense


def fixed_of(columns: Columns) -> dict[str, Any]:
    """Return the model state of a network for such columns that is theirs: the steps of their ramps."""
    return {"input": dict(zip(("low", "height"), columns.steps(), strict=True))}


def ramps(
    numbers: Float[Array, "batch ramps"], low: Float[Array, " ramps"], height: Float[Array, " ramps"]
) -> Float[Array, "batch ramps"]:
    """Return how far each number has climbed the step from `low` to ``low + height``.

    A ramp is 0 below its step, 1 above, and linear within, so the first layer can give every stretch of
    a column its own slope, where a number alone is one straight line. Gorishniy et al. 2022, "On
    Embeddings for Numerical Features in Tabular Deep Learning", https://arxiv.org/abs/2203.05556,
    section 3.2.
    """
    return jnp.clip((numbers - low) / height, 0.0, 1.0).astype(jnp.result_type(numbers))


def embedding_width(n_codes: int) -> int:
    """Return how many numbers stand for one category: 4 · ⁴√codes, between 2 and 64."""
    return min(64, max(2, round(4 * n_codes**0.25)))


def _random_levels(key: jax.Array, shape: tuple[int, int], dtype: Any) -> Float[Array, "codes width"]:
    """Return the start of an embedding: random for levels, 0 for the codes of other and missing texts.

    Where training has no such row they stay 0, in the middle of the levels, and not where chance put them.
    """
    return nnx.initializers.normal(0.1)(key, shape, dtype).at[:NOT_LEVELS].set(0)


def _unchanged(arrays: Any, /, **_: Any) -> Any:
    return arrays
