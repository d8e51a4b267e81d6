"""The descent: epochs of compiled stretches, with the host awake only between them.

for each epoch:
for each stretch of the epoch:  step, step, step, …      (compiled, on the device)
measure on the validation rows; keep the weights if they are the best so far
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from downslope import pytrees
from downslope.data.batches import padded_order
from downslope.data.order import epoch_order
from downslope.gradient.backprop import Batch
from downslope.metrics import paired_gap
from downslope.rules.rule import Rule
from downslope.stepsize.phases import Phases
from downslope.stepsize.plateau import PlateauState
from downslope.training.checkpoint import Checkpoints
from downslope.training.devices import Devices
from downslope.training.evaluate import cut, evaluate
from downslope.training.events import Event, Listener, tell
from downslope.training.guard import LONGEST, Guarding, Snapshot, Trouble
from downslope.training.interrupt import interrupts
from downslope.training.layers import layer_names
from downslope.training.plan import Descent, Plan, Problem
from downslope.training.progress import Progress, finite_or_none
from downslope.training.state import TrainState
from downslope.training.step import Pace
from downslope.training.stretch import Stretch, Trace, batch_at, empty_trace, make_stretch
from downslope.training.trials import Chooser, Trials, make_trials

SECONDS_PER_STRETCH = 0.25  # how long the host sleeps: the display's and Ctrl-C's worst delay
TIME_KEPT = 0.9  # share of the time left that a decay by the clock counts on: steps are not all alike
EVALUATION_ROWS = 8192  # rows evaluated at once, at most


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
        resume: go on from the newest checkpoint instead of `state`. With a `chooser`, a descent that
            has none yet is begun again: it will choose the same.
        chooser: chooses the learning rate first, instead of the plan's; needs a plan with a pacing.

    Returns:
        The kept weights and the history. A descent that went wrong for good is a result too
        (``progress.failed``), with the best weights that were measured and finite.
    """
    session = _Session(problem, plan, state, listeners, checkpoints)
    if resume and (chooser is None or session.has_checkpoint):
        session.restore()
    else:
        session.tell_weights(session.kept)
    with interrupts() as interrupted:
        if chooser is not None and not session.progress.tuned:
            session.choose(chooser, interrupted)
        while not session.progress.stopped_because:
            session.run_stretch()
            if session.epoch_is_complete and not session.progress.stopped_because:
                session.close_epoch()
            session.check_limits(interrupted())
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
    return _Session(problem, plan, state, listeners, None).trials(interrupted)


