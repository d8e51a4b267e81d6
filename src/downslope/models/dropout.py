"""Dropout whose random numbers cost little."""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float


class Dropout(nnx.Dropout):
    """`flax.nnx.Dropout` (Srivastava et al. 2014), which draws by hashing: see `kept`."""

    def __call__(
        self, inputs: Float[Array, "..."], *, deterministic: bool | None = None, rngs: Any = None
    ) -> Float[Array, "..."]:
        is_still = self.deterministic if deterministic is None else deterministic
        if is_still or not self.rate:
            return inputs
        draw: Any = self.rngs if rngs is None else rngs
        return jnp.where(kept(draw(), inputs.shape, self.rate), inputs / (1 - self.rate), 0)


def kept(key: jax.Array, shape: tuple[int, ...], rate: float) -> Bool[Array, "..."]:
    """Return which units stay: each with probability 1 − rate, independently.

    A unit's random number is its place hashed together with the key. JAX's own numbers are as good as those
    of a cipher, which dropout does not need: drawing them took a third of the training step of a network of
    three layers of 256 units. The hash is MurmurHash3's last stage (Appleby 2011), for the place and for
    each half of the key in turn: every bit of these moves every bit of the number.

    Args:
        key: a random key of JAX.
        shape: of what is to be masked; at most 2³² numbers.
        rate: share of units silenced, 0 ≤ rate < 1.
    """
    first, second = jax.random.key_data(key)[:2]
    place = jax.lax.iota(jnp.uint32, prod(shape)).reshape(shape)
    number = _mixed(_mixed(_mixed(place) + first) + second)
    return number >= jnp.uint32(min(round(rate * 2**32), 2**32 - 1))


def _mixed(word: Array) -> Array:
    """Return 32-bit words with their bits mixed, one to one."""
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
