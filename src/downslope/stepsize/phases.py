"""Warm-up, constant, decay: a schedule whose length is decided while it runs.

    multiplier = min(1, (step + 1) / warmup, (end − step) / (end − decay_from)), never below 0

A cosine must know its end before it begins. This one need not: as long as nobody knows how long is long
enough, the rate stays where it is, and the decay is begun when the loss has stopped improving. And since
every run at the same rate begins the same way, one descent at a constant rate can be asked at any age what
it would give once annealed: decay a copy of it.

Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations",
https://arxiv.org/abs/2405.18392, section 3: with the decay linear and long enough, as good as a cosine of
that length.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from downslope.stepsize.schedule import Schedule


class Phases(NamedTuple):
    """Where the phases lie: arrays, so that changing them never compiles anything again.

    Attributes:
        warmup: steps of the rise, ≥ 0.
        decay_from: step at which the fall begins; infinite while that is open.
        end: first step that is not done any more; infinite while that is open.
        total_steps: what a named schedule is stretched over, where one is to be followed instead; else 0.
    """

    warmup: Any
    decay_from: Any = math.inf
    end: Any = math.inf
    total_steps: Any = 0.0

    def as_arrays(self) -> "Phases":
        """Return the same numbers as float32, finite: 0/0 and ∞/∞ must not meet in compiled code."""
        return Phases(*(np.float32(min(float(number), 1e30)) for number in self))


def phased(named: Schedule | None = None) -> Schedule:
    """Return the schedule ``(step, phases) -> multiplier``.

    Args:
        named: followed instead of the phases where ``phases.total_steps`` is above 0.

    >>> schedule = phased()
    >>> [float(schedule(step, Phases(2, 4, 8).as_arrays())) for step in range(9)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    """

    def schedule(step: Any, phases: Phases) -> Any:
        at = jnp.asarray(step, jnp.float32)
        rising = (at + 1) / jnp.maximum(phases.warmup, 1)
        falling = (phases.end - at) / jnp.maximum(phases.end - phases.decay_from, 1)
        falling = jnp.where(at < phases.decay_from, 1.0, falling)
        by_phase = jnp.clip(jnp.minimum(rising, falling), 0.0, 1.0)
        if named is None:
            return by_phase
        return jnp.where(phases.total_steps > 0, named(step, phases.total_steps), by_phase)

    return schedule
