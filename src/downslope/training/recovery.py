"""The way back after trouble: the guard decides (`training.guard`), and here it is done.

A descent that went wrong goes on from copies of earlier weights, its rule's memory cleared, with smaller
steps; where that has been tried often enough, it stops and says why, and what to try.
"""

from dataclasses import replace

import numpy as np

from downslope.training.guard import Snapshot, Trouble
from downslope.training.session import Session


def snapshot_if_due(session: Session) -> None:
    """Copy what a roll-back would need, where it is time to."""
    if session.guarding.wants_snapshot(session.steps_done):
        state = session.state
        arrays = session.programs.copies((state.params, state.model_state, session.trace, session.kept))
        session.guarding.keep(Snapshot(session.steps_done, session.progress.facts(), arrays))


def not_a_number(session: Session, loss: float, steps: int, what: str = "the loss") -> Trouble:
    """Return the trouble with a loss that is not finite, after so many of the steps just done."""
    watch = session.guarding.watch
    before = watch.pending[-1:] or watch.levels[-1:] or [None]
    kind = "non-finite" if session.state.loss_scale is None or steps == 0 else "overflow"
    return Trouble(kind, f"{what} became {loss}", steps, before[0])


def recover(session: Session, trouble: Trouble) -> None:
    """Roll back and go on with smaller steps, or stop where that has been tried."""
    steps_done, progress = session.steps_done, session.progress
    where = f"at step {steps_done:,} (epoch {progress.epoch + 1})"
    action = session.guarding.decide(trouble, steps_done, session.learning_rate)
    if action is None:
        _give_up(session, trouble, where)
        return
    snapshot = action.snapshot
    values = {
        "trouble": trouble.kind,
        "loss_before": trouble.before,
        "loss": trouble.after,
        "back_to": snapshot.step,
        "learning_rate": session.learning_rate,
    }
    # as of the trouble: told before the clock is put back
    session.tell(action.kind, f"{trouble.words} {where}: {action.words}", values)
    progress.go_back({name: fact for name, fact in snapshot.facts.items() if name != "watch"})
    progress.undone += steps_done - snapshot.step
    params, model_state, trace, kept = session.programs.copies(snapshot.arrays)
    step, multiplier = np.int32(snapshot.step), session.guarding.multiplier
    fresh = session.programs.restarted(step, params, multiplier, *session.fresh)
    place = session.plan.devices.place_state
    session.state, session.trace = place(replace(fresh, model_state=model_state)), place(trace)
    session.kept, session.order = kept, session.order_of(progress.epoch)
    if session.turning is not None and int(session.turning.step) > snapshot.step:  # it is undone too
        best, model_state = session.programs.copies(kept)
        again = session.programs.restarted(step, best, multiplier, *session.fresh)
        session.turning = place(replace(again, model_state=model_state))


def _give_up(session: Session, trouble: Trouble, where: str) -> None:
    """Stop, and say why and what to try."""
    progress = session.progress
    why, remedy = _explanation(session, trouble)
    if progress.undone:
        why += ", and smaller steps from an earlier point did not help"
    progress.failed = True
    progress.stopped_because = f"{trouble.words} {where}; {why}. {remedy}"
    kept = f"epoch {progress.best_epoch}" if progress.best_epoch else "the start"
    values = {"loss_before": trouble.before, "loss": trouble.after}
    session.tell(trouble.kind, f"{progress.stopped_because}. Kept the weights of {kept}", values)


def _explanation(session: Session, trouble: Trouble) -> tuple[str, str]:
    """Return (why, what to try) of a trouble that is the end."""
    start, before, never = session.progress.start_loss, trouble.before, session.guarding.watch.finite == 0
    if trouble.kind == "overflow":
        remedy = "Try --precision bfloat16 or float32" + ("" if never else ", or a smaller learning rate")
        return "float16 overflows even with the smallest loss scale", remedy
    smaller = (
        f"Try a learning rate of {min(session.learning_rate / 10, session.problem.rule.learning_rate):g}"
    )
    if trouble.kind == "diverged":
        return "the steps are too large", smaller
    if never:
        why = "before the first step, so no learning rate is to blame"
        return why, "Look for extreme values in the data"
    if before is not None and start is not None and before > 2 * abs(start):
        return f"the loss had risen from {start:.3g} to {before:.3g}: the steps are too large", smaller
    was = "" if before is None else f"the loss was {before:.3g} just before: "
    return f"{was}one step was too large, or it has no value there", smaller
