"""The guard: when a descent goes wrong, it goes back, and on with smaller steps.

The loss of the untrained weights is the yardstick: a descent that does not get below it does not descend.
So these are taken for trouble:

- a loss that is not a number;
- a loss that rises far outside of what it has lately been, and stays there;
- a loss far above the start that comes back there again and again, or from where the descent does not come
  back below the start, nor to where it was, within the next steps;
- answers that are the same for every row, after such an excursion: the units have died, and no step brings
  them back;
- an end far above the start.

A single spike is not trouble: the next steps bring it down by themselves.

    roll back to weights from before;  rate ← rate / 2;  momentum ← 0;  the rate rises again from 0

After three roll-backs the next of the alternative rates is taken, if there is one; after the last the
descent stops with the best weights it has.

All decisions are functions of the losses in their order, never of when the host happens to look, so the
same seed gives the same roll-backs. The rate is an argument of the compiled step: nothing is compiled anew.
Going back and on with less is what is done by hand in large trainings, as in Chowdhery et al. 2022,
"PaLM", https://arxiv.org/abs/2204.02311, section 5.1, and Zhang et al. 2022, "OPT",
https://arxiv.org/abs/2205.01068, section 2.5.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

BLOCK = 32  # steps whose median loss is one level: spikes shorter than half of it do not move it
SUSTAINED = 2  # levels in a row that must be far outside
RECENT, FEWEST = 16, 4  # levels that say what is usual: so many at most, and at least
SPREADS = 3.0  # how far outside, in units of the range of the recent levels
LOST = 0.5  # and: how much of what the descent had gained is lost
RELATIVE = 0.1  # and: how large the rise is, next to the level
ABOVE_START = 2.0  # or: how far above the loss of the start, next to it
NOISY = 4.0  # and: next to how much the losses of batches differ, for a loss that starts near 0
OFTEN = 3  # or: how many of the recent blocks were that far above it, without their highest losses
TRIMMED = 2  # so many of them: an outlier among the rows is no divergence
RETURN = 3  # or: so many blocks, from the first that far above, without having come back
SILENT = 64  # or: so many steps of the same answer to every row, after a block that far above

STEPS_PER_SNAPSHOT = 128  # between two snapshots, at least
LONGEST = 4096  # epochs of more steps are also snapshotted inside, every so many
SNAPSHOTS = 3  # the start, and the newest two
WARM_STEPS = 100  # in which the rate rises again, at most; and at most a tenth of all


@dataclass(frozen=True)
class Guard:
    """How a descent is guarded.

    Attributes:
        roll_backs: how often one rate may be halved; 0: any trouble ends the descent, and only a loss that
            is not a number is trouble.
        alternatives: learning rates to take after that, in order, such as the runner-up of a race.
    """

    roll_backs: int = 3
    alternatives: Sequence[float] = ()

    @property
    def is_on(self) -> bool:
        """Whether anything is ever rolled back."""
        return self.roll_backs > 0


UNGUARDED = Guard(roll_backs=0)


@dataclass(frozen=True)
class Trouble:
    """What went wrong.

    Attributes:
        kind: ``"non-finite"``, ``"overflow"`` (float16, with the smallest loss scale) or ``"diverged"``.
        words: what happened, to be continued with "at step …".
        steps: after how many of the steps looked at.
        before, after: losses, for the record; None where there is none.
        for_good: whether the descent has been lost for so long that only its start is worth coming back to.
    """

    kind: str
    words: str
    steps: int
    before: float | None = None
    after: float | None = None
    for_good: bool = False


@dataclass
class Watch:
    """Looks at the losses, one block after the other.

    Attributes:
        start: the loss before the first step.
        pending: losses of the block under way.
        levels: the medians of the latest blocks, oldest first.
        high: for each of these blocks, whether its mean was far above the start.
        finite: how many finite losses were seen.
        away: blocks since the loss rose far above the start, without having come back; 0: it has.
        home: the loss that it must come back to.
        strayed: whether it ever rose so far.
        silent: steps since all rows get the same answer.
        noise: from the lower quartile of the first block's losses to their median; 0 where these all were
            higher than the start already, None where it is not over.
    """

    start: float
    pending: list[float] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    high: list[bool] = field(default_factory=list)
    finite: int = 0
    away: int = 0
    home: float = 0.0
    strayed: bool = False
    silent: int = 0
    noise: float | None = None

    def see(self, losses: np.ndarray) -> Trouble | None:
        """Look at the losses of some more steps, float64 (steps,); those that are not finite are skipped."""
        places = np.flatnonzero(np.isfinite(losses))
        seen = losses[places]
        if self.finite == 0 and len(seen):  # with dropout, what training sees may start above `start`
            self.start = max(self.start, float(seen[0]))
        self.finite += len(seen)
        waiting, seen = len(self.pending), np.concatenate([self.pending, seen])
        if self.noise is None and len(seen) >= BLOCK:
            lower, median = np.quantile(seen[:BLOCK], [0.25, 0.5])
            self.noise = float(median - lower) if lower <= self.start else 0.0
        blocks, rest = _cut(seen)
        self.pending = rest.tolist()
        for number, (level, mean) in enumerate(blocks, start=1):
            self._follow(level, mean)
            self.levels = [*self.levels[-(RECENT + SUSTAINED - 1) :], level]
            self.high = [*self.high[-(RECENT - 1) :], mean > self._far_above_start]
            usual = self._risen_from()
            if usual is not None:
                steps = int(places[number * BLOCK - waiting - 1]) + 1
                worst = max(level, mean)
                how = f"the loss rose from {usual:.3g} to {worst:.3g} and stayed there"
                if self.away >= RETURN:
                    how = f"the loss rose far above its start, {usual:.3g}, and did not come back below"
                elif sum(self.high) >= OFTEN:
                    how = f"the loss rose from {usual:.3g} often, to {worst:.3g}"
                return Trouble("diverged", how, steps, usual, worst)
        return None

    def _follow(self, level: float, mean: float) -> None:
        """Count the blocks of an excursion far above the start, up to where the descent has come back."""
        high = mean > self._far_above_start
        if high and not self.away:
            self.home = self.start - RELATIVE * abs(self.start)
            if self.levels:
                self.home = max(self.home, self.levels[-1] + RELATIVE * abs(self.levels[-1]))
        self.strayed = self.strayed or high
        is_back = not high and level <= self.home
        self.away = 0 if is_back or not (high or self.away) else self.away + 1

    def hear(self, all_alike: bool, steps: int) -> Trouble | None:
        """Take note, after some more steps, of whether all rows get the same answer."""
        self.silent = self.silent + steps if all_alike else 0
        if not (self.strayed and self.silent >= SILENT):
            return None
        words = "the network gives every row the same answer, since the loss rose far above its start,"
        return Trouble("diverged", words, 0, self.start, self.levels[-1], for_good=True)

    def conclude(self, loss: float | None) -> Trouble | None:
        """Look at the mean loss of the epoch that is to be the result; None where there is none."""
        if loss is None or loss <= self._far_above_start:
            return None
        words = f"the loss ended at {loss:.3g}, far above its start, {self.start:.3g},"
        return Trouble("diverged", words, 0, self.start, loss, for_good=True)

    def _risen_from(self) -> float | None:
        """Return what the loss was usually, if the latest levels are all far above; else None."""
        latest, usual = self.levels[-SUSTAINED:], self.levels[:-SUSTAINED]
        if len(latest) < SUSTAINED:
            return None
        often = self.high[-1] and sum(self.high) >= OFTEN
        far = self._far_above_start
        above = [level > far or high for level, high in zip(latest, self.high[-SUSTAINED:], strict=True)]
        # one of the medians too: a spike across the border of two blocks moves but the means of both
        stays = all(above) and max(latest) > far
        if stays or often or self.away >= RETURN:
            return self.start
        if len(usual) < FEWEST:
            return None
        level = float(np.median(usual))
        far = max(
            SPREADS * (max(usual) - min(usual)),
            LOST * (self.start - min(usual)),
            RELATIVE * abs(level),
        )
        return level if min(latest) > level + far else None

    @property
    def _far_above_start(self) -> float:
        return self.start + max(ABOVE_START * abs(self.start), NOISY * (self.noise or 0.0))

    @property
    def is_calm(self) -> bool:
        """Whether the loss stands where one would like to come back to: not above its start."""
        if not self.levels:
            return True
        return not (self.away or self.silent) and self.levels[-1] <= self.start + RELATIVE * abs(self.start)

    def to_json(self) -> dict[str, Any]:
        """Return the content as JSON knows it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Watch":
        """Read what `to_json` wrote."""
        return cls(**copy.deepcopy(content))


