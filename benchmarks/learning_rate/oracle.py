"""The oracle: every rule × learning rate × schedule × seed on the very workload, judged by the test rows.

    for each (rate, schedule, seed):  descend all epochs from the seed's start, in the seed's order,
                                      and after each epoch measure the validation and the test rows

It is the same work as `downslope.train(…, learning_rate=…, schedule=…)`: the same network, rows, order of
the rows, random keys and step (`training.step.make_step`), tested equal. But the rate, the schedule and the
seed are arguments of one compiled program, so hundreds of descents cost one compilation for each rule.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.learning_rate.workloads import Workload
from downslope.data.batches import padded_order
from downslope.data.order import epoch_order
from downslope.gradient.backprop import Batch, training_objective, weighted_mean
from downslope.stepsize.schedule import schedule_by_name
from downslope.training.keys import run_key
from downslope.training.step import Pace, make_step
from downslope.training.stretch import Stretch, batch_at
from downslope.workflow.job import Job, new_job
from downslope.workflow.options import options_from
from downslope.workflow.problem import WARMUP, problem_of

RULES = ("momentum", "adamw", "nadamw", "lion")
RATES = tuple(float(f"{10.0 ** (power / 2):.2g}") for power in range(-10, 3))  # 1e-5 … 10
SCHEDULES = ("constant", "cosine", "linear")
SEEDS = (10, 11, 12)  # none of those that the best setting is run with again
AT_ONCE = 13  # descents side by side in one call


class Setting(NamedTuple):
    """One descent of the sweep."""

    learning_rate: float
    schedule: str
    seed: int


class Start(NamedTuple):
    """What a seed decides.

    Attributes:
        state: before the first step.
        train, validation, test: its rows.
        order: (epochs, steps, lanes), the rows of each batch.
        key: of the steps.
        scale: what brings its losses to the units of all rows, where targets are standardised.
    """

    state: Any
    train: Batch
    validation: Batch
    test: Batch
    order: np.ndarray
    key: Any
    scale: np.ndarray


def job_of(workload: Workload, **options: Any) -> Job:
    """Return the job that `downslope.train` would do."""
    assert workload.rows is not None
    x, y = workload.rows[0]
    options = {"early_stopping": False, "guard": False, **workload.options, **options}
    return new_job(x, y, False, False, options_from({**options, "model": workload.network}))


def scale_of(job: Job) -> float:
    """Return what a loss is multiplied by to be in the units of the rows as they are."""
    return float(job.prepared.encoding.labels.std) ** 2 if job.prepared.encoding.task == "regression" else 1.0


def sweep(
    workload: Workload,
    rule: str,
    settings: Sequence[Setting],
    tell: Callable[[str], None] = lambda words: None,
    **options: Any,
) -> list[list[float]]:
    """Return, for each setting, the test loss after each epoch, and last that of the weights to keep.

    Those to keep are the best on the validation rows. What is not finite is infinite.
    """
    seeds = sorted({setting.seed for setting in settings})
    jobs = [
        job_of(workload, optimizer=rule, learning_rate=1.0, schedule="constant", seed=seed, **options)
        for seed in seeds
    ]
    starts = jax.tree.map(lambda *arrays: np.stack(arrays), *[_start(job) for job in jobs])
    descents = jax.jit(_descents(jobs[0]))
    seen: list[list[float]] = []
    for first in range(0, len(settings), AT_ONCE):
        tell(f"{rule}: {first} of {len(settings)}")
        some = list(settings[first : first + AT_ONCE])
        lanes = (
            np.array([setting.learning_rate for setting in some], np.float32),
            np.array([SCHEDULES.index(setting.schedule) for setting in some]),
            np.array([seeds.index(setting.seed) for setting in some]),
        )
        validation, test = map(np.asarray, descents(lanes, starts))
        seen += [_kept(*losses) for losses in zip(validation, test, strict=True)]
    return seen


def _start(job: Job) -> Start:
    _, state = problem_of(job)
    plan, rows = job.plan, job.prepared.rows
    n_rows = len(rows["train"].weights)
    order = [
        padded_order(
            epoch_order(plan.seed, epoch, n_rows) if n_rows > plan.batch_size else np.arange(n_rows),
            plan.batch_size,
        )
        for epoch in range(plan.epochs)
    ]
    key = jax.random.key_data(run_key(np.uint32(plan.seed), "steps"))
    parts = (rows["train"], rows["validation"], rows["test"])
    return Start(state, *parts, np.stack(order), key, np.asarray(scale_of(job), np.float32))


def _descents(job: Job) -> Callable[[Any, Start], tuple[Any, Any]]:
    """Return ``f(lanes, starts) -> (validation losses, test losses)``, (lanes, epochs) each."""
    model, loss, plan = job.model, job.prepared.loss, job.plan
    named = [schedule_by_name(name, warmup=0.0 if name == "constant" else WARMUP) for name in SCHEDULES]

    def schedule(step: Any, length: Any) -> Any:
        which, total_steps = length
        return jnp.stack([one(step, total_steps) for one in named])[which]

    step = make_step(training_objective(model, loss), job.rule, schedule)

    def measured(state: Any, rows: Batch) -> Any:
        outputs, _ = model.apply(state.params, state.model_state, rows.inputs, key=None, train=False)
        return weighted_mean(loss.per_example(outputs, rows.targets), rows.weights)

    def descent(lane: tuple[Any, Any, Any], starts: Start) -> tuple[Any, Any]:
        rate, which, seed = lane
        start = jax.tree.map(lambda arrays: jnp.asarray(arrays)[seed], starts)
        epochs, steps, _ = start.order.shape
        n_rows = len(start.train.weights)
        pace = Pace(rate, (which, np.float32(epochs * steps)))
        run_key = jax.random.wrap_key_data(start.key)

        def epoch(state: Any, order: Any) -> tuple[Any, tuple[Any, Any]]:
            stretch = Stretch(order, plan.batch_size, n_rows, 0, steps, run_key)

            def one_step(index: Any, state: Any) -> Any:
                key = jax.random.fold_in(run_key, state.step)
                return step(state, batch_at(index, start.train, stretch), key, pace)[0]

            state = jax.lax.fori_loop(0, steps, one_step, state)
            test = measured(state, start.test) * start.scale
            return state, (measured(state, start.validation) * start.scale, test)

        return jax.lax.scan(epoch, start.state, start.order)[1]

    return jax.vmap(descent, in_axes=(0, None))


def _kept(validation: np.ndarray, test: np.ndarray) -> list[float]:
    validation = np.where(np.isfinite(validation), validation, math.inf)
    kept = test[int(np.argmin(validation))] if np.isfinite(validation).any() else math.inf
    return [float(loss) if np.isfinite(loss) else math.inf for loss in (*test, kept)]
