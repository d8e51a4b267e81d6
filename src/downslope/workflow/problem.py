"""From a job to what is descended: its rows, and compiled parts, which runs that are alike share.

JAX keeps what it compiled of a function as long as there is that function. So runs of one process that are
given the same functions, on rows of the same number, are compiled once: folds of a cross-validation, seeds,
the second run of a notebook. A network, a loss or a rule of the user's own is not shared, for what it does
may depend on more than its arguments.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from downslope.gradient.backprop import Objective, training_objective
from downslope.gradient.precision import Precision, in_precision, summed_in_float32
from downslope.losses import Loss
from downslope.models.architecture import Architecture
from downslope.models.functional import Model
from downslope.rules.rule import Rule
from downslope.stepsize.linesearch import LineSearch
from downslope.stepsize.phases import phased
from downslope.stepsize.schedule import Schedule, schedule_by_name
from downslope.training.devices import Devices
from downslope.training.evaluate import Evaluation, make_evaluation
from downslope.training.keys import run_key
from downslope.training.plan import Problem
from downslope.training.programs import Programs, programs_of
from downslope.training.state import TrainState, initial_state
from downslope.training.step import Step, make_step
from downslope.workflow import measure
from downslope.workflow.job import Job
from downslope.workflow.trained import evaluation_of
from downslope.workflow.watch import watch_sharpness

WARMUP = 0.05  # share of the steps in which a schedule that falls first rises
NOT_WARMED = ("constant", "one-cycle")  # the latter rises by itself
SHARED = 8  # sets of parts that are kept, each with the programs of one table's size


class Parts(NamedTuple):
    """What compiled programs are made of.

    Attributes:
        objective, step, schedule, programs: see `training.plan.Problem`.
        evaluation: the same; None: it is that of `workflow.trained`.
        begin: ``(params, model_state) -> state``, that before the first step; both are used up.
    """

    objective: Objective
    step: Step
    schedule: Schedule
    evaluation: Evaluation | None
    programs: Programs
    begin: Callable[[Any, Any], TrainState]


def problem_of(job: Job) -> tuple[Problem, TrainState]:
    """Return what is to be descended, and where from."""
    parts, encoding, rows = _parts_of(job), job.prepared.encoding, job.prepared.rows
    validation, loss = rows.get("validation"), job.prepared.loss

    def score(predictions: np.ndarray) -> float:
        assert validation is not None
        return measure.score(encoding, predictions, np.asarray(validation.targets))

    problem = Problem(
        objective=parts.objective,
        step=parts.step,
        rule=job.rule,
        schedule=parts.schedule,
        evaluation=parts.evaluation or evaluation_of(job.architecture, job.model, loss),
        score=score,
        train=rows["train"],
        validation=validation,
        sharpness=watch_sharpness(job.model, loss, rows["train"]) if job.config["watch_sharpness"] else None,
        programs=parts.programs,
    )
    example = jax.tree.map(lambda array: array[:1], rows["train"].inputs)
    init = job.model.init if job.by_name else jax.jit(job.model.init)
    return problem, parts.begin(*init(run_key(np.uint32(job.plan.seed), "initial weights"), example))


def named_schedule(name: str) -> Schedule:
    """Return the schedule called `name`, with a warm-up where it suits it."""
    return schedule_by_name(name, warmup=0.0 if name in NOT_WARMED else WARMUP)


def _parts_of(job: Job) -> Parts:
    plan, loss = job.plan, job.prepared.loss
    others = (
        *(loss, job.rule, job.schedule, job.raced, job.precision),
        *(plan.micro_batches, job.line_search, plan.devices),
    )
    if job.architecture is None or not job.by_name:
        return _parts(job.model, *others)
    sizes = (plan.batch_size, *((name, len(rows.weights)) for name, rows in job.prepared.rows.items()))
    return _shared(job.architecture.alike, *others, sizes)


@lru_cache(maxsize=SHARED)
def _shared(architecture: Architecture, *others: Any) -> Parts:
    *parts, _ = others  # the sizes only bound what one set of parts is compiled for
    return _parts(architecture.build(), *parts)


def _parts(
    network: Model,
    loss: Loss,
    rule: Rule,
    schedule: str | Schedule,
    raced: bool,
    precision: Precision,
    micro_batches: int,
    line_search: LineSearch | None,
    devices: Devices,
) -> Parts:
    model = in_precision(network, precision)
    if isinstance(schedule, str):
        multiplier = named_schedule(schedule) if schedule != "auto" else None
    else:
        multiplier = schedule
    if raced or multiplier is None:
        multiplier = phased(multiplier)
    objective = training_objective(model, loss)
    step = make_step(
        objective, rule, multiplier, precision=precision, micro_batches=micro_batches, line_search=line_search
    )

    def begin(params: Any, model_state: Any) -> TrainState:
        loss_scale, searched = precision.initial(), line_search and line_search.init()
        return initial_state(params, model_state, rule, loss_scale=loss_scale, line_search=searched)

    return Parts(
        objective=objective,
        step=step,
        schedule=multiplier,
        evaluation=None
        if model is network
        else jax.jit(summed_in_float32(make_evaluation(model, loss), precision)),
        programs=programs_of(objective, step, rule, multiplier, devices),
        begin=jax.jit(begin, donate_argnums=(0, 1)),
    )