class _Session:
    """One sitting of a descent: the compiled programs, the arrays on the device, the clock."""

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
        self.order = self._order()
        place = plan.devices.place_state
        self.layers = layer_names(state.params)
        self.state, self.trace = place(state), place(self._empty_trace())
        self.fresh = jax.tree.map(np.asarray, (state.loss_scale, state.line_search))
        self.data = plan.devices.place_data(problem.train)
        self.guarding = Guarding(plan.guard)
        self.seconds_per_step = SECONDS_PER_STRETCH / 8  # a guess, until the first stretch is timed
        self.seconds_before = 0.0
        self.started: float | None = None  # the clock stands still while we compile
        self._compile()
        self.started = self.last_saved = time.monotonic()
        self.guarding.begin(self.progress.start_loss)
        self.kept = self.weights()
        # Where the decay begins, should the validation loss stop falling: at its lowest, not after.
        self.turning = self.copies(self.state) if self._is_open else None
        self._snapshot_if_due()

    def _compile(self) -> None:
        began = time.monotonic()
        self.stretch: Callable[..., Any] = (
            jax.jit(make_stretch(self.problem.step, self.plan.devices), donate_argnums=(0, 1))
            .lower(self.state, self.trace, self.data, self._stretch(0), self._pace())
            .compile()
        )
        averaged = jax.jit(weights_to_measure(self.problem, self.plan.devices))
        self._averaged = averaged.lower(self.state, self.data, self._stretch(0)).compile()
        size = evaluation_size(self.problem.validation or self.problem.train)
        if self.problem.validation is not None:
            self.validation = cut(self.problem.validation, size)
        first = jax.tree.map(lambda array: array[:EVALUATION_ROWS], self.problem.train)
        start = evaluate(self.problem.evaluation, *self.weights(), cut(first, size), len(first.weights))
        self.progress.start_loss = finite_or_none(start.loss)
        self.copies = jax.jit(lambda arrays: jax.tree.map(jnp.copy, arrays))
        self.restarted = jax.jit(lambda *snapshot: _restarted(self.problem.rule, *snapshot))
        self.all_finite = jax.jit(pytrees.all_finite)
        self.schedule = jax.jit(self.problem.schedule)
        self.schedule(np.int32(0), self._pace().total_steps)
        self.compile_seconds = time.monotonic() - began
        self._tell("compiled", f"compiled in {self.compile_seconds:.1f} s")

    def _order(self, epoch: int | None = None) -> jax.Array:
        epoch = self.progress.epoch if epoch is None else epoch
        rows = epoch_order(self.plan.seed, epoch, self.n_rows)
        if self.steps_per_epoch == 1:  # `batch_at` may do without the order, so it must say nothing new
            rows = np.arange(self.n_rows)
        return self.plan.devices.place_data(padded_order(rows, self.plan.batch_size, self.plan.lanes))

    def _stretch(self, stop: int) -> Stretch:
        batch_size, n_rows = np.int32(self.plan.batch_size), np.int32(self.n_rows)
        return Stretch(
            self.order, batch_size, n_rows, np.int32(self.progress.position), np.int32(stop), self.key
        )

    def _pace(self) -> Pace:
        steps = self.plan.epochs * self.steps_per_epoch
        length = np.float32(steps) if self.plan.pacing is None else self.phases.as_arrays()
        return Pace(np.float32(self.learning_rate), length, *self.guarding.warm_up(steps))

    @property
    def learning_rate(self) -> float:
        """The plan's, or the one that was chosen, lowered by every plateau and every roll-back so far."""
        plateau = self.progress.plateau.get("multiplier", 1.0)
        return self.base_rate * plateau * self.guarding.multiplier

    def weights(self) -> tuple[Any, Any]:
        """Return copies of the weights to measure and their model state."""
        return self._averaged(self.state, self.data, self._stretch(0))

    @property
    def seconds(self) -> float:
        return self.seconds_before + (0.0 if self.started is None else time.monotonic() - self.started)

    @property
    def epoch_is_complete(self) -> bool:
        return self.progress.position == self.steps_per_epoch

    @property
    def steps_done(self) -> int:
        return self.progress.epoch * self.steps_per_epoch + self.progress.position

    # ---- the learning rate and the length, where they are left to us

    @property
    def _is_open(self) -> bool:
        """Whether the descent goes on until the validation loss stops falling."""
        return self.plan.pacing is not None and self.plan.pacing.waits is not None

    @property
    def base_rate(self) -> float:
        """The plan's learning rate, or the one that was chosen."""
        return self.progress.tuned.get("learning_rate", self.plan.learning_rate)

    @property
    def phases(self) -> Phases:
        """Where warm-up, constant rate and decay lie, as far as that is known."""
        assert self.plan.pacing is not None
        planned = self.plan.pacing.begin(self.steps_per_epoch)
        return planned._replace(**self.progress.phases)

    def choose(self, chooser: Chooser, interrupted: Callable[[], bool]) -> None:
        """Have the learning rate chosen, and take over the trial that has gone ahead with it."""
        began = time.monotonic()
        chosen = chooser(self.trials(interrupted))
        if chosen is None:
            self.check_limits(interrupted=True)
            return
        trial = chosen.trial
        # Beyond its first epoch the same path is walked again, for the history to have every epoch.
        goes_on = trial is not None and not trial.failed and trial.step <= self.steps_per_epoch
        if trial is not None and goes_on:
            self.state, self.trace, self.progress.position = trial.state, trial.trace, trial.step
        self.progress.tuned = {
            **chosen.record,
            "learning_rate": chosen.learning_rate,
            "steps": chosen.steps,
            "continued_steps": self.progress.position,
            "seconds": time.monotonic() - began,
        }
        self.started = time.monotonic()
        self._offer_runner_up()
        self.guarding.forget_snapshots()
        self._snapshot_if_due()
        self._tell("learning-rate", chosen.sentence, self.progress.tuned)

    def _offer_runner_up(self) -> None:
        """Have the guard try the race's runner-up after its own roll-backs, where its steps are smaller."""
        runner_up = self.progress.tuned.get("runner_up")
        if runner_up is not None and runner_up < self.base_rate:
            self.guarding.guard = replace(self.plan.guard, alternatives=(runner_up,))

    def trials(self, interrupted: Callable[[], bool] = lambda: False) -> Trials:
        """Return what a chooser may do; this descent stays where it is."""
        rows = self.problem.validation
        what = "training" if rows is None else "validation"
        rows = self.problem.train if rows is None else rows
        size = evaluation_size(rows)
        batches = cut(rows, size)[:1] if self.problem.validation is None else self.validation
        n_rows = min(len(rows.weights), size * len(batches))
        order_of = functools.lru_cache(maxsize=4)(self._order)

        def run(state: Any, trace: Any, epoch: int, first: int, stop: int, rate: float, phases: Phases):
            order = order_of(epoch)
            sizes = np.int32(self.plan.batch_size), np.int32(self.n_rows)
            steps = Stretch(order, *sizes, np.int32(first), np.int32(stop), self.key)
            pace = Pace(np.float32(rate), phases.as_arrays())
            state, trace, done, worthwhile = self.stretch(state, trace, self.data, steps, pace)
            return state, trace, int(done), bool(worthwhile)

        def measure(state: Any) -> np.ndarray:
            weights = self._averaged(state, self.data, self._stretch(0))
            return self._losses(weights, batches)[:n_rows]

        def silent() -> np.ndarray:
            params, model_state = self.weights()
            zeros = jax.jit(lambda params: jax.tree.map(lambda leaf: 0 * leaf, params))(params)
            return self._losses((zeros, model_state), batches)[:n_rows]

        return make_trials(
            run,
            measure,
            self.copies,
            lambda: self.plan.devices.place_state(self._empty_trace()),
            self.state,
            self.steps_per_epoch,
            weights=np.asarray(rows.weights, np.float64)[:n_rows],
            held_out=f"{n_rows:,} {what} rows",
            n_params=pytrees.count(self.state.params),
            batch_size=self.plan.batch_size,
            say=lambda message: self._tell("tuning", message),
            interrupted=interrupted,
            silent=silent,
        )

    def _watch_length(self) -> None:
        """Begin the decay where the validation loss has stopped falling at the full rate."""
        pacing = self.plan.pacing
        if pacing is None or self.steps_done >= self.phases.decay_from:
            return
        if pacing.stands_still([row["validation_loss"] for row in self.progress.history]):
            best, done = self.progress.best_epoch, self.steps_done
            end = done + pacing.decay_after(best, self.steps_per_epoch)
            self._anneal(min(end, pacing.epochs * self.steps_per_epoch))
            self.state = replace(self.copies(self.turning), step=self.copies(self.state.step))
            until = math.ceil(self.phases.end / self.steps_per_epoch)
            message = (
                f"the validation loss stands still: back to epoch {best}, "
                f"from where the rate falls to 0 until epoch {until}"
            )
            self._tell("annealing", message, {"epochs": until, "back_to_epoch": best})

    def _watch_clock(self) -> None:
        """Begin the decay in time to end within the time limit."""
        pacing, limit = self.plan.pacing, self.plan.max_seconds
        if pacing is None or limit is None or self.steps_done >= self.phases.decay_from:
            return
        if self.steps_done and pacing.must_anneal(self._elapsed, limit):
            left = TIME_KEPT * (limit - self._elapsed) * self.steps_done / max(self.seconds, 1e-6)
            self._anneal(min(self.phases.end, self.steps_done + max(1, int(left))))
            self._tell("annealing", f"the time limit is near: the rate now falls to 0, within {limit:g} s")

    @property
    def _elapsed(self) -> float:
        """Seconds of choosing and training: what a time limit counts."""
        return self.seconds + self.progress.tuned.get("seconds", 0.0)

    def _stop_annealed(self) -> None:
        """End with the decay."""
        if self.progress.position > 0:  # by the clock, in the middle of an epoch
            self.close_epoch()
        if self.progress.failed:
            return
        self._prefer_the_end()
        of_time = self.progress.phases["end"] % self.steps_per_epoch > 0
        self.progress.stopped_because = (
            f"annealed within the time limit of {self.plan.max_seconds:g} s"
            if of_time and self.plan.max_seconds
            else "annealed after the validation loss stood still"
        )

    def _prefer_the_end(self) -> None:
        """Keep the annealed weights where no earlier ones were better by more than chance.

        Of many epochs the lowest validation loss is lucky as well as good, and weights half-way through a
        decay have not come to rest.
        """
        pacing, progress = self.plan.pacing, self.progress
        if pacing is None or pacing.named or self.problem.validation is None or not progress.history:
            return
        end = self.weights()
        losses, of_kept = (self._losses(weights, self.validation) for weights in (end, self.kept))
        counts = np.concatenate([np.asarray(batch.weights, np.float64) for batch in self.validation])
        gap, error = paired_gap(losses, of_kept, counts)
        if math.isfinite(gap) and gap <= error and progress.best_epoch < progress.epoch:
            self.kept, progress.best_epoch = end, progress.epoch
            progress.best_loss = progress.history[-1]["validation_loss"]

    def _losses(self, weights: tuple[Any, Any], batches: list[Batch]) -> np.ndarray:
        """Return the loss of each row of batches made by `cut`, with their padding."""
        params, model_state = weights
        answers = [self.problem.evaluation(params, model_state, batch)[1] for batch in batches]
        return np.concatenate([np.asarray(losses, np.float64) for losses in answers])

    def _anneal(self, end: float) -> None:
        self.progress.phases = {"decay_from": float(self.steps_done), "end": float(end)}

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is one to go on from."""
        return self.checkpoints is not None and self.checkpoints.latest() is not None

    def restore(self) -> None:
        """Go on from the newest checkpoint."""
        assert self.checkpoints is not None
        like = (self.state, self.trace, self.kept, self.turning, self.guarding.arrays())
        arrays, stored = self.checkpoints.restore(like)
        self.state, self.trace, self.kept, self.turning, snapshots = arrays
        self.guarding.restore(stored.pop("guard"), snapshots)
        self.progress = Progress.from_json(stored)
        self._offer_runner_up()
        self.order = self._order()
        self.seconds_before = self.progress.seconds
        where = f"step {self.steps_done:,} (epoch {self.progress.epoch + 1})"
        over = self.progress.stopped_because
        message = f"nothing left to do: {over}" if over else f"resumed at {where}"
        self._tell("resumed", message, {"history": self.progress.history})

    def run_stretch(self) -> None:
        """Do as many steps as fit into a blink, at most to the end of the epoch."""
        if self.epoch_is_complete:  # a checkpoint taken between the last step and the measuring
            return
        wanted = max(1, int(SECONDS_PER_STRETCH / self.seconds_per_step))
        first = self.progress.position
        to_snapshot = LONGEST - first % LONGEST
        stop = min(first + min(wanted, to_snapshot), self._next_snapshot())
        if self.plan.pacing is not None and not self.plan.pacing.named:
            stop = min(
                stop, max(first + 1, int(self.phases.end) - self.progress.epoch * self.steps_per_epoch)
            )
        began = time.monotonic()
        self.state, self.trace, done, worthwhile = self.stretch(
            self.state, self.trace, self.data, self._stretch(stop), self._pace()
        )
        self.progress.position = int(done)
        self.seconds_per_step = max((time.monotonic() - began) / (self.progress.position - first), 1e-7)
        losses = np.asarray(np.asarray(self.trace.losses)[first : self.progress.position], np.float64)
        trouble = self.guarding.see(losses if worthwhile else losses[:-1])
        if trouble is None and not worthwhile:
            trouble = self._not_a_number(losses[-1], len(losses))
        if trouble is not None:
            self.progress.position = first + trouble.steps
            self._recover(trouble)
        elif not self.epoch_is_complete:
            values = {"loss": float(losses[-1]), "seconds_per_step": self.seconds_per_step}
            self._tell("progress", values=values)
            if self.progress.position % LONGEST == 0:
                self._snapshot_if_due()
            if self.progress.position == self._next_snapshot(first):
                self.tell_weights(self.weights())

    def close_epoch(self) -> None:
        """Measure, write the epoch's row, keep the weights if they are the best so far, open the next."""
        weights = self.weights()
        progress = self.progress
        row = self._row()
        if row["train_loss"] is None:
            what = "float16 overflowed in every step of the epoch; all were skipped, to lower the loss scale"
            self._tell("skipped", what)
        if self.problem.validation is not None:
            measured = evaluate(
                self.problem.evaluation, *weights, self.validation, len(self.problem.validation.weights)
            )
            row["validation_loss"] = finite_or_none(measured.loss)
            row["validation_metric"] = finite_or_none(self.problem.score(measured.predictions))
            what, loss = "the validation loss", measured.loss
        else:  # nothing to choose by: the last finite weights are kept
            what, loss = "a weight", -float(row["epoch"]) if self.all_finite(weights) else math.nan
        if not np.isfinite(loss):
            self._recover(self._not_a_number(loss, 0, what))
            return
        self._watch_plateau(row)
        if self.problem.sharpness is not None:
            row["sharpness"] = finite_or_none(self.problem.sharpness(*weights))
        if loss < progress.best_loss:
            self.kept, progress.best_loss, progress.best_epoch = weights, loss, row["epoch"]
            if self._is_open and self.steps_done < self.phases.decay_from:
                self.turning = self.copies(self.state)
        progress.history.append(row)
        progress.layers += self._layer_rows()
        progress.epoch, progress.position = progress.epoch + 1, 0
        self._tell("epoch", values=row)
        self.tell_weights(weights)
        self._watch_length()
        self.trace, self.order = self._empty_trace(), self._order()
        self._snapshot_if_due()

    def tell_weights(self, weights: tuple[Any, Any]) -> None:
        """Tell the listeners where the descent is, if the plan asks for it."""
        per_epoch = min(self.plan.snapshots_per_epoch, self.steps_per_epoch)
        if per_epoch:
            within = self.progress.position * per_epoch // self.steps_per_epoch
            index = self.progress.epoch * per_epoch + within
            params, model_state = weights
            values = {"index": index, "params": params, "model_state": model_state}
            self._tell("weights", values=values)

    def _next_snapshot(self, position: int | None = None) -> int:
        """Return the step of the epoch, after `position`, at which the weights are told next, or the last."""
        position = self.progress.position if position is None else position
        per_epoch = max(1, min(self.plan.snapshots_per_epoch, self.steps_per_epoch))
        return -(-(position * per_epoch // self.steps_per_epoch + 1) * self.steps_per_epoch // per_epoch)

    def _watch_plateau(self, row: dict[str, Any]) -> None:
        if self.plan.plateau is None:
            return
        before = PlateauState(**self.progress.plateau) if self.progress.plateau else self.plan.plateau.init()
        watched = row["train_loss"] if row["validation_loss"] is None else row["validation_loss"]
        if watched is None:
            return
        after = self.plan.plateau.update(before, watched)
        self.progress.plateau = after._asdict()
        if after.multiplier < before.multiplier:
            rate = f"{self.learning_rate:.3g}"
            self._tell("plateau", f"the loss stands still: learning rate lowered to {rate}")

    def _row(self) -> dict[str, Any]:
        progress, done = self.progress, self.progress.position
        losses = np.asarray(self.trace.losses, np.float64)[:done]
        rows_of = np.full(done, float(self.plan.batch_size))
        rows_of[-1] = min(self.n_rows - (done - 1) * self.plan.batch_size, self.plan.batch_size)
        seen = np.isfinite(losses)  # float16 skips a step that overflows
        seconds = self.seconds
        since = seconds - (progress.history[-1]["seconds"] if progress.history else 0.0)
        pace = self._pace()
        multiplier = self.schedule(np.int32(self.steps_done - 1), pace.total_steps)
        return {
            "epoch": progress.epoch + 1,
            "step": self.steps_done,
            "train_loss": float(np.average(losses[seen], weights=rows_of[seen])) if seen.any() else None,
            "validation_loss": None,
            "validation_metric": None,
            "sharpness": None,
            "learning_rate": float(self.learning_rate * multiplier),
            "gradient_norm": finite_or_none(_mean(self.trace.gradient_norms)),
            "seconds": seconds,
            "examples_per_second": rows_of.sum() / max(since, 1e-9),
        }

    def _layer_rows(self) -> list[dict[str, Any]]:
        """Return what the epoch saw of each layer: means, None where nothing was seen."""
        seen = zip(_means(self.trace.layer_gradients), _means(self.trace.layer_ratios), strict=True)
        when = {"epoch": self.progress.epoch + 1, "step": self.steps_done}
        return [
            {
                **when,
                "layer": name,
                "gradient_norm": finite_or_none(gradient),
                "update_ratio": finite_or_none(ratio),
            }
            for name, (gradient, ratio) in zip(self.layers, seen, strict=True)
        ]

    def _empty_trace(self) -> Trace:
        return empty_trace(self.steps_per_epoch, len(self.layers))

    def check_limits(self, interrupted: bool) -> None:
        """Say why to stop, where there is a reason."""
        progress, plan = self.progress, self.plan
        if progress.stopped_because:
            return
        self._watch_clock()
        waited = progress.epoch - progress.best_epoch
        if self.progress.phases and self.steps_done >= self.progress.phases["end"]:
            self._stop_annealed()
        elif progress.epoch >= plan.epochs:
            self._prefer_the_end()
            progress.stopped_because = "all epochs done"
        elif plan.patience is not None and self.problem.validation is not None and waited >= plan.patience:
            progress.stopped_because = f"no better validation loss in {waited} epochs"
            self._tell("early-stop", f"{progress.stopped_because}; kept epoch {progress.best_epoch}")
        elif plan.max_seconds is not None and self._elapsed >= plan.max_seconds:
            if progress.position > 0:
                self.close_epoch()
            if progress.failed:
                return
            progress.stopped_because = f"time limit of {plan.max_seconds:g} s"
            self._tell("time-limit", progress.stopped_because)
        elif interrupted:
            progress.stopped_because = "interrupted"
            self._tell("interrupted", f"interrupted at step {self.steps_done:,} (epoch {progress.epoch + 1})")

    def _snapshot_if_due(self) -> None:
        """Copy what a roll-back would need, where it is time to."""
        if self.guarding.wants_snapshot(self.steps_done):
            arrays = self.copies((self.state.params, self.state.model_state, self.trace, self.kept))
            self.guarding.keep(Snapshot(self.steps_done, self.progress.facts(), arrays))

    def _recover(self, trouble: Trouble) -> None:
        """Roll back and go on with smaller steps, or stop where that has been tried."""
        steps_done, where = self.steps_done, f"at step {self.steps_done:,} (epoch {self.progress.epoch + 1})"
        action = self.guarding.decide(trouble, steps_done, self.learning_rate)
        if action is None:
            self._give_up(trouble, where)
            return
        values = {
            "trouble": trouble.kind,
            "loss_before": trouble.before,
            "loss": trouble.after,
            "back_to": action.snapshot.step,
        }
        message = f"{trouble.words} {where}: {action.words}"
        # as of the trouble: told before the clock is put back
        self._tell(action.kind, message, values | {"learning_rate": self.learning_rate})
        self.progress.go_back({k: v for k, v in action.snapshot.facts.items() if k != "watch"})
        self.progress.undone += steps_done - action.snapshot.step
        params, model_state, trace, kept = self.copies(action.snapshot.arrays)
        fresh = self.restarted(np.int32(action.snapshot.step), params, self.guarding.multiplier, *self.fresh)
        self.state = self.plan.devices.place_state(replace(fresh, model_state=model_state))
        self.trace, self.kept = self.plan.devices.place_state(trace), kept
        self.order = self._order()

    def _not_a_number(self, loss: float, steps: int, what: str = "the loss") -> Trouble:
        """Return the trouble with a loss that is not finite."""
        before = self.guarding.watch.pending[-1:] or self.guarding.watch.levels[-1:] or [None]
        kind = "non-finite" if self.state.loss_scale is None or steps == 0 else "overflow"
        return Trouble(kind, f"{what} became {loss}", steps, before[0])

    def _give_up(self, trouble: Trouble, where: str) -> None:
        """Stop, and say why and what to try."""
        progress, never = self.progress, self.guarding.watch.finite == 0
        start, before = progress.start_loss, trouble.before
        if trouble.kind == "overflow":
            why = "float16 overflows even with the smallest loss scale"
            remedy = "Try --precision bfloat16 or float32" + ("" if never else ", or a smaller learning rate")
        else:
            if trouble.kind == "diverged":
                why = "the steps are too large"
            elif never:
                why = "before the first step, so no learning rate is to blame"
            elif before is not None and start is not None and before > 2 * abs(start):
                why = f"the loss had risen from {start:.3g} to {before:.3g}: the steps are too large"
            else:
                was = "" if before is None else f"the loss was {before:.3g} just before: "
                why = f"{was}one step was too large, or it has no value there"
            smaller = min(self.learning_rate / 10, self.problem.rule.learning_rate)
            remedy = "Look for extreme values in the data" if never else f"Try a learning rate of {smaller:g}"
        if progress.undone:
            why += ", and smaller steps from an earlier point did not help"
        progress.failed = True
        progress.stopped_because = f"{trouble.words} {where}; {why}. {remedy}"
        kept = f"epoch {progress.best_epoch}" if progress.best_epoch else "the start"
        values = {"loss_before": before, "loss": trouble.after}
        self._tell(trouble.kind, f"{progress.stopped_because}. Kept the weights of {kept}", values)

    def save_if_due(self) -> None:
        """Write a checkpoint in the background when the last is old enough."""
        if (
            time.monotonic() - self.last_saved >= self.plan.checkpoint_every
            and not self.progress.stopped_because
        ):
            self.save()

    def save(self) -> None:
        """Write a checkpoint in the background."""
        if self.checkpoints is None:
            return
        self.progress.seconds = self.seconds
        arrays = (self.state, self.trace, self.kept, self.turning, self.guarding.arrays())
        # labelled by all steps ever done: after a roll-back, the newest is still the largest
        self.checkpoints.save(self.steps_done + self.progress.undone, arrays, self.resumable())
        self.last_saved = time.monotonic()
        self._tell("checkpoint", f"checkpoint at step {self.steps_done:,}")

    def resumable(self) -> dict[str, Any]:
        """Return the progress to store: an interruption is no reason to stop when the run is resumed."""
        content = {**self.progress.to_json(), "guard": self.guarding.to_json()}
        return (
            {**content, "stopped_because": ""} if self.progress.stopped_because == "interrupted" else content
        )

    def finish(self) -> None:
        """Save the end, and say so."""
        self.progress.seconds = self.seconds
        if not self.progress.failed:
            self.save()
        self._tell("finished", self.progress.stopped_because)

    def _tell(self, kind: str, message: str = "", values: dict[str, Any] | None = None) -> None:
        where = self.steps_done, self.progress.epoch, self.seconds
        tell(self.listeners, Event(kind, *where, message, values or {}))


PURPOSES = ("initial weights", "steps")


def run_key(seed: Any, purpose: str) -> jax.Array:
    """Return the random key of one purpose of a run: no two purposes share a stream.

    >>> bool(jax.random.bits(run_key(0, "steps")) == jax.random.bits(run_key(0, "initial weights")))
    False
    """
    return jax.random.fold_in(jax.random.key(seed), PURPOSES.index(purpose))


def evaluation_size(rows: Batch) -> int:
    """Return how many rows to evaluate at once: a power of two that holds them all, up to a limit."""
    return min(EVALUATION_ROWS, 1 << max(5, (len(rows.weights) - 1).bit_length()))


def weights_to_measure(problem: Problem, devices: Devices) -> Callable[..., tuple[Any, Any]]:
    """Return the function that copies the weights to measure out of a state that is about to be reused.

    Where the rule averages weights, batch statistics are not those of the average: one pass over the
    rows in training mode brings the running averages to where they belong (Izmailov et al. 2018,
    "Averaging Weights Leads to Wider Optima", https://arxiv.org/abs/1803.05407, section 3.2).
    """

    def weights(state: TrainState, data: Batch, stretch: Stretch) -> tuple[Any, Any]:
        params, model_state = state.params, state.model_state
        if problem.rule.evaluated is not None:
            params = problem.rule.evaluated(params, state.rule_state)
            if jax.tree.leaves(model_state):

                def restate(index: Any, model_state: Any) -> Any:
                    batch = batch_at(index, data, stretch, devices)
                    return problem.objective(params, model_state, batch, stretch.key)[1]

                model_state = jax.lax.fori_loop(0, stretch.order.shape[0], restate, model_state)
        return jax.tree.map(jnp.copy, (params, model_state))

    return weights


def _restarted(
    rule: Rule, step: Any, params: Any, multiplier: Any, loss_scale: Any, line_search: Any
) -> TrainState:
    """Return the state at `step`, the rule's memory cleared, a line search beginning with shorter trials."""
    shorter = jax.tree.map(lambda size: (size * multiplier).astype(size.dtype), line_search)
    return TrainState(step, params, None, rule.init(params), loss_scale, shorter)


def _mean(values: Any) -> float:
    """Return the mean of the numbers that are finite; NaN where none is."""
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan


def _means(table: Any) -> list[float]:
    """Return the mean of each column; see `_mean`."""
    return [_mean(column) for column in np.asarray(table, np.float64).T]
