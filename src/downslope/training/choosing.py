"""The choice of the rate within a descent: what a chooser may try, and how its choice is taken over."""

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from downslope.data.seeds import generator
from downslope.data.split import ranks
from downslope.gradient.backprop import Batch
from downslope.stepsize.phases import Phases
from downslope.training.evaluate import cut, evaluation_size, even_part
from downslope.training.recovery import snapshot_if_due
from downslope.training.session import Session
from downslope.training.step import Pace
from downslope.training.stretch import Stretch
from downslope.training.trials import Chooser, Trials, make_trials

HELD_OUT = 1000  # rows that are wanted to tell one learning rate from another
MOST_HELD_OUT = 20_000  # more would take longer to measure than they tell
LENT = 0.4  # of the training rows that trials do without at most, to be measured on them


def choose(session: Session, chooser: Chooser, interrupted: Callable[[], bool]) -> bool:
    """Have the learning rate chosen, and take over the trial that has gone ahead with it.

    Returns:
        Whether it was; False where the user has interrupted.
    """
    began = time.monotonic()
    laboratory = trials(session, interrupted)
    chosen = chooser(laboratory)
    if chosen is None:
        session.started = time.monotonic()  # what it took is no time of training
        return False
    trial, progress = chosen.trial, session.progress
    # Beyond its first epoch the same path is walked again, for the history to have every epoch; and so it is
    # where the trials did without some of the rows.
    goes_on = trial is not None and not trial.failed and trial.step <= session.steps_per_epoch
    if trial is not None and goes_on and not laboratory.lent:
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
    lent, learnt = lent_rows(session)
    rows = held_out_rows(session, lent)
    wrong = exchanged(even_part(rows, HELD_OUT))
    size = evaluation_size(problem.validation or problem.train)
    batches, wrong_batches = cut(rows, size), cut(wrong, size)
    order_of = functools.lru_cache(maxsize=4)(functools.partial(session.order_of, among=learnt))

    def run(state: Any, trace: Any, epoch: int, first: int, stop: int, rate: float, phases: Phases):
        order = order_of(epoch)
        sizes = np.int32(plan.batch_size), np.int32(session.n_rows)
        steps = Stretch(order, *sizes, np.int32(first), np.int32(stop), session.key)
        pace = Pace(np.float32(rate), phases.as_arrays(), weight_decay=session.decay_as_array)
        state, trace, done, worthwhile = session.programs.stretch(state, trace, session.data, steps, pace)
        return state, trace, int(done), bool(worthwhile)

    def measure(state: Any) -> np.ndarray:
        at = session.programs.weights(state, session.data, session.steps_until(0))
        losses = session.losses(at, batches)[: len(rows.weights)]
        where_wrong = session.losses(at, wrong_batches)[: len(wrong.weights)]
        return np.append(losses, np.average(where_wrong, weights=wrong.weights))

    return make_trials(
        run,
        measure,
        session.programs.copies,
        session.fresh_trace,
        session.state,
        session.steps_per_epoch,
        weights=np.append(rows.weights, rows.weights[rows.weights > 0].mean()),
        held_out=_in_words(session, len(rows.weights), len(lent)),
        lent=len(lent),
        say=lambda message: session.tell("tuning", message),
        interrupted=interrupted,
    )


def lent_rows(session: Session) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the training rows on which trials are measured beside the validation rows, and the others.

    Where rows are few, a tenth of them cannot tell one rate from another; so the trials, but not the
    descent, do without up to `LENT` of the training rows that have any weight. The others are None where
    none are lent.
    """
    validation, weights = session.problem.validation, np.asarray(session.problem.train.weights)
    weighty, weightless = np.flatnonzero(weights), np.flatnonzero(weights == 0)
    wanted = HELD_OUT - (0 if validation is None else len(validation.weights))
    n_lent = max(0, min(wanted, int(LENT * len(weighty))))
    if n_lent == 0 or session.steps_per_epoch == 1:  # one step sees all rows, and may do without an order
        return np.arange(0), None
    mixed = generator(session.plan.seed, "rows lent to trials").permutation(weighty)
    targets = session.problem.train.targets
    if isinstance(targets, np.ndarray) and np.issubdtype(targets.dtype, np.integer) and targets.ndim == 1:
        mixed = of_every_class(mixed, n_lent, targets)
    return mixed[:n_lent], np.concatenate([mixed[n_lent:], weightless]).astype(np.int32)


def of_every_class(rows: np.ndarray, n: int, classes: np.ndarray) -> np.ndarray:
    """Return the rows in an order whose first `n` hold each class by its share, where chance left one out.

    >>> of_every_class(np.arange(6), 2, np.array([0, 0, 0, 0, 1, 1]))
    array([0, 4, 1, 2, 5, 3])
    """
    codes, counts, rank = ranks(classes[rows])
    if len(np.unique(codes[:n])) == len(counts):
        return rows
    return rows[np.argsort((rank + 0.5) / counts[codes], kind="stable")]


def held_out_rows(session: Session, lent: np.ndarray) -> Batch:
    """Return the rows on which trials are measured: where there are none, some that they learn from."""
    train, validation = session.problem.train, session.problem.validation
    if len(lent) == 0:
        return even_part(validation or train, MOST_HELD_OUT)
    lent_too = jax.tree.map(lambda array: array[lent], train)
    if validation is None:
        return lent_too
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), validation, lent_too)


def exchanged(rows: Batch) -> Batch:
    """Return rows with one another's targets; only those count whose target is another by that, if any is."""
    order = generator(0, "one another's targets").permutation(len(rows.weights))
    targets = jax.tree.map(lambda array: np.asarray(array)[order], rows.targets)
    differ = [
        (np.asarray(own) != other).reshape(len(order), -1).any(axis=1)
        for own, other in zip(jax.tree.leaves(rows.targets), jax.tree.leaves(targets), strict=True)
    ]
    weights = np.where(np.any(differ, axis=0), rows.weights, 0.0)
    return rows._replace(targets=targets, weights=weights if weights.any() else rows.weights)


def _in_words(session: Session, n_rows: int, n_lent: int) -> str:
    if session.problem.validation is None:
        return f"{n_lent:,} rows lent by the training" if n_lent else f"{n_rows:,} training rows"
    measured, n_validation = n_rows - n_lent, len(session.problem.validation.weights)
    kept = f"{measured:,} {f'of {n_validation:,} ' if measured < n_validation else ''}validation rows"
    return f"{kept} and {n_lent:,} lent by the training" if n_lent else kept
