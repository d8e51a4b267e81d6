"""The range test on a table or arrays: where may a learning rate lie?"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from downslope.errors import InputError, OptionError
from downslope.models.functional import is_network
from downslope.report.range_test import range_test_figure, render_range_test
from downslope.training.events import Listener
from downslope.training.interrupt import interrupts
from downslope.training.loop import laboratory
from downslope.tuning.range_test import READINGS, SPAN, range_test
from downslope.workflow.job import new_job
from downslope.workflow.options import options_from
from downslope.workflow.problem import problem_of

FEWEST_STEPS = 10


@dataclass(frozen=True)
class LearningRateCurve:
    """How the loss answered to growing learning rates.

    Attributes:
        learning_rates: (steps,), ascending.
        losses, smoothed: (steps,), of each step's batch, and their running average.
        suggestions: learning rates by the name of the reading: ``"valley"``, ``"steepest"``,
            ``"minimum/10"``; ``"the rule's own"`` where the curve shows nothing. Never empty.
        confidence: ``"good"``, ``"fair"`` or ``"poor"``.
        note: why, in words.
        data: what the data were called.
        optimizer: name of the update rule.
        seconds: time taken, compiling included.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestions: dict[str, float]
    confidence: str
    note: str
    data: str
    optimizer: str
    seconds: float

    @property
    def suggestion(self) -> float:
        """The first of the suggestions, to be tried first."""
        return next(iter(self.suggestions.values()))

    def figure(self) -> go.Figure:
        """Return the curve with the suggestions marked on it, for a notebook."""
        rates, losses = self.learning_rates.tolist(), self.losses.tolist()
        return range_test_figure(rates, losses, self.smoothed.tolist(), self.suggestions)

    def save(self, path: str | Path) -> None:
        """Write the curve and its readings as one HTML page that needs no network."""
        page = render_range_test(
            data=self.data,
            optimizer=self.optimizer,
            figure=self.figure(),
            suggestions=self.suggestions,
            meanings=READINGS,
            confidence=self.confidence,
            note=self.note,
            steps=len(self.learning_rates),
            seconds=self.seconds,
        )
        try:
            Path(path).write_text(page, encoding="utf-8", errors="replace")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); choose another file") from None

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON knows it."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(self).items()}

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {rate:g}" for name, rate in self.suggestions.items())
        return f"LearningRateCurve({found}; confidence {self.confidence}: {self.note})"


def find_learning_rate(
    data: Any = "digits",
    y: Any = None,
    labels: Any = None,
    *,
    steps: int = 200,
    smallest: float | None = None,
    largest: float | None = None,
    listeners: Sequence[Listener] = (),
    **options: Any,
) -> LearningRateCurve:
    """Descend for a few steps at growing learning rates, and read off where a good one may lie.

    It is an estimate, quick and rough; `train` does not rely on it but on a race (`tuning.race`). Nothing
    is written, and a network of your own keeps its weights.

    Args:
        data: as in `train`.
        y: as in `train`.
        labels: as in `train`.
        steps: updates at most, at least 10; it ends earlier where the loss diverges.
        smallest: learning rate of the first step, > 0; by default the rule's own / 3,000.
        largest: learning rate of the last step; by default 3,000 times the rule's own.
        listeners: functions of one `training.events.Event`, called as it happens.
        options: those of `train`, but for the learning rate and the schedule.

    Returns:
        The curve, with suggestions, ``.figure()`` and a note on how far to trust it.

    Raises:
        InputError: something is wrong with the data or an option.
        KeyboardInterrupt: the user pressed Ctrl-C.

    Example:
        >>> curve = find_learning_rate("iris", steps=60)
        >>> 1e-5 < curve.suggestion < 10
        True
    """
    began = time.monotonic()
    for name in ("learning_rate", "schedule"):
        if options.get(name) not in (None, "auto"):
            raise OptionError(f"find_learning_rate looks for it; leave out {name}")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < FEWEST_STEPS:
        raise OptionError(f"--steps must be a whole number of at least {FEWEST_STEPS}, got {steps!r}")
    for name, value in (("smallest", smallest), ("largest", largest)):
        if value is not None and not (isinstance(value, int | float) and 0 < value < 1e38):
            raise OptionError(f"--{name} must be a number above 0 and below 1e38, got {value!r}")
    if is_network(data):
        options, data, y = {**options, "model": data}, ("digits" if y is None else y), labels
    elif labels is not None:
        raise OptionError(
            "find_learning_rate(network, data, labels) takes a network first; or pass it as model="
        )
    job = new_job(
        data, y, False, False, replace(options_from(options), learning_rate="auto", schedule="auto")
    )
    centre = job.rule.learning_rate
    low, high = (
        smallest or min(centre, largest or centre) / SPAN,
        largest or max(centre, smallest or 0) * SPAN,
    )
    if low >= high:
        raise OptionError(f"--smallest {low:g} must be below --largest {high:g}")
    problem, state = problem_of(job)
    with interrupts() as interrupted:
        trials = laboratory(problem, job.plan, state, listeners, interrupted)
        seen = range_test(trials, centre, steps=steps, smallest=low, largest=high)
    if seen is None:
        raise KeyboardInterrupt
    seconds = time.monotonic() - began
    return LearningRateCurve(
        seen.learning_rates,
        seen.losses,
        seen.smoothed,
        seen.suggestions,
        seen.confidence,
        seen.note,
        job.prepared.name,
        job.rule.name,
        seconds,
    )
