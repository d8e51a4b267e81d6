"""The descent: epochs of compiled stretches, with the host awake only between them.

for each epoch:
for each stretch of the epoch:  step, step, step, …      (compiled, on the device)
measure on the validation rows; keep the weights if they are the best so far; steer the weight decay
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from downslope.stepsize.plateau import PlateauState
from downslope.training.checkpoint import Checkpoints
from downslope.training.choosing import choose, offer_runner_up, trials
from downslope.training.evaluate import all_alike, evaluate
from downslope.training.events import Listener
from downslope.training.guard import LONGEST
from downslope.training.interrupt import interrupts
from downslope.training.length import is_annealed, prefer_the_end, watch_clock, watch_losses, why_annealed
from downslope.training.plan import Descent, Plan, Problem
from downslope.training.progress import finite_or_none
from downslope.training.recovery import not_a_number, recover, snapshot_if_due
from downslope.training.rows import epoch_row, layer_rows
from downslope.training.session import Session
from downslope.training.state import TrainState
from downslope.training.steering import steer
from downslope.training.trials import Chooser, Trials

SECONDS_PER_STRETCH = 0.25  # how long the host sleeps: the display's and Ctrl-C's worst delay
FIRST_STEPS = 8  # of the first stretch, which is not timed yet


def descend(
    problem: Problem,
    plan: Plan,
    state: TrainState,
    *,
    listeners: Sequence[Listener] = (),
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    chooser: Chooser | None = None,
) -> Descent:
    """Train until the plan, the validation loss, the clock or the user says stop.

    Args:
        problem: what is descended.
        plan: how long and how fast.
        state: where to start (`training.state.initial_state`).
        listeners: told what happens.
        checkpoints: where to save; None: nowhere.
        resume: go on from the newest checkpoint instead of `state`. A descent that has none yet is begun
            again, and will go the same way.
        chooser: chooses the learning rate first, instead of the plan's; needs a plan with a pacing.

    Returns:
        The kept weights and the history. A descent that went wrong for good is a result too
        (``progress.failed``), with the best weights that were measured and finite.
    """
    session = Session(problem, plan, state, listeners, checkpoints)
    snapshot_if_due(session)
    if resume and session.has_checkpoint:
        session.restore()
        offer_runner_up(session)
    else:
        tell_weights(session, session.kept)
    with interrupts() as interrupted:
        if chooser is not None and not session.progress.tuned and not choose(session, chooser, interrupted):
            check_limits(session, interrupted=True)
        while not session.progress.stopped_because:
            run_stretch(session)
            if session.epoch_is_complete and not session.progress.stopped_because:
                close_epoch(session)
            check_limits(session, interrupted())
            session.save_if_due()
    session.finish()
    params, model_state = session.kept
    return Descent(params, model_state, session.progress, session.compile_seconds, session.base_rate)


def laboratory(
    problem: Problem,
    plan: Plan,
    state: TrainState,
    listeners: Sequence[Listener] = (),
    interrupted: Callable[[], bool] = lambda: False,
) -> Trials:
    """Return what a descent would let a chooser do, without the descent; arguments as in `descend`."""
    return trials(Session(problem, plan, state, listeners, None), interrupted)


def run_stretch(session: Session) -> None:
    """Do as many steps as fit into a blink, at most to the end of the epoch, and look at their losses."""
    if session.epoch_is_complete:  # a checkpoint taken between the last step and the measuring
        return
    progress, first, began = session.progress, session.progress.position, time.monotonic()
    steps = session.steps_until(_end_of_stretch(session))
    session.state, session.trace, done, worthwhile = session.programs.stretch(
        session.state, session.trace, session.data, steps, session.pace()
    )
    progress.position = int(done)
    session.seconds_per_step = max((time.monotonic() - began) / (progress.position - first), 1e-7)
    losses = np.asarray(np.asarray(session.trace.losses)[first : progress.position], np.float64)
    trouble = session.guarding.see(losses if worthwhile else losses[:-1])
    if trouble is None and not worthwhile:
        trouble = not_a_number(session, losses[-1], len(losses))
    if trouble is not None:
        progress.position = first + trouble.steps
        recover(session, trouble)
    elif not session.epoch_is_complete:
        values = {"loss": float(losses[-1]), "seconds_per_step": session.seconds_per_step}
        session.tell("progress", values=values)
        if progress.position % LONGEST == 0:
            snapshot_if_due(session)
        if progress.position == _next_telling(session, first):
            tell_weights(session, session.weights())


def _end_of_stretch(session: Session) -> int:
    """Return the step of the epoch to do the next stretch until."""
    first = session.progress.position
    per_step = session.seconds_per_step
    wanted = FIRST_STEPS if per_step is None else max(1, int(SECONDS_PER_STRETCH / per_step))
    to_snapshot = LONGEST - first % LONGEST
    stop = min(first + min(wanted, to_snapshot), _next_telling(session, first))
    if session.plan.pacing is None or session.plan.pacing.named:
        return stop
    to_the_end = int(session.phases.end) - session.progress.epoch * session.steps_per_epoch
    return min(stop, max(first + 1, to_the_end))


def close_epoch(session: Session) -> None:
    """Measure, write the epoch's row, keep the weights if they are the best so far, open the next."""
    weights, progress = session.weights(), session.progress
    row = _row(session)
    if row["train_loss"] is None:
        what = "float16 overflowed in every step of the epoch; all were skipped, to lower the loss scale"
        session.tell("skipped", what)
    loss, what, alike = _measured(session, weights, row)
    trouble = None if math.isfinite(loss) else not_a_number(session, loss, 0, what)
    if trouble is None and session.epoch_is_complete:
        trouble = session.guarding.hear(alike, progress.position)
    if trouble is not None:
        recover(session, trouble)
        return
    _watch_plateau(session, row)
    if session.problem.sharpness is not None:
        row["sharpness"] = finite_or_none(session.problem.sharpness(*weights))
    if loss < progress.best_loss:
        session.kept, progress.best_loss, progress.best_epoch = weights, loss, row["epoch"]
        if session.is_open and session.steps_done < session.phases.decay_from:
            session.turning = session.programs.copies(session.state)
    steer(session, weights, row)
    progress.history.append(row)
    when = {"epoch": row["epoch"], "step": row["step"]}
    progress.layers += layer_rows(session.trace, session.layers, **when)
    progress.epoch, progress.position = progress.epoch + 1, 0
    session.tell("epoch", values=row)
    tell_weights(session, weights)
    watch_losses(session)
    session.trace, session.order = session.fresh_trace(), session.order_of(progress.epoch)
    snapshot_if_due(session)