def _cut(losses: np.ndarray) -> tuple[list[tuple[float, float]], np.ndarray]:
    """Return (median, mean without the highest) of each whole block, and the losses after the last."""
    whole = len(losses) // BLOCK * BLOCK
    ordered = np.sort(losses[:whole].reshape(-1, BLOCK), axis=1)
    medians = ordered[:, BLOCK // 2 - 1 : BLOCK // 2 + 1].mean(axis=1)
    means = ordered[:, : BLOCK - TRIMMED].mean(axis=1)
    return list(zip(medians.tolist(), means.tolist(), strict=True)), losses[whole:]


@dataclass
class Snapshot:
    """Where to come back to.

    Attributes:
        step: updates done.
        facts: what the host remembers, as JSON knows it.
        arrays: what the device remembers, a pytree of copies.
    """

    step: int
    facts: dict[str, Any]
    arrays: Any


@dataclass(frozen=True)
class Action:
    """What the guard has decided.

    Attributes:
        kind: ``"rolled-back"`` or ``"other-rate"``.
        snapshot: where to go on from.
        words: what is done, for a person.
    """

    kind: str
    snapshot: Snapshot
    words: str


class Guarding:
    """A guard at work: what it has seen, decided and kept.

    Args:
        guard: how to guard.

    Attributes:
        watch: what it has seen.
        multiplier: of the learning rate.
        warm_from: the step before which the rate began to rise again; None: never yet.
        roll_backs: at this rate.
        alternatives_taken: how many.
    """

    def __init__(self, guard: Guard):
        self.guard = guard
        self.watch = Watch(math.inf)
        self.multiplier = 1.0
        self.warm_from: int | None = None
        self.roll_backs = self.alternatives_taken = 0
        self._snapshots: list[Snapshot] = []

    def begin(self, start: float | None) -> None:
        """Take note of the loss of the initial weights; None where it is not a number."""
        self.watch.start = math.inf if start is None else start

    def see(self, losses: np.ndarray) -> Trouble | None:
        """Look at the losses of the steps just done, float64 (steps,)."""
        if not self.guard.is_on:
            self.watch.finite += int(np.isfinite(losses).sum())
            return None
        return self.watch.see(losses)

    def hear(self, all_alike: bool, steps: int) -> Trouble | None:
        """Take note, after the steps of an epoch, of whether all rows get the same answer."""
        return self.watch.hear(all_alike, steps) if self.guard.is_on else None

    def conclude(self, loss: float | None) -> Trouble | None:
        """Look at the mean loss of the epoch that is to be the result."""
        return self.watch.conclude(loss) if self.guard.is_on else None

    def wants_snapshot(self, step: int) -> bool:
        """Whether `step`, at which a snapshot may be taken, is worth one."""
        if not self.guard.is_on:
            return False
        return not self._snapshots or (
            step - self._snapshots[-1].step >= STEPS_PER_SNAPSHOT and self.watch.is_calm
        )

    def keep(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, and forget all but the start and the newest two."""
        snapshot.facts = {**copy.deepcopy(snapshot.facts), "watch": self.watch.to_json()}
        start, others = self._snapshots[:1], self._snapshots[1:]
        self._snapshots = [*start, *others[-(SNAPSHOTS - 2) :], snapshot]

    def forget_snapshots(self) -> None:
        """Keep none: the descent goes on from elsewhere."""
        self._snapshots = []

    def decide(self, trouble: Trouble, steps_done: int, learning_rate: float) -> Action | None:
        """Return what is to be done about a trouble; None: there is nothing left to try.

        Args:
            trouble: what happened.
            steps_done: when it was noticed.
            learning_rate: the rate so far, before the schedule.
        """
        if not self._snapshots or self.watch.finite == 0:  # no rate is to blame for the very first loss
            return None
        kind, words = "rolled-back", ""
        if self.roll_backs < self.guard.roll_backs:
            self.roll_backs += 1
            factor = 0.5
        elif self.alternatives_taken < len(self.guard.alternatives):
            factor = self.guard.alternatives[self.alternatives_taken] / learning_rate
            self.alternatives_taken, self.roll_backs = self.alternatives_taken + 1, 0
            kind, words = "other-rate", f" after {self.guard.roll_backs} roll-backs,"
        else:
            return None
        self.multiplier *= factor
        snapshot = self._before(steps_done, kind == "other-rate", trouble.for_good)
        self.watch = Watch.from_json(snapshot.facts["watch"])
        self.warm_from = snapshot.step
        rate = f"{learning_rate * factor:.3g}"
        new = f"another learning rate, {rate}" if words else f"half the learning rate, {rate}"
        return Action(kind, snapshot, f"{words} back to step {snapshot.step:,} with {new}".strip(", "))

    def _before(self, steps_done: int, fresh: bool, for_good: bool) -> Snapshot:
        """Return the newest snapshot from before the trouble began; the next trouble goes further back.

        Where a rate is given up, what it has reached is too, unless it was worth something.
        """
        began = steps_done - SUSTAINED * BLOCK
        older = [snapshot for snapshot in self._snapshots if snapshot.step <= began]
        chosen = older[-1] if older else self._snapshots[0]
        reached = chosen.facts["watch"]["levels"]
        if for_good or (fresh and not (reached and reached[-1] < LOST * self.watch.start)):
            chosen = self._snapshots[0]
        self._snapshots = [s for s in self._snapshots if s.step < chosen.step] or [chosen]
        return chosen

    def warm_up(self, total_steps: float) -> tuple[np.float32, np.float32]:
        """Return (before which step a rise of the rate began, how many steps it takes)."""
        if self.warm_from is None:
            return np.float32(-1e9), np.float32(1.0)
        return np.float32(self.warm_from), np.float32(max(1.0, min(WARM_STEPS, total_steps // 10)))

    def arrays(self) -> tuple[Any, ...]:
        """Return the arrays of the snapshots, always of as many, to be stored."""
        if not self._snapshots:
            return ()
        kept = [snapshot.arrays for snapshot in self._snapshots]
        return tuple([*kept, *[kept[-1]] * SNAPSHOTS][:SNAPSHOTS])

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays, as JSON knows it."""
        return {
            "multiplier": self.multiplier,
            "warm_from": self.warm_from,
            "roll_backs": self.roll_backs,
            "alternatives_taken": self.alternatives_taken,
            "watch": self.watch.to_json(),
            "snapshots": [{"step": s.step, "facts": s.facts} for s in self._snapshots],
        }

    def restore(self, content: dict[str, Any], arrays: Sequence[Any]) -> None:
        """Become what `to_json` and `arrays` were taken from."""
        self.multiplier, self.warm_from = content["multiplier"], content["warm_from"]
        self.roll_backs = content["roll_backs"]
        self.alternatives_taken = content["alternatives_taken"]
        self.watch = Watch.from_json(content["watch"])
        self._snapshots = [
            Snapshot(stored["step"], stored["facts"], own)
            for stored, own in zip(content["snapshots"], arrays, strict=False)
        ]
