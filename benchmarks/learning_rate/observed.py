"""One run of `downslope.train`, its test loss watched: after every epoch, and at the end.

The clock runs from the call to the moment a loss is seen, with everything that happens between: reading,
compiling, the range test, the race, roll-backs. What the watching itself takes is taken off.
"""

import functools
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import jax
import numpy as np

import downslope as ds
from benchmarks.learning_rate.contenders import Contender
from benchmarks.learning_rate.oracle import job_of, scale_of
from benchmarks.learning_rate.workloads import Workload
from downslope.training import choosing
from downslope.training.evaluate import make_evaluation
from downslope.training.events import Event
from downslope.tuning import race
from downslope.workflow import train as training, tune


@dataclass
class Observed:
    """What a run was seen to do.

    Attributes:
        seed: of the run.
        losses: test loss after each epoch, and last that of the weights it kept.
        seconds, steps: since the call, when each was seen; steps of the race and steps undone included.
        learning_rate: that it ran with, or began with.
        epochs: until it stopped.
        chosen: what the race said, in one sentence; "" without one.
        roll_backs: by the guard.
        diverged: whether it ended with a loss that is not a number.
    """

    seed: int
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    learning_rate: float = 0.0
    epochs: int = 0
    chosen: str = ""
    roll_backs: int = 0
    diverged: bool = False


def observed(workload: Workload, contender: Contender, seed: int) -> Observed:
    """Run a contender on a workload once."""
    assert workload.rows is not None
    (x, y), seen = workload.rows[0], Observed(seed)
    job = job_of(workload, seed=seed)
    scale, evaluation, test = scale_of(job), _evaluation(workload), job.prepared.rows["test"]
    began, unseen, extra_steps = time.monotonic(), 0.0, 0

    def listen(event: Event) -> None:
        nonlocal unseen, extra_steps
        if event.kind == "learning-rate":
            extra_steps += event.values["steps"] - event.values["continued_steps"]
            seen.chosen = event.message
        elif event.kind in ("rolled-back", "other-rate"):
            extra_steps += event.step - event.values["back_to"]
            seen.roll_backs += 1
        elif event.kind == "weights" and event.step > 0:
            weights = jax.block_until_ready((event.values["params"], event.values["model_state"]))
            at = time.monotonic()
            seen.losses.append(float(np.mean(np.asarray(evaluation(*weights, test)[1], np.float64))) * scale)
            seen.seconds.append(at - began - unseen)
            seen.steps.append(event.step + extra_steps)
            unseen += time.monotonic() - at

    run: Any
    with _changed(contender):
        try:
            options = contender.options_for(workload, seed)
            run = ds.train(
                workload.network, x, y, **options, seed=seed, out=False, quiet=True, listeners=[listen]
            )
        except ds.NonFiniteError as error:
            run, seen.diverged = error.result, True
    seen.seconds.append(time.monotonic() - began - unseen)
    seen.steps.append(run.summary["steps"] + extra_steps)
    kept = run.summary["metrics"]["test"]["loss"]
    seen.losses.append(float("inf") if kept is None else kept * scale)
    seen.losses = [loss if np.isfinite(loss) else float("inf") for loss in seen.losses]
    seen.learning_rate, seen.epochs = float(run.summary["learning_rate"]), run.summary["epochs"]
    return seen


@functools.lru_cache(maxsize=1)
def _evaluation(workload: Workload) -> Any:
    job = job_of(workload)
    return jax.jit(make_evaluation(job.model, job.prepared.loss))


def _changed(contender: Contender) -> ExitStack:
    """Return what changes the race as a contender has it, and has the weights told after every epoch."""

    def told_often(job: Any, state: Any) -> Any:
        plan, chooser = tune.choosing(job, state)
        return replace(plan, snapshots_per_epoch=1), chooser

    def changed_race(*given: Any, **named: Any) -> race.Race:
        return race.Race(*given, **{**named, **contender.race})

    stack = ExitStack()
    stack.enter_context(patch.object(training, "choosing", told_often))
    stack.enter_context(patch.object(tune, "Race", changed_race))
    for name, value in contender.constants.items():
        stack.enter_context(patch.object(race if hasattr(race, name) else choosing, name, value))
    return stack