def _row(session: Session) -> dict[str, Any]:
    """Return the row of the epoch that is over."""
    progress, pace, last = session.progress, session.pace(), np.int32(session.steps_done - 1)
    multiplier = session.programs.schedule(last, pace.total_steps) * pace.warmth(last)
    searched = session.state.line_search  # where every step was measured, the last one
    return epoch_row(
        session.trace,
        epoch=progress.epoch + 1,
        step=session.steps_done,
        batch_weights=session.batch_weights()[: progress.position],
        n_rows=min(progress.position * session.plan.batch_size, session.n_rows),
        learning_rate=float(session.learning_rate * multiplier if searched is None else searched.step_size),
        weight_decay=session.weight_decay,
        seconds=session.seconds,
        began=progress.history[-1]["seconds"] if progress.history else 0.0,
    )


def _measured(session: Session, weights: tuple[Any, Any], row: dict[str, Any]) -> tuple[float, str, bool]:
    """Write the validation's loss into the row; return what weights are kept by.

    Returns:
        The loss, what it is in words, and whether all validation rows get the same answer.
    """
    problem = session.problem
    if problem.validation is None:  # nothing to choose by: the last finite weights are kept
        finite = session.programs.all_finite(weights)
        return (-float(row["epoch"]) if finite else math.nan), "a weight", False
    n_rows = len(problem.validation.weights)
    measured = evaluate(problem.evaluation, *weights, session.validation, n_rows)
    row["validation_loss"] = finite_or_none(measured.loss)
    row["validation_metric"] = finite_or_none(problem.score(measured.predictions))
    return measured.loss, "the validation loss", all_alike(measured.predictions)


