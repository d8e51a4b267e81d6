"""Ways to train the same network on the same rows, each compiled once and run from many seeds and rates.

All contenders stand on one `Ground`: the same split, the same encoding, and for each seed the same
initial weights and the same order of the rows.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from downslope.data.batches import padded_order
from downslope.data.order import epoch_order
from downslope.gradient.backprop import training_objective, weighted_mean
from downslope.gradient.precision import in_precision
from downslope.report.dimensions_figure import ten_to
from downslope.rules.rule import Rule
from downslope.study import bruteforce
from downslope.study.compare import ArmRun, has_diverged
from downslope.training.choosing import exchanged
from downslope.training.compiling import jit_steps
from downslope.training.devices import ONE_DEVICE
from downslope.training.evaluate import cut, evaluate, evaluation_size, even_part, make_evaluation
from downslope.training.keys import run_key
from downslope.training.loop import SECONDS_PER_STRETCH
from downslope.training.programs import weights_to_measure
from downslope.training.progress import finite_or_none
from downslope.training.state import initial_state
from downslope.training.step import Pace, make_step
from downslope.training.stretch import Stretch, empty_trace, make_stretch
from downslope.workflow import measure
from downslope.workflow.job import Job
from downslope.workflow.prepare import take
from downslope.workflow.problem import named_schedule

MEASUREMENTS = 60  # of the validation rows in one run, beside that of the start
MANY_ROWS = 2000  # to validate on: one more, on which the weights are wrong, would say nothing
PROBE_SECONDS = 0.2  # how long a contender is run to learn how long its steps take

Stop = Callable[[], bool]


@dataclass(frozen=True)
class Course:
    """How long a run is, and where it is measured.

    Attributes:
        steps: updates in all; of a search, a third of its losses.
        marks: ascending step numbers at which to measure, the last of them `steps`.
    """

    steps: int
    marks: tuple[int, ...]


def course_of(steps: int, epochs: int | None = None) -> Course:
    """Return a course with about `MEASUREMENTS` marks, of which the ends of the epochs are some or all.

    >>> course_of(400, epochs=20).marks[:5]
    (7, 13, 20, 27, 33)
    """
    count = MEASUREMENTS
    if epochs is not None:
        count = epochs * max(1, MEASUREMENTS // epochs)
        count = math.ceil(epochs / math.ceil(epochs / MEASUREMENTS)) if epochs > MEASUREMENTS else count
    marks = {round(steps * mark / count) for mark in range(1, count + 1)} - {0}
    return Course(steps, tuple(sorted(marks)))


class Ground:
    """What all contenders share: the network, the rows on the device, how weights are measured."""

    def __init__(self, job: Job):
        self.job, self.model = job, in_precision(job.model, job.precision)
        prepared = job.prepared
        self.loss, self.encoding = prepared.loss, prepared.encoding
        # measured so often that a part must do
        self.rows = {**prepared.rows, "validation": even_part(prepared.rows["validation"])}
        self.n_rows = len(self.rows["train"].weights)
        self.held_out = "test" if "test" in self.rows else "validation"
        self.objective = training_objective(self.model, self.loss)
        self.evaluation = jax.jit(make_evaluation(self.model, self.loss))
        self.train = jax.device_put(self.rows["train"])
        self._size = evaluation_size(self.rows["validation"])
        self._cut = {split: cut(self.rows[split], self._size) for split in {"validation", self.held_out}}
        self._wrong = exchanged(self.rows["validation"])
        self._example = jax.tree.map(lambda array: array[:1], self.rows["train"].inputs)
        self._init = jax.jit(lambda seed, x: self.model.init(run_key(seed, "initial weights"), x))

    def start(self, seed: int) -> tuple[Any, Any]:
        """Return the initial weights and model state of a seed."""
        return self._init(np.uint32(seed), self._example)

    def loss_of(self, split: str, params: Any, model_state: Any) -> float:
        """Return the mean loss of the rows of a split."""
        return self._measured(split, params, model_state).loss

    def cautious_loss(self, loss: float, params: Any, model_state: Any) -> float:
        """Return the validation loss, if there were one row more, on which the weights are wrong."""
        n_rows = len(self._wrong.weights)
        if n_rows > MANY_ROWS:
            return loss
        wrong = evaluate(self.evaluation, params, model_state, cut(self._wrong, self._size), n_rows)
        return (n_rows * loss + wrong.loss) / (n_rows + 1)

    def metrics(self, params: Any, model_state: Any) -> dict[str, float]:
        """Return loss and metrics of the held-out rows, those that are numbers."""
        measured = self._measured(self.held_out, params, model_state)
        found = measure.metrics_of(self.encoding, measured, np.asarray(self.rows[self.held_out].targets))
        return {name: value for name, value in found.items() if finite_or_none(value) is not None}

    def _measured(self, split: str, params: Any, model_state: Any) -> Any:
        rows = self.rows[split]
        batches = self._cut.get(split) or cut(rows, self._size)  # those of training are rarely measured
        return evaluate(self.evaluation, params, model_state, batches, len(rows.weights))


class Contender(Protocol):
    """One way to train, at any rate and from any seed.

    Attributes:
        rule: its name.
        batch_size: rows per gradient, or per loss of a search.
        default_rate: where the search for its rate begins.
    """

    rule: str
    batch_size: int
    default_rate: float

    def seconds_per_step(self) -> float:
        """Return how long a step takes, measured; the first call compiles."""
        ...

    def run(self, seed: int, rate: float, course: Course, stop: Stop) -> ArmRun | None:
        """Return one run; None where `stop` said so before its end."""
        ...

    def note(self, steps: int) -> str:
        """Return what must be said about a run of so many steps, in a sentence, or ``""``."""
        ...


class _Notebook:
    """Writes a run down as it is measured, and keeps the best weights on the validation rows."""

    def __init__(self, ground: Ground, steps_per_pass: int):
        self._ground, self._steps_per_pass = ground, steps_per_pass
        self.steps, self.passes, self.seconds, self.losses = [], [], [], []
        self._kept, self._lowest = None, math.inf

    def measure(self, step: int, seconds: float, weights: tuple[Any, Any]) -> bool:
        """Measure the weights after a step; False where their loss is not a number."""
        loss = self._ground.loss_of("validation", *weights)
        self.steps.append(step)
        self.passes.append(step / self._steps_per_pass)
        self.seconds.append(seconds)
        self.losses.append(loss)
        if loss < self._lowest:
            self._kept, self._lowest = weights, loss
        return math.isfinite(loss)

    def run(self, seed: int, rate: float, diverged: bool) -> ArmRun:
        """Return the run as it stands."""
        metrics = cautious = None
        if not diverged and self._kept is not None:
            metrics = self._ground.metrics(*self._kept)
            cautious = finite_or_none(self._ground.cautious_loss(self._lowest, *self._kept))
        columns = self.steps, self.passes, self.seconds, self.losses
        return ArmRun(seed, rate, *columns, diverged=diverged, metrics=metrics, cautious=cautious)


class RuleContender:
    """A contender that follows a rule downhill, by the same compiled stretches as `downslope train`."""

    def __init__(self, ground: Ground, rule: Rule, schedule: str, batch_size: int):
        job = ground.job
        self.rule, self.batch_size, self.default_rate = rule.name, batch_size, rule.learning_rate
        self._ground, self._pace = ground, SECONDS_PER_STRETCH / 8
        self._newest: tuple[Any, Any] = None, None
        share = job.plan.micro_batches
        self._lanes = -(-batch_size // share) * share
        self._steps_per_epoch = -(-ground.n_rows // batch_size)
        # one batch of all rows: a stretch may run on over many epochs, see `training.stretch.Stretch`
        self._endless = self._steps_per_epoch == 1 and self._lanes == ground.n_rows
        multiplier = named_schedule(schedule)
        step = make_step(ground.objective, rule, multiplier, precision=job.precision, micro_batches=share)
        self._stretch = jit_steps(make_stretch(step), donate_argnums=(0, 1))
        self._weights = jax.jit(weights_to_measure(ground.objective, rule, ONE_DEVICE))
        loss_scale = job.precision.initial()

        def initial(params: Any, model_state: Any) -> Any:
            state = initial_state(params, model_state, rule, loss_scale=loss_scale)
            return jax.tree.map(jnp.copy, state)  # the stretch takes it over; nothing may be in it twice

        self._initial = jax.jit(initial)

    def seconds_per_step(self) -> float:
        """See `Contender`."""
        still = 1e-3 * self.default_rate  # nothing can diverge
        for seconds in (0.0, PROBE_SECONDS):  # the first compiles
            state, done, began = self._initial(*self._ground.start(0)), 0, time.monotonic()
            while done == 0 or time.monotonic() - began < seconds:
                state, done, _ = self._advance(state, 0, still, done, done + 8, done + 8)
            self._pace = max((time.monotonic() - began) / done, 1e-7)
        return self._pace

    def run(self, seed: int, rate: float, course: Course, stop: Stop) -> ArmRun | None:
        """See `Contender`."""
        state = self._initial(*self._ground.start(seed))
        notebook = _Notebook(self._ground, -(-self._ground.n_rows // self.batch_size))
        first = weights = self._measured(state, seed, 0)
        notebook.measure(0, 0.0, first)
        step, seconds, finite = 0, 0.0, True
        for mark in course.marks:
            while step < mark and finite:
                if stop():
                    return None
                began = time.monotonic()
                state, step, finite = self._advance(state, seed, rate, step, mark, course.steps)
                seconds += time.monotonic() - began
            weights = self._measured(state, seed, step)
            finite = notebook.measure(step, seconds, weights) and finite
            if not finite:
                break
        rose = finite and notebook.losses[-1] > notebook.losses[0]  # else it needs no measuring
        rose = rose and self._ground.loss_of("train", *weights) > self._ground.loss_of("train", *first)
        return notebook.run(seed, rate, not finite or has_diverged(notebook.losses, train_rose=rose))

    def note(self, steps: int) -> str:
        """See `Contender`."""
        return ""

    def _advance(
        self, state: Any, seed: int, rate: float, step: int, mark: int, total: int
    ) -> tuple[Any, int, bool]:
        """Step until `mark`, the end of the epoch, or a blink is over; return the state and the step."""
        epoch, position = (0, 0) if self._endless else divmod(step, self._steps_per_epoch)
        wanted = max(1, min(mark - step, int(SECONDS_PER_STRETCH / self._pace)))
        last = position + wanted if self._endless else min(position + wanted, self._steps_per_epoch)
        stretch = self._at(seed, epoch)._replace(start=np.int32(position), stop=np.int32(last))
        pace = Pace(np.float32(rate), np.float32(total))
        trace = empty_trace(self._steps_per_epoch)
        state, trace, done, worthwhile = self._stretch(state, trace, self._ground.train, stretch, pace)
        return state, step + int(done) - position, bool(worthwhile)

    def _measured(self, state: Any, seed: int, step: int) -> tuple[Any, Any]:
        """Return copies of the weights to measure and their model state."""
        epoch = 0 if self._endless else max(step - 1, 0) // self._steps_per_epoch
        return self._weights(state, self._ground.train, self._at(seed, epoch))

    def _at(self, seed: int, epoch: int) -> Stretch:
        """Return a stretch of no steps in an epoch; the newest is remembered."""
        if self._newest[0] != (seed, epoch):
            n_rows = self._ground.n_rows
            rows = np.arange(n_rows) if self._steps_per_epoch == 1 else epoch_order(seed, epoch, n_rows)
            order = jax.device_put(padded_order(rows, self.batch_size, self._lanes))
            sizes = np.int32(self.batch_size), np.int32(n_rows)
            stretch = Stretch(order, *sizes, np.int32(0), np.int32(0), _steps_key(np.uint32(seed)))
            self._newest = (seed, epoch), stretch
        return self._newest[1]


class SearchContender:
    """A contender that only looks: random search or grid search over the weights, see `study.bruteforce`.

    A loss is that of one batch, the same for all tries of a run, as large as a descent's. The rate is the
    radius of the box around the initial weights.
    """

    default_rate = 1.0

    def __init__(self, ground: Ground, rule: str, batch_size: int):
        self.rule, self.batch_size = rule, batch_size
        self._ground, self._pace = ground, 1e-3
        params, _ = ground.start(0)
        flat, self._unravel = ravel_pytree(params)
        self._n_weights, self._box = flat.size, bruteforce.box(params)
        self._look = jax.jit(self._search)

    def seconds_per_step(self) -> float:
        """See `Contender`."""
        tries = 4 * bruteforce.TRIES_AT_ONCE
        for _ in range(2):  # the first compiles
            began = time.monotonic()
            self._after(self._prepared(0, 1.0, tries), bruteforce.nothing_yet(), 0, tries)
            self._pace = max((time.monotonic() - began) / tries * bruteforce.LOSSES_PER_GRADIENT, 1e-7)
        return self._pace

    def run(self, seed: int, rate: float, course: Course, stop: Stop) -> ArmRun | None:
        """See `Contender`."""
        tries = self._tries(course.steps)
        notebook = _Notebook(self._ground, -(-self._ground.n_rows // self.batch_size))
        prepared = self._prepared(seed, rate, tries)
        start, model_state = prepared[0], prepared[1]
        notebook.measure(0, 0.0, (self._unravel(start), model_state))
        best, done, seconds = bruteforce.nothing_yet(), 0, 0.0
        self._after(prepared, best, 0, 0)  # compiles, where the grid has another number of axes
        for mark in course.marks:
            until = min(mark * bruteforce.LOSSES_PER_GRADIENT, tries)
            while done < until:
                if stop():
                    return None
                began = time.monotonic()
                blink = max(bruteforce.TRIES_AT_ONCE, int(3 * SECONDS_PER_STRETCH / self._pace))
                next_stop = min(until, done + blink)
                best, done = self._after(prepared, best, done, next_stop), next_stop
                seconds += time.monotonic() - began
            notebook.measure(mark, seconds, (self._weights(prepared, best), model_state))
        return notebook.run(seed, rate, diverged=False)

    def note(self, steps: int) -> str:
        """See `Contender`."""
        tries, weights = self._tries(steps), f"{self._n_weights:,}"
        batch = f"each a loss of the same batch of {self.batch_size:,} rows"
        if self.rule == "random-search":
            return f"{tries:,} tries in a box around the start, {batch}; {weights} weights"
        k, covered = bruteforce.GRID_POINTS, len(self._axes(steps, 0))
        whole = bruteforce.tries_of_whole_grid(self._n_weights)
        return (
            f"{tries:,} tries, {batch}: a grid of {k} points per axis over {covered} of {weights} weights, "
            f"drawn by the seed; over all of them it would take {ten_to(round(whole))}"
        )

    def _tries(self, steps: int) -> int:
        allowed = steps * bruteforce.LOSSES_PER_GRADIENT
        if self.rule == "random-search":
            return allowed
        return bruteforce.GRID_POINTS ** len(self._axes(steps, 0))

    def _axes(self, steps: int, seed: int) -> np.ndarray:
        return bruteforce.grid_axes(self._n_weights, steps * bruteforce.LOSSES_PER_GRADIENT, seed)

    def _prepared(self, seed: int, radius: float, tries: int) -> tuple[Any, ...]:
        """Return what a run's tries are a function of: start, model state, batch, radius, key, axes."""
        params, model_state = self._ground.start(seed)
        rows = epoch_order(seed, 0, self._ground.n_rows)[: self.batch_size]
        batch = jax.device_put(take(self._ground.rows["train"], rows))
        axes = bruteforce.grid_axes(self._n_weights, tries, seed)
        return (
            ravel_pytree(params)[0],
            model_state,
            batch,
            np.float32(radius),
            _steps_key(np.uint32(seed)),
            axes,
        )

    def _candidate(self, start: Any, radius: Any, key: Any, axes: Any) -> bruteforce.Candidate:
        if self.rule == "random-search":
            return bruteforce.random_candidate(start, self._box, radius, key)
        return bruteforce.grid_candidate(start, self._box, radius, axes)

    def _search(self, prepared: tuple[Any, ...], best: bruteforce.Best, first: Any, stop: Any) -> Any:
        start, model_state, batch, radius, key, axes = prepared

        def loss(flat: Any) -> Any:
            params = self._unravel(flat)
            outputs, _ = self._ground.model.apply(params, model_state, batch.inputs, key=None, train=False)
            return weighted_mean(self._ground.loss.per_example(outputs, batch.targets), batch.weights)

        return bruteforce.search(loss, self._candidate(start, radius, key, axes), best, first, stop)

    def _after(self, prepared: tuple[Any, ...], best: bruteforce.Best, first: int, stop: int) -> Any:
        return jax.block_until_ready(self._look(prepared, best, np.int32(first), np.int32(stop)))

    def _weights(self, prepared: tuple[Any, ...], best: bruteforce.Best) -> Any:
        start, _, _, radius, key, axes = prepared
        return self._unravel(self._candidate(start, radius, key, axes)(best.index))


@jax.jit
def _steps_key(seed: Any) -> Any:
    return run_key(seed, "steps")
