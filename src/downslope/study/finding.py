"""What a run has recorded, to be looked at, and what is found in it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        name: such as ``"over-fits"``.
        words: what happened, one sentence.
        evidence: the numbers that show it.
        next_step: what to try; empty where there is nothing to mend.
        alarm: whether something should be mended.
    """

    name: str
    words: str
    evidence: dict[str, float | int | str | None] = field(default_factory=dict)
    next_step: str = ""
    alarm: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the content as JSON knows it."""
        return asdict(self)


@dataclass(frozen=True)
class Record:
    """What a run has recorded; see `diagnose`."""

    history: dict[str, np.ndarray]
    summary: Mapping[str, Any]
    layers: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]
    dead_units: Mapping[str, float]
    sharpness: Mapping[str, Any]

    def column(self, name: str) -> np.ndarray:
        """Return a column of the history, NaN where nothing was recorded."""
        return self.history.get(name, np.full(len(self.history["train_loss"]), np.nan))

    @property
    def start(self) -> float:
        """The loss before the first step; NaN where it was not recorded."""
        return number_of(self.summary.get("loss_at_start"))

    @property
    def full_batch(self) -> bool:
        """Whether every epoch was one step."""
        steps, epochs = self.column("step"), self.column("epoch")
        return len(steps) > 0 and bool(np.all(steps == epochs))


def number_of(value: Any) -> float:
    """Return a finite number as it is, and NaN for whatever else was recorded."""
    ok = isinstance(value, int | float | np.floating) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if ok else math.nan