def _watch_plateau(session: Session, row: dict[str, Any]) -> None:
    """Lower the rate where the plan asks for it when the loss stands still."""
    plateau, carried = session.plan.plateau, session.progress.plateau
    watched = row["train_loss"] if row["validation_loss"] is None else row["validation_loss"]
    if plateau is None or watched is None:
        return
    before = PlateauState(**carried) if carried else plateau.init()
    after = plateau.update(before, watched)
    session.progress.plateau = after._asdict()
    if after.multiplier < before.multiplier:
        rate = f"{session.learning_rate:.3g}"
        session.tell("plateau", f"the loss stands still: learning rate lowered to {rate}")


def tell_weights(session: Session, weights: tuple[Any, Any]) -> None:
    """Tell the listeners where the descent is, if the plan asks for it."""
    progress, steps = session.progress, session.steps_per_epoch
    per_epoch = min(session.plan.snapshots_per_epoch, steps)
    if per_epoch:
        index = progress.epoch * per_epoch + progress.position * per_epoch // steps
        params, model_state = weights
        session.tell("weights", values={"index": index, "params": params, "model_state": model_state})


def _next_telling(session: Session, position: int) -> int:
    """Return the step of the epoch, after `position`, at which the weights are told next, or the last."""
    steps = session.steps_per_epoch
    per_epoch = max(1, min(session.plan.snapshots_per_epoch, steps))
    return -(-(position * per_epoch // steps + 1) * steps // per_epoch)


def check_limits(session: Session, interrupted: bool) -> None:
    """Say why to stop, where there is a reason."""
    progress, plan = session.progress, session.plan
    if progress.stopped_because:
        return
    watch_clock(session)
    waited = progress.epoch - progress.best_epoch
    out_of_time = plan.max_seconds is not None and session.elapsed >= plan.max_seconds
    if is_annealed(session):
        if _close_begun_epoch(session) and (out_of_time or _ended_well(session)):
            prefer_the_end(session)
            progress.stopped_because = why_annealed(session)
    elif progress.epoch >= plan.epochs:
        if _ended_well(session):
            prefer_the_end(session)
            progress.stopped_because = "all epochs done"
    elif plan.patience is not None and session.problem.validation is not None and waited >= plan.patience:
        if _ended_well(session):
            progress.stopped_because = f"no better validation loss in {waited} epochs"
            session.tell("early-stop", f"{progress.stopped_because}; kept epoch {progress.best_epoch}")
    elif out_of_time:
        if _close_begun_epoch(session):
            progress.stopped_because = f"time limit of {plan.max_seconds:g} s"
            session.tell("time-limit", progress.stopped_because)
    elif interrupted:
        progress.stopped_because = "interrupted"
        where = f"step {session.steps_done:,} (epoch {progress.epoch + 1})"
        session.tell("interrupted", f"interrupted at {where}")


def _ended_well(session: Session) -> bool:
    """Return whether the epoch that would be kept is worth it; where not, recover."""
    row = session.progress.history[session.progress.best_epoch - 1]
    trouble = session.guarding.conclude(row["train_loss"])
    if trouble is not None:
        recover(session, trouble)
    return trouble is None


def _close_begun_epoch(session: Session) -> bool:
    """Close an epoch of which only some steps are done; return whether that went well, with no way back."""
    epoch = session.progress.epoch
    if session.progress.position == 0:
        return True
    close_epoch(session)
    return session.progress.epoch > epoch
