"""One sitting of a descent: its arrays on the device, its compiled programs, its clock.

What happens in a sitting stands in files of its own: the loop (`training.loop`), the choice of the rate
(`training.choosing`), the length (`training.length`) and the way back after trouble (`training.recovery`).
"""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from downslope.data.batches import padded_order
from downslope.data.order import epoch_order
from downslope.gradient.backprop import Batch
from downslope.stepsize.phases import Phases
from downslope.training.checkpoint import Checkpoints
from downslope.training.evaluate import (
    cut,
    evaluate,
    evaluation_size,
    even_part,
    losses_of,
)
from downslope.training.events import Event, Listener, tell
from downslope.training.guard import Guarding
from downslope.training.keys import run_key
from downslope.training.layers import layer_names
from downslope.training.plan import Plan, Problem
from downslope.training.programs import compiled, programs_of
from downslope.training.progress import Progress, finite_or_none
from downslope.training.state import TrainState
from downslope.training.step import Pace
from downslope.training.stretch import Stretch, Trace, empty_trace


class Session:
    """One sitting of a descent; arguments as in `training.loop.descend`.

    Attributes:
        progress: how far the descent has come: what a checkpoint tells of the host.
        state, trace: what the next stretch is given, and uses up.
        order: the rows of each batch of the epoch under way.
        guarding: the guard at work.
        kept: the best (params, model_state) so far.
        turning: the state at the lowest validation loss, where a decay may begin; None with a fixed length.
        programs: what the device can be asked to do.
        compile_seconds: how long it took to have them.
        data, validation: the rows on the device; those to validate on cut by `training.evaluate.cut`.
    """

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        state: TrainState,
        listeners: Sequence[Listener],
        checkpoints: Checkpoints | None,
    ):
        self.problem, self.plan = problem, plan
        self.listeners, self.checkpoints = listeners, checkpoints
        self.progress = Progress()
        self.n_rows = len(problem.train.weights)
        self.steps_per_epoch = -(-self.n_rows // plan.batch_size)
        self.key = jax.jit(run_key, static_argnums=1)(np.uint32(plan.seed), "steps")
        self.order = self.order_of(0)
        self.layers = layer_names(state.params)
        self.state, self.trace = plan.devices.place_state(state), self.fresh_trace()
        self.fresh = jax.tree.map(np.asarray, (state.loss_scale, state.line_search))
        self.data = plan.devices.place_data(problem.train)
        self.guarding = Guarding(plan.guard)
        self.seconds_per_step: float | None = None  # until the first stretch is timed
        self.seconds_before = 0.0
        self.started: float | None = None  # the clock stands still while we compile
        self.watched_from: tuple[float, int] | None = None  # (seconds, steps), of a decay under a time limit
        self._compile()
        self.started = self.last_saved = time.monotonic()
        self.guarding.begin(self.progress.start_loss)
        self.kept = self.weights()
        # Where the decay begins, should the validation loss rise: at its lowest, not after.
        self.turning = self.programs.copies(self.state) if self.is_open else None

    def _compile(self) -> None:
        began, problem = time.monotonic(), self.problem
        programs = problem.programs or programs_of(
            problem.objective, problem.step, problem.rule, problem.schedule, self.plan.devices
        )
        self.programs = compiled(
            programs, self.state, self.trace, self.data, self.steps_until(0), self.pace()
        )
        size = evaluation_size(problem.validation or problem.train)
        if problem.validation is not None:
            self.validation = cut(problem.validation, size)
        some = even_part(problem.train)
        start = evaluate(problem.evaluation, *self.weights(), cut(some, size), len(some.weights))
        self.progress.start_loss = finite_or_none(start.loss)
        self.compile_seconds = time.monotonic() - began
        self.tell("compiled", f"compiled in {self.compile_seconds:.1f} s")

    # ---- what the programs are given

    def order_of(self, epoch: int, among: np.ndarray | None = None) -> jax.Array:
        """Return the rows of each batch of an epoch, (steps, lanes).

        Args:
            epoch: counted from 0.
            among: the only rows that may occur, (rows,), some of them repeatedly; all of them, once, if None.
        """
        rows = epoch_order(self.plan.seed, epoch, self.n_rows if among is None else len(among))
        if among is not None:
            rows = np.resize(among[rows], self.n_rows)
        if self.steps_per_epoch == 1:  # `batch_at` may do without the order, so it must say nothing new
            rows = np.arange(self.n_rows)
        return self.plan.devices.place_data(padded_order(rows, self.plan.batch_size, self.plan.lanes))

    def batch_weights(self) -> np.ndarray:
        """Return what the rows of each batch of the epoch weigh together, (steps,)."""
        order, weights = np.asarray(self.order), np.asarray(self.problem.train.weights, np.float64)
        steps, lanes = order.shape
        if steps == 1:
            return weights.sum(keepdims=True)
        lane = np.arange(lanes)
        place = self.plan.batch_size * np.arange(steps)[:, None] + lane
        is_real = (lane < self.plan.batch_size) & (place < self.n_rows)
        return np.where(is_real, weights[order], 0.0).sum(axis=1)

    def steps_until(self, stop: int) -> Stretch:
        """Return the steps from where the epoch stands until `stop`."""
        batch_size, n_rows = np.int32(self.plan.batch_size), np.int32(self.n_rows)
        return Stretch(
            self.order, batch_size, n_rows, np.int32(self.progress.position), np.int32(stop), self.key
        )

    def pace(self) -> Pace:
        """Return how fast and how long."""
        steps = self.plan.epochs * self.steps_per_epoch
        length = np.float32(steps) if self.plan.pacing is None else self.phases.as_arrays()
        warm_up = self.guarding.warm_up(steps)
        return Pace(np.float32(self.learning_rate), length, *warm_up, self.decay_as_array)

    def fresh_trace(self) -> Trace:
        """Return the trace of an epoch in which nothing has been seen yet."""
        return self.plan.devices.place_state(empty_trace(self.steps_per_epoch, len(self.layers)))

    def weights(self) -> tuple[Any, Any]:
        """Return copies of the weights to measure and their model state."""
        return self.programs.weights(self.state, self.data, self.steps_until(0))

    def losses(self, weights: tuple[Any, Any], batches: list[Batch]) -> np.ndarray:
        """Return the loss of each row of batches made by `cut`, with their padding."""
        return losses_of(self.problem.evaluation, *weights, batches)

    # ---- how far, how fast, how long

    @property
    def epoch_is_complete(self) -> bool:
        """Whether all steps of the epoch under way are done."""
        return self.progress.position == self.steps_per_epoch

    @property
    def steps_done(self) -> int:
        """Steps behind us, over all epochs."""
        history = self.progress.history  # its last epoch may have been closed before its end
        return (history[-1]["step"] if history else 0) + self.progress.position

    @property
    def base_rate(self) -> float:
        """The plan's learning rate, or the one that was chosen."""
        return self.progress.tuned.get("learning_rate", self.plan.learning_rate)

    @property
    def learning_rate(self) -> float:
        """The base rate, lowered by every plateau and every roll-back so far."""
        plateau = self.progress.plateau.get("multiplier", 1.0)
        return self.base_rate * plateau * self.guarding.multiplier

    @property
    def weight_decay(self) -> float | None:
        """The decay that was steered to; None where it is the rule's own."""
        steered = self.progress.weight_decay
        return self.plan.least_decay if steered is None else steered

    @property
    def decay_as_array(self) -> np.float32 | None:
        """`weight_decay` as compiled programs take it."""
        return None if self.weight_decay is None else np.float32(self.weight_decay)

    @property
    def is_open(self) -> bool:
        """Whether the descent goes on until the validation loss stops falling."""
        return self.plan.pacing is not None and self.plan.pacing.waits is not None

    @property
    def phases(self) -> Phases:
        """Where warm-up, constant rate and decay lie, as far as that is known."""
        assert self.plan.pacing is not None
        planned = self.plan.pacing.begin(self.steps_per_epoch)
        return planned._replace(**self.progress.phases)

    @property
    def seconds(self) -> float:
        """Seconds of training, over all sittings."""
        return self.seconds_before + (0.0 if self.started is None else time.monotonic() - self.started)

    @property
    def elapsed(self) -> float:
        """Seconds of choosing and training: what a time limit counts."""
        return self.seconds + self.progress.tuned.get("seconds", 0.0)

    # ---- what is told and what is stored

    def tell(self, kind: str, message: str = "", values: dict[str, Any] | None = None) -> None:
        """Tell every listener what happens, and when."""
        where = self.steps_done, self.progress.epoch, self.seconds
        tell(self.listeners, Event(kind, *where, message, values or {}))

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is one to go on from."""
        return self.checkpoints is not None and self.checkpoints.latest() is not None

    def restore(self) -> None:
        """Go on from the newest checkpoint."""
        assert self.checkpoints is not None
        arrays, stored = self.checkpoints.restore(self._arrays())
        self.state, self.trace, self.kept, self.turning, snapshots = arrays
        self.guarding.restore(stored.pop("guard"), snapshots)
        self.progress = Progress.from_json(stored)
        self.order = self.order_of(self.progress.epoch)
        self.seconds_before = self.progress.seconds
        where = f"step {self.steps_done:,} (epoch {self.progress.epoch + 1})"
        over = self.progress.stopped_because
        message = f"nothing left to do: {over}" if over else f"resumed at {where}"
        self.tell("resumed", message, {"history": self.progress.history, "over": bool(over)})

    def save_if_due(self) -> None:
        """Write a checkpoint in the background when the last is old enough."""
        old_enough = time.monotonic() - self.last_saved >= self.plan.checkpoint_every
        if old_enough and not self.progress.stopped_because:
            self.save()

    def save(self) -> None:
        """Write a checkpoint in the background."""
        if self.checkpoints is None:
            return
        self.progress.seconds = self.seconds
        # labelled by all steps ever done: after a roll-back, the newest is still the largest
        self.checkpoints.save(self.steps_done + self.progress.undone, self._arrays(), self._resumable())
        self.last_saved = time.monotonic()
        self.tell("checkpoint", f"checkpoint at step {self.steps_done:,}")

    def finish(self) -> None:
        """Save the end, and say so."""
        self.progress.seconds = self.seconds
        if not self.progress.failed:
            self.save()
        self.tell("finished", self.progress.stopped_because)

    def _arrays(self) -> tuple[Any, ...]:
        return (self.state, self.trace, self.kept, self.turning, self.guarding.arrays())

    def _resumable(self) -> dict[str, Any]:
        """Return the progress to store: an interruption is no reason to stop when the run is resumed."""
        content = {**self.progress.to_json(), "guard": self.guarding.to_json()}
        interrupted = self.progress.stopped_because == "interrupted"
        return {**content, "stopped_because": ""} if interrupted else content
