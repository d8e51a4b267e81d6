"""A small network that learns points in the plane, with the package's own model, step and loop.

Everything random is a function of the seed and the step, so where a learner stands is a function of its
settings and the step alone: an address names it, and going back is starting again and stopping earlier.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from downslope.data.batches import padded_order
from downslope.data.encoding import Inputs
from downslope.data.order import epoch_order
from downslope.gradient.backprop import Batch, training_objective
from downslope.lab.shapes import Points
from downslope.losses import DEFAULT_LOSS, Loss, loss_by_name
from downslope.models.architecture import Architecture
from downslope.models.layers import Columns
from downslope.rules.registry import rule_by_name
from downslope.stepsize.schedule import schedule_by_name
from downslope.training.evaluate import make_evaluation
from downslope.training.keys import run_key
from downslope.training.state import initial_state
from downslope.training.step import Pace, make_step
from downslope.training.stretch import Stretch, empty_trace, make_stretch

MOST_STEPS = 5000
MEASURED_EVERY = 10  # steps, at least
MOST_LEARNERS = 12


@dataclass(frozen=True)
class Task:
    """What is learned and how; all of it, and a step, say where a learner stands.

    Attributes:
        points: the problem.
        hidden: width of each hidden layer.
        activation, batch_norm: as in `models.mlp.MLP`.
        rule, learning_rate: which way to step, and how far.
        penalty: λ of λ/2 · ‖weights‖², added to the loss; ≥ 0.
        batch_size: points averaged into one gradient.
        seed: fixes the initial weights and the order of the points.
    """

    points: Points
    hidden: tuple[int, ...]
    activation: str
    batch_norm: bool
    rule: str
    learning_rate: float
    penalty: float
    batch_size: int
    seed: int


class Measured(NamedTuple):
    """What was measured after so many steps: mean loss of both parts, and how many are told right."""

    step: int
    train_loss: float
    held_out_loss: float
    accuracy: float


class _Programs(NamedTuple):
    init: Callable[..., Any]
    stretch: Callable[..., Any]
    evaluated: Callable[..., Any]
    predictions: Callable[..., Any]


class Learner:
    """One network in training.

    Attributes:
        step: updates done.
        losses: of each batch, before its step, penalty included.
        history: what was measured on the way.
        failed_at: the step whose loss was not a number; None while all is well.
    """

    def __init__(self, task: Task):
        points = task.points
        self.task, self.step, self.failed_at = task, 0, None
        self.losses: list[float] = []
        self.history: list[Measured] = []
        self.loss = _loss(len(points.classes))
        n_outputs = self.loss.n_outputs(len(points.classes))
        self._programs = _compiled(
            n_outputs, len(points.classes), task.hidden, task.activation, task.batch_norm, task.rule
        )
        learnt = points.inputs[~points.held_out]
        self._mean, self._std = learnt.mean(axis=0), np.maximum(learnt.std(axis=0), 1e-12)
        self._rows = jax.device_put(_batch(self._scaled(learnt), points.codes[~points.held_out]))
        self._all = jax.device_put(_batch(self._scaled(points.inputs), points.codes))
        self._n_rows = len(learnt)
        self._batch_size = min(task.batch_size, self._n_rows)
        self._steps_per_epoch = -(-self._n_rows // self._batch_size)
        self._key = run_key(np.uint32(task.seed), "steps")
        self._state = self._programs.init(np.uint32(task.seed), self._rows, np.float32(task.penalty))
        self._measure()

    def advance(self, step: int) -> None:
        """Train up to `step`; stop early where the loss stops being a number."""
        pace = Pace(np.float32(self.task.learning_rate), np.float32(MOST_STEPS))
        epochs_between = -(-MEASURED_EVERY // self._steps_per_epoch)
        while self.step < step and self.failed_at is None:
            epoch, position = divmod(self.step, self._steps_per_epoch)
            order = padded_order(epoch_order(self.task.seed, epoch, self._n_rows), self._batch_size)
            stop = min(self._steps_per_epoch, position + step - self.step)
            size, rows = np.int32(self._batch_size), np.int32(self._n_rows)
            stretch = Stretch(order, size, rows, np.int32(position), np.int32(stop), self._key)
            self._state, trace, done, worthwhile = self._programs.stretch(
                self._state, empty_trace(self._steps_per_epoch), self._rows, stretch, pace
            )
            self.losses += np.asarray(trace.losses)[position : int(done)].tolist()
            self.step += int(done) - position
            if not worthwhile:
                self.failed_at = self.step
            elif int(done) == self._steps_per_epoch and (epoch + 1) % epochs_between == 0:
                self._measure()

    @property
    def now(self) -> Measured:
        """Return the measures at this step."""
        if self.history[-1].step == self.step or self.failed_at is not None:
            return self.history[-1]
        return self._measured()

    def probabilities(self, inputs: np.ndarray) -> np.ndarray:
        """Return the probability of each class at points in their own units, (points, classes)."""
        batch = _batch(self._scaled(inputs), np.zeros(len(inputs), np.int32))
        return np.asarray(self._programs.predictions(self._state, batch)[0])

    def layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return (weights (inputs, outputs), biases (outputs,)) of each layer, first to last.

        Where a layer is normalised over the batch, its bias is that of the normalisation.
        """
        params, _ = self._programs.evaluated(self._state)
        linears, norms = params.get("linears", {}), params.get("batch_norms", {})
        hidden = [(linears[place], norms.get(place, linears[place])) for place in sorted(linears)]
        return [
            (np.asarray(linear["kernel"]), np.asarray(biased["bias"]))
            for linear, biased in [*hidden, (params["output"], params["output"])]
        ]

    def _measure(self) -> None:
        self.history.append(self._measured())

    def _measured(self) -> Measured:
        predictions, losses = (
            np.asarray(array) for array in self._programs.predictions(self._state, self._all)
        )
        points = self.task.points
        right = predictions.argmax(axis=1) == points.codes
        held_out = points.held_out
        return Measured(
            self.step,
            float(losses[~held_out].mean()),
            float(losses[held_out].mean()),
            float(right[held_out].mean()),
        )

    def _scaled(self, inputs: np.ndarray) -> np.ndarray:
        return ((inputs - self._mean) / self._std).astype(np.float32)


