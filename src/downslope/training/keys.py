"""The random keys of a run: a function of its seed and of what they are for."""

from typing import Any

import jax

PURPOSES = ("initial weights", "steps")


def run_key(seed: Any, purpose: str) -> jax.Array:
    """Return the random key of one purpose of a run: no two purposes share a stream.

    >>> bool(jax.random.bits(run_key(0, "steps")) == jax.random.bits(run_key(0, "initial weights")))
    False
    """
    return jax.random.fold_in(jax.random.key(seed), PURPOSES.index(purpose))
