"""What the host remembers of a descent: plain numbers that go to disk as JSON with every checkpoint."""

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any


@dataclass
class Progress:
    """How far a descent has come.

    Attributes:
        epoch: epochs completed.
        position: steps done of the epoch that is under way.
        seconds: training time so far, over all sessions, in seconds.
        history: one row per completed epoch (`training.rows`).
        layers: one row per completed epoch and layer (`runs.folder.LAYERS_SCHEMA`).
        best_epoch: the epoch whose weights are kept; 0 is the start.
        best_loss: its validation loss; infinite before the first.
        plateau: what `stepsize.plateau` carries, by name; empty without one.
        tuned: how the learning rate was chosen (`training.trials.Chosen.record`); empty where it was given.
        phases: where the decay was put on the way, ``decay_from`` and ``end``; empty while it was not.
        weight_decay: what it has been steered to (`training.steering`); None while it was not.
        start_loss: the loss of the initial weights on the training rows, 8192 at most, spread evenly.
        undone: steps that were rolled back, over all (`training.guard`).
        stopped_because: why the descent is over; empty while it is not.
        failed: whether it went wrong for good: a loss that is not a number, or one that diverged.
    """

    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_loss: float = math.inf
    plateau: dict[str, Any] = field(default_factory=dict)
    tuned: dict[str, Any] = field(default_factory=dict)
    phases: dict[str, float] = field(default_factory=dict)
    weight_decay: float | None = None
    start_loss: float | None = None
    undone: int = 0
    stopped_because: str = ""
    failed: bool = False

    def facts(self) -> dict[str, Any]:
        """Return what a roll-back brings back: all but the clock, the rows of the history and the end."""
        lasting = ("seconds", "history", "layers", "undone", "stopped_because", "failed")
        without_rows = replace(self, history=[], layers=[])  # they grow, and copying them takes long
        return {name: value for name, value in without_rows.to_json().items() if name not in lasting}

    def go_back(self, facts: dict[str, Any]) -> None:
        """Become what `facts` were taken from; later rows of the history are dropped."""
        back = Progress.from_json({**self.to_json(), **facts})
        for name in facts:
            setattr(self, name, getattr(back, name))
        del self.history[self.epoch :]
        self.layers = [row for row in self.layers if row["epoch"] <= self.epoch]

    def to_json(self) -> dict[str, Any]:
        """Return the content as JSON knows it: infinity becomes null."""
        return {**asdict(self), "best_loss": finite_or_none(self.best_loss)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Progress":
        """Read what `to_json` wrote."""
        best_loss = content["best_loss"]
        return cls(**{**content, "best_loss": math.inf if best_loss is None else best_loss})


def finite_or_none(number: float) -> float | None:
    """Return `number`, or None where JSON and Parquet readers would stumble over infinity or NaN."""
    return number if math.isfinite(number) else None