class Learners:
    """The learners that pages of this session look at; asked for an earlier step, one starts again."""

    def __init__(self) -> None:
        self._learners: OrderedDict[Task, tuple[threading.Lock, list[Learner]]] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, task: Task, step: int, see: Callable[[Learner], Any]) -> Any:
        """Bring the learner of a task to a step, and return what `see` makes of it there."""
        with self._lock:
            own, held = self._learners.setdefault(task, (threading.Lock(), []))
            self._learners.move_to_end(task)
            while len(self._learners) > MOST_LEARNERS:
                self._learners.popitem(last=False)
        with own:
            if not held or held[0].step > step:
                held[:] = [Learner(task)]
            held[0].advance(step)
            return see(held[0])


def _loss(n_classes: int) -> Loss:
    return loss_by_name(
        DEFAULT_LOSS["classification"] if n_classes > 2 else "binary-cross-entropy",
        "classification",
        n_classes,
    )


def _batch(inputs: np.ndarray, codes: np.ndarray) -> Batch:
    no_categories = np.zeros((len(inputs), 0), np.int32)
    return Batch(Inputs(inputs, no_categories), codes, np.ones(len(inputs), np.float32))


@lru_cache(maxsize=64)
def _compiled(
    n_outputs: int, n_classes: int, hidden: tuple[int, ...], activation: str, batch_norm: bool, rule_name: str
) -> _Programs:
    """Return the compiled parts, which learners of other rates, penalties and seeds share."""
    rule, loss = rule_by_name(rule_name), _loss(n_classes)
    kind = "mlp" if hidden else "linear"
    model = Architecture(kind, Columns(2), n_outputs, hidden, activation, batch_norm).build()
    mean_loss = training_objective(model, loss)
    evaluation = make_evaluation(model, loss)

    def objective(params: Any, carried: Any, batch: Batch, key: Any) -> tuple[Any, Any]:
        """The loss with its penalty; λ is carried with the model state, so it never compiles anything."""
        model_state, penalty = carried
        value, model_state = mean_loss(params, model_state, batch, key)
        squares = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params) if leaf.ndim >= 2)
        return value + 0.5 * penalty * squares, (model_state, penalty)

    def init(seed: Any, rows: Batch, penalty: Any) -> Any:
        example = jax.tree.map(lambda array: array[:1], rows.inputs)
        params, model_state = model.init(run_key(seed, "initial weights"), example)
        return initial_state(params, (model_state, penalty), rule)

    def evaluated(state: Any) -> tuple[Any, Any]:
        params = rule.evaluated(state.params, state.rule_state) if rule.evaluated else state.params
        return params, state.model_state[0]

    def predictions(state: Any, batch: Batch) -> tuple[Any, Any]:
        return evaluation(*evaluated(state), batch)

    step = make_step(objective, rule, schedule_by_name("constant", warmup=0.0))
    return _Programs(jax.jit(init), jax.jit(make_stretch(step)), jax.jit(evaluated), jax.jit(predictions))
