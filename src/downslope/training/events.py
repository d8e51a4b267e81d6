"""What happens during a descent, told to whoever listens: a progress display, a log, a user's callback.

A listener is any function of one `Event`. Listeners run on the host between compiled calls; they see
the descent but cannot change it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        kind: ``"compiled"``, ``"progress"`` (some steps done), ``"epoch"`` (a row of the history is
            complete), ``"tuning"`` (a trial is under way), ``"learning-rate"`` (one was chosen),
            ``"weights"`` (where the descent is), ``"annealing"``, ``"plateau"`` (the rate was lowered),
            ``"checkpoint"``, ``"resumed"``, ``"early-stop"``, ``"time-limit"``, ``"interrupted"``,
            ``"finished"``; from the guard ``"rolled-back"``, ``"other-rate"``, and where it has given up
            ``"non-finite"``, ``"overflow"`` or ``"diverged"``;
            ``"skipped"`` (an epoch of which float16 could do no step).
        step: updates done so far.
        epoch: epochs completed so far.
        seconds: training time so far, in seconds.
        message: one sentence for a person.
        values: what belongs to the kind: the row of an epoch, the steps done in this one, …
    """

    kind: str
    step: int
    epoch: int
    seconds: float
    message: str = ""
    values: dict[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]

# Kinds that recur too often to be kept: the history has the epochs, and progress is for the moment.
PASSING = frozenset({"progress", "epoch", "tuning", "weights"})

# What the guard does; their values are plain numbers, or None.
GUARD_KINDS = frozenset({"rolled-back", "other-rate", "non-finite", "overflow", "diverged"})


def tell(listeners: Iterable[Listener], event: Event) -> None:
    """Hand `event` to every listener, in order."""
    for listener in listeners:
        listener(event)
