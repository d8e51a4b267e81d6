"""How long a descent goes on, where that is left to us: when the decay begins, and which weights to keep."""

import math
from dataclasses import replace

import numpy as np

from downslope.metrics import paired_gap
from downslope.training.pacing import only_bounces
from downslope.training.session import Session

TIME_KEPT = 0.9  # share of the time left that a decay by the clock counts on: steps are not all alike
RISEN = 0.1  # share of a training loss by which it varies from epoch to epoch


def watch_losses(session: Session) -> None:
    """Begin the decay where the validation loss has stopped falling at the full rate."""
    pacing, progress = session.plan.pacing, session.progress
    if pacing is None or session.steps_done >= session.phases.decay_from:
        return
    held_out = session.problem.validation
    if held_out is None:
        return
    validation, training = (
        [row[name] for row in progress.history] for name in ("validation_loss", "train_loss")
    )
    if pacing.stands_still(validation, training, len(held_out.weights)):
        best = progress.best_epoch
        end = session.steps_done + pacing.decay_after(best, session.steps_per_epoch)
        _anneal(session, min(end, pacing.epochs * session.steps_per_epoch))
        back = best < progress.epoch and not only_bounces(validation[best:])
        if back:
            _turn_back(session)
        until = math.ceil(session.phases.end / session.steps_per_epoch)
        where = f"back to epoch {best}, from where" if back else "now"
        message = f"the validation loss stands still: {where} the rate falls to 0 until epoch {until}"
        session.tell("annealing", message, {"epochs": until, "from_epoch": best if back else progress.epoch})


def _turn_back(session: Session) -> None:
    """Go on from the lowest validation loss: the steps since have only learned rows by heart."""
    progress, copies = session.progress, session.programs.copies
    session.state = replace(copies(session.turning), step=copies(session.state.step))
    progress.weight_decay = progress.history[progress.best_epoch - 1]["weight_decay"]


def watch_clock(session: Session) -> None:
    """Begin the decay in time to end within the time limit, and hurry it where the steps become slower."""
    pacing, limit, done = session.plan.pacing, session.plan.max_seconds, session.steps_done
    own = done - session.progress.tuned.get("continued_steps", 0)  # that were done on this clock
    if pacing is None or limit is None or own <= 0 or not pacing.must_anneal(session.elapsed, limit):
        return
    if done < session.phases.decay_from:
        per_step = max(session.seconds / own, session.seconds_per_step or 0.0)
        _anneal(session, min(session.phases.end, _in_time(session, per_step)))
        session.tell("annealing", f"the time limit is near: the rate now falls to 0, within {limit:g} s")
        session.watched_from = session.elapsed, done
    elif session.watched_from is None:  # of a decay that began for another reason, or in an earlier sitting
        session.watched_from = session.elapsed, done
    elif done > session.watched_from[1]:
        began, first = session.watched_from
        end = _in_time(session, (session.elapsed - began) / (done - first))
        if end < session.phases.end:
            session.progress.phases = {"decay_from": session.phases.decay_from, "end": end}


def _in_time(session: Session, per_step: float) -> float:
    """Return the step by which a decay ends within the time limit."""
    assert session.plan.max_seconds is not None
    left = TIME_KEPT * (session.plan.max_seconds - session.elapsed) / max(per_step, 1e-9)
    return float(session.steps_done + max(1, int(left)))


def _anneal(session: Session, end: float) -> None:
    session.progress.phases = {"decay_from": float(session.steps_done), "end": float(end)}


def is_annealed(session: Session) -> bool:
    """Whether a decay that was begun on the way has come to its end."""
    return bool(session.progress.phases) and session.steps_done >= session.progress.phases["end"]


def why_annealed(session: Session) -> str:
    """Return why a descent that is annealed is over."""
    pacing, limit = session.plan.pacing, session.plan.max_seconds
    if pacing is not None and limit is not None and pacing.must_anneal(session.elapsed, limit):
        return f"annealed within the time limit of {limit:g} s"
    return "annealed after the validation loss stood still"


def prefer_the_end(session: Session) -> None:
    """Keep the annealed weights where no earlier ones were better by more than chance.

    Of many epochs the lowest validation loss is lucky as well as good, and weights half-way through a
    decay have not come to rest. Those whose training loss has risen since have not either.
    """
    pacing, progress = session.plan.pacing, session.progress
    if pacing is None or pacing.named or session.problem.validation is None or not progress.history:
        return
    rows = progress.history[progress.best_epoch - 1], progress.history[-1]
    best, last = (row["train_loss"] for row in rows)
    if last is None or (best is not None and last > best + RISEN * abs(best)):
        return
    end = session.weights()
    losses, of_kept = (session.losses(weights, session.validation) for weights in (end, session.kept))
    counts = np.concatenate([np.asarray(batch.weights, np.float64) for batch in session.validation])
    gap, error = paired_gap(losses, of_kept, counts)
    if math.isfinite(gap) and gap <= error and progress.best_epoch < progress.epoch:
        session.kept, progress.best_epoch = end, progress.epoch
        progress.best_loss = progress.history[-1]["validation_loss"]
