"""Schedules: how the learning rate changes over a run, as a multiplier of the learning rate.

    step_size = learning_rate · schedule(step, total_steps)

Both arguments may be traced, so a run of another length, or one that was cut short to fit its time,
uses the same compiled program. (Optax's schedules take the length when they are made and check it in
Python: a different length is a different program. Ours are tested equal to them.)

All schedules begin with the same linear warm-up over the first `warmup` share of the steps: the step
counted from 1, so that the first step is not wasted on a rate of 0. What follows is a function of the
*progress* t from 0 (the end of the warm-up) to 1 (the end of the run).
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from downslope.errors import OptionError, did_you_mean
from downslope.rules.ranges import checked

Schedule = Callable[[Any, Any], Float[Array, ""]]
Shape = Callable[[Float[Array, ""]], Float[Array, ""]]


def constant(*, warmup: float = 0.0) -> Schedule:
    """1 throughout."""
    return _scheduled("constant", jnp.ones_like, warmup)


def linear(end: float = 0.0, *, warmup: float = 0.0) -> Schedule:
    """1 + (end − 1)·t: a straight line down to `end` in [0, 1]."""
    checked("the schedule 'linear'", end=(end, "[0, 1]"))
    return _scheduled("linear", lambda t: 1 + (end - 1) * t, warmup)


def cosine(end: float = 0.0, *, warmup: float = 0.0) -> Schedule:
    """End + (1 − end)·(1 + cos πt)/2: half a cosine wave down to `end` in [0, 1].

    Loshchilov & Hutter 2017, "SGDR", https://arxiv.org/abs/1608.03983, equation 5, without restarts.
    """
    checked("the schedule 'cosine'", end=(end, "[0, 1]"))
    return _scheduled("cosine", lambda t: end + (1 - end) * (1 + jnp.cos(jnp.pi * t)) / 2, warmup)


def exponential(end: float = 0.01, *, warmup: float = 0.0) -> Schedule:
    """endᵗ: the same factor at every step, down to `end` in (0, 1]."""
    checked("the schedule 'exponential'", end=(end, "(0, 1]"))
    return _scheduled("exponential", lambda t: jnp.power(end, t), warmup)


def polynomial(power: float = 2.0, end: float = 0.0, *, warmup: float = 0.0) -> Schedule:
    """End + (1 − end)·(1 − t)ᵖ, with p = `power` > 0."""
    checked("the schedule 'polynomial'", power=(power, "(0, inf)"))
    checked("the schedule 'polynomial'", end=(end, "[0, 1]"))
    return _scheduled("polynomial", lambda t: end + (1 - end) * jnp.power(1 - t, power), warmup)


def step(drops: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1, *, warmup: float = 0.0) -> Schedule:
    """Multiplied by `factor` in (0, 1] each time the progress passes one of `drops`, each in [0, 1]."""
    checked("the schedule 'step'", factor=(factor, "(0, 1]"))
    for drop in drops:
        checked("the schedule 'step'", drops=(drop, "[0, 1]"))

    def shape(t):
        # The margin absorbs the rounding of step / total_steps, which depends on how XLA divides.
        passed = sum(jnp.where(t >= drop - 1e-6, 1.0, 0.0) for drop in drops)
        return jnp.power(factor, passed)

    return _scheduled("step", shape, warmup)


def one_cycle(peak: float = 0.3, start: float = 0.04, end: float = 4e-6, *, warmup: float = 0.0) -> Schedule:
    """Up from `start` to 1 at progress `peak` in (0, 1), then down to `end`, both along half cosines.

    Smith & Topin 2018, "Super-Convergence", https://arxiv.org/abs/1708.07120; the cosine form and the
    defaults are those of torch.optim.lr_scheduler.OneCycleLR.
    """
    checked("the schedule 'one-cycle'", peak=(peak, "(0, 1)"))
    checked("the schedule 'one-cycle'", start=(start, "[0, 1]"))
    checked("the schedule 'one-cycle'", end=(end, "[0, 1]"))

    def shape(t):
        rising = start + (1 - start) * (1 - jnp.cos(jnp.pi * t / peak)) / 2
        falling = end + (1 - end) * (1 + jnp.cos(jnp.pi * (t - peak) / (1 - peak))) / 2
        return jnp.where(t < peak, rising, falling)

    return _scheduled("one-cycle", shape, warmup)


def warmup_stable_decay(decay: float = 0.2, end: float = 0.0, *, warmup: float = 0.0) -> Schedule:
    """1 until the last `decay` share of the progress, in (0, 1], then a straight line to `end`.

    Hu et al. 2024, "MiniCPM", https://arxiv.org/abs/2404.06395, section 4; linear decay as in Hägele et
    al. 2024, https://arxiv.org/abs/2405.18392.
    """
    checked("the schedule 'wsd'", decay=(decay, "(0, 1]"))
    checked("the schedule 'wsd'", end=(end, "[0, 1]"))
    return _scheduled("wsd", lambda t: 1 + (end - 1) * jnp.maximum(0.0, (t - (1 - decay)) / decay), warmup)


def from_optax(schedule: optax.Schedule) -> Schedule:
    """Return an Optax schedule as a multiplier: its length is its own, `total_steps` is not read."""
    return lambda step, total_steps: jnp.asarray(schedule(step))


def as_schedule(schedule: "str | Schedule | optax.Schedule") -> Schedule:
    """Return a schedule's name, a `Schedule`, or an Optax schedule as a `Schedule`.

    A function that can be called with the step alone is an Optax schedule. Names stand for a schedule
    without warm-up.

    Raises:
        OptionError: an unknown name, or a function that takes neither one argument nor two.

    >>> [float(as_schedule(schedule)(1, 4)) for schedule in ("linear", lambda step, total: step / total)]
    [0.75, 0.25]
    """
    if not callable(schedule):
        return schedule_by_name(str(schedule), warmup=0.0)
    signature = inspect.signature(schedule)
    ours: Any = schedule
    for arguments, made in (((0,), from_optax(ours)), ((0, 1), ours)):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return made
    raise OptionError(f"schedule: needs a function of (step) or of (step, total_steps); it takes {signature}")


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "exponential": exponential,
    "step": step,
    "polynomial": polynomial,
    "one-cycle": one_cycle,
    "wsd": warmup_stable_decay,
}


def schedule_by_name(name: str, warmup: float = 0.05, **options: Any) -> Schedule:
    """Return the schedule called `name`, with `warmup` the share of the steps spent warming up.

    >>> schedule = schedule_by_name("linear", warmup=0.0)
    >>> [float(schedule(step, 4)) for step in range(5)]
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    if name not in SCHEDULES:
        raise OptionError(
            f"unknown schedule '{name}'.{did_you_mean(name, SCHEDULES)} "
            f"The schedules are: {', '.join(SCHEDULES)}."
        )
    known = inspect.signature(SCHEDULES[name]).parameters
    for option in options:
        if option not in known:
            raise OptionError(
                f"the schedule '{name}' has no option '{option}'.{did_you_mean(option, known)} "
                f"It has: {', '.join(known)}."
            )
    return SCHEDULES[name](warmup=warmup, **options)


def _scheduled(name: str, shape: Shape, warmup: float) -> Schedule:
    """Put a linear warm-up before `shape`, a function of the progress after it."""
    checked(f"the schedule '{name}'", warmup=(warmup, "[0, 1]"))
    dtype = jnp.float32

    def schedule(step, total_steps):
        step = jnp.asarray(step, dtype)
        total_steps = jnp.asarray(total_steps, dtype)
        warmup_steps = jnp.floor(warmup * total_steps)
        progress = (step - warmup_steps) / jnp.maximum(total_steps - warmup_steps, 1)
        rising = (step + 1) / jnp.maximum(warmup_steps, 1)
        return jnp.where(step < warmup_steps, rising, 1.0) * shape(jnp.clip(progress, 0, 1))

    return schedule
