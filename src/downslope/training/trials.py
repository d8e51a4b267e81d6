"""Descents on trial: what a chooser of the learning rate may do before the descent itself begins.

Trials run in the very program that the descent will run in, over the same batches in the same order, from
copies of the same start. So nothing is compiled for them, and a trial at the rate that is chosen has done
the first steps of the descent itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from downslope.stepsize.phases import Phases


@dataclass(frozen=True)
class Trial:
    """A descent on trial.

    Attributes:
        state: where it stands; None once it has failed.
        step: steps behind it.
        trace: losses of the epoch under way.
        losses: of every step so far.
    """

    state: Any
    step: int
    trace: Any
    losses: tuple[float, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether its loss stopped being a number."""
        return self.state is None


@dataclass(frozen=True)
class Trials:
    """The laboratory: everything is a function of its arguments.

    Attributes:
        begin: ``begin() -> trial`` at the start of the descent.
        copy: ``copy(trial) -> trial``; the original stays whole.
        advance: ``advance(trial, until, learning_rate, phases) -> trial``; what it is given is used up.
        measure: ``measure(trial) -> losses`` of the held-out rows, and last the mean loss on a row for which
            it is wrong, (rows + 1,) float64.
        weights: of those rows, (rows + 1,) float64.
        held_out: what these rows are, in words: ``"144 validation rows"``.
        lent: how many of these rows are training rows, which the trials do without.
        say: tells whoever watches what is being done.
        interrupted: whether the user wants it to end.
    """

    begin: Callable[[], Trial]
    copy: Callable[[Trial], Trial]
    advance: Callable[[Trial, int, float, Phases], Trial]
    measure: Callable[[Trial], np.ndarray]
    weights: np.ndarray
    held_out: str
    say: Callable[[str], None] = lambda message: None
    interrupted: Callable[[], bool] = lambda: False
    lent: int = 0


@dataclass(frozen=True)
class Chosen:
    """What a chooser hands back.

    Attributes:
        learning_rate: > 0.
        steps: of all trials together.
        trial: the descent at that rate so far, to be gone on with; None to begin afresh.
        sentence: what was chosen and why.
        record: the same in numbers, as JSON knows them.
    """

    learning_rate: float
    steps: int
    trial: Trial | None
    sentence: str
    record: dict[str, Any]


# Chooses a learning rate; None where it was interrupted.
Chooser = Callable[[Trials], Chosen | None]


def failed(trial: Trial) -> Trial:
    """Return the trial as one that has failed, its arrays let go."""
    return replace(trial, state=None, trace=None)


def make_trials(
    run: Callable[[Any, Any, int, int, int, float, Phases], tuple[Any, Any, int, bool]],
    measure: Callable[[Any], np.ndarray],
    copied: Callable[[Any], Any],
    fresh_trace: Callable[[], Any],
    start: Any,
    steps_per_epoch: int,
    **known: Any,
) -> Trials:
    """Return the laboratory of a descent.

    Args:
        run: ``run(state, trace, epoch, first, stop, learning_rate, phases)`` does the steps
            ``first ≤ i < stop`` of an epoch and returns state, trace, where it stopped and whether there is
            any point in going on.
        measure: ``measure(state) -> losses`` of the held-out rows, and of one for which it is wrong.
        copied: copies a pytree of arrays on the device.
        fresh_trace: makes the trace of an epoch in which nothing has been seen yet.
        start: the state before the first step; never used up.
        steps_per_epoch: steps of each epoch.
        known: the other attributes of `Trials`.
    """

    def begin() -> Trial:
        return Trial(copied(start), 0, fresh_trace())

    def copy(trial: Trial) -> Trial:
        return replace(trial, state=copied(trial.state), trace=copied(trial.trace))

    def advance(trial: Trial, until: int, learning_rate: float, phases: Phases) -> Trial:
        while trial.step < until and not trial.failed:
            epoch, first = divmod(trial.step, steps_per_epoch)
            stop = min(first + until - trial.step, steps_per_epoch)
            state, trace, done, worthwhile = run(
                trial.state, trial.trace, epoch, first, stop, learning_rate, phases
            )
            losses = np.asarray(trace.losses)[first:done].tolist()
            over = done == steps_per_epoch and trial.step + done - first < until
            trial = Trial(
                state, trial.step + done - first, fresh_trace() if over else trace, (*trial.losses, *losses)
            )
            if not worthwhile:
                trial = failed(trial)
        return trial

    return Trials(
        begin,
        copy,
        advance,
        lambda trial: measure(trial.state),
        **known,
    )
