"""How the compiled loop is scheduled on a CPU.

XLA's scheduler for CPUs spreads independent operations as wide as it can, as if there were a core for each.
The update of every parameter array is independent of all others, so their intermediate arrays are all alive
at once: at 100 million parameters LAMB takes 0.4 GB for them, writes them to memory and reads them back. One
array after the other they stay in the cache, and the step takes two thirds of the time. Where a network is
small it makes no difference; a single large operation is spread over the cores either way.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LARGE = 2**18  # numbers: a megabyte, what a core's own cache holds with all else
ONE_AFTER_THE_OTHER = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"}


def jit_steps(steps: Callable[..., Any], **options: Any) -> Any:
    """Return ``jax.jit(steps, **options)``, scheduled on a CPU so that few arrays are alive at once."""
    on_cpu = jax.default_backend() == "cpu"
    return jax.jit(steps, compiler_options=ONE_AFTER_THE_OTHER if on_cpu else None, **options)


def after_all(value: Float[Array, ""], arrays: Any) -> Float[Array, ""]:
    """Return `value`, on a CPU computed after all of `arrays`, floating-point numbers.

    New weights can be written over the old ones when nobody reads those any more. The update of a layer and
    the backward pass through it do not need each other, so XLA takes no order for granted and copies every
    layer first. Here the step size waits for all gradients, and the weights for the step size. To copy small
    arrays takes less time than to wait.
    """
    leaves = [array for array in jax.tree.leaves(arrays) if array.size]
    if jax.default_backend() != "cpu" or all(array.size < LARGE for array in leaves):
        return value
    firsts = [array[(0,) * array.ndim].astype(value.dtype) for array in leaves]
    return value + sum(jnp.minimum(jnp.abs(first), 0) for first in firsts)  # + 0
