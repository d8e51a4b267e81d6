"""The choice of the rate within a descent: what a chooser may try, and how its choice is taken over."""

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from downslope import pytrees
from downslope.stepsize.phases import Phases
from downslope.training.evaluate import cut, evaluation_size
from downslope.training.recovery import snapshot_if_due
from downslope.training.session import Session
from downslope.training.step import Pace
from downslope.training.stretch import Stretch
from downslope.training.trials import Chooser, Trials, make_trials


def choose(session: Session, chooser: Chooser, interrupted: Callable[[], bool]) -> bool:
    """Have the learning rate chosen, and take over the trial that has gone ahead with it.

    Returns:
        Whether it was; False where the user has interrupted.
    """
    began = time.monotonic()
    chosen = chooser(trials(session, interrupted))
    if chosen is None:
        return False
    trial, progress = chosen.trial, session.progress
    # Beyond its first epoch the same path is walked again, for the history to have every epoch.
    goes_on = trial is not None and not trial.failed and trial.step <= session.steps_per_epoch
    if trial is not None and goes_on:
        session.state, session.trace, progress.position = trial.state, trial.trace, trial.step
    progress.tuned = {
        **chosen.record,
        "learning_rate": chosen.learning_rate,
        "steps": chosen.steps,
        "continued_steps": progress.position,
        "seconds": time.monotonic() - began,
    }
    session.started = time.monotonic()
    offer_runner_up(session)
    session.guarding.forget_snapshots()
    snapshot_if_due(session)
    session.tell("learning-rate", chosen.sentence, progress.tuned)
    return True


def offer_runner_up(session: Session) -> None:
    """Have the guard try the race's runner-up after its own roll-backs, where its steps are smaller."""
    runner_up = session.progress.tuned.get("runner_up")
    if runner_up is not None and runner_up < session.base_rate:
        session.guarding.guard = replace(session.plan.guard, alternatives=(runner_up,))


def trials(session: Session, interrupted: Callable[[], bool] = lambda: False) -> Trials:
    """Return what a chooser may do; the descent stays where it is."""
    problem, plan = session.problem, session.plan
    rows = problem.validation
    what = "training" if rows is None else "validation"
    rows = problem.train if rows is None else rows
    size = evaluation_size(rows)
    batches = cut(rows, size)[:1] if problem.validation is None else session.validation
    n_rows = min(len(rows.weights), size * len(batches))
    order_of = functools.lru_cache(maxsize=4)(session.order_of)

    def run(state: Any, trace: Any, epoch: int, first: int, stop: int, rate: float, phases: Phases):
        order = order_of(epoch)
        sizes = np.int32(plan.batch_size), np.int32(session.n_rows)
        steps = Stretch(order, *sizes, np.int32(first), np.int32(stop), session.key)
        pace = Pace(np.float32(rate), phases.as_arrays())
        state, trace, done, worthwhile = session.programs.stretch(state, trace, session.data, steps, pace)
        return state, trace, int(done), bool(worthwhile)

    def measure(state: Any) -> np.ndarray:
        weights = session.programs.weights(state, session.data, session.steps_until(0))
        return session.losses(weights, batches)[:n_rows]

    def silent() -> np.ndarray:
        params, model_state = session.weights()
        zeros = jax.tree.map(
            lambda leaf: jax.device_put(np.zeros(leaf.shape, leaf.dtype), leaf.sharding), params
        )
        return session.losses((zeros, model_state), batches)[:n_rows]

    return make_trials(
        run,
        measure,
        session.programs.copies,
        session.fresh_trace,
        session.state,
        session.steps_per_epoch,
        weights=np.asarray(rows.weights, np.float64)[:n_rows],
        held_out=f"{n_rows:,} {what} rows",
        n_params=pytrees.count(session.state.params),
        batch_size=plan.batch_size,
        say=lambda message: session.tell("tuning", message),
        interrupted=interrupted,
        silent=silent,
    )
