"""From the user's options to a job in which nothing is left open; nothing is compiled or written here."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from downslope.data.bundled import BUNDLED
from downslope.data.source import dataset_name
from downslope.errors import OptionError
from downslope.gradient.precision import Precision, precision_by_name
from downslope.models.architecture import Architecture
from downslope.models.functional import Model
from downslope.models.layers import Columns
from downslope.rules.decay import DECOUPLED
from downslope.rules.rule import Rule
from downslope.runs import folder as runs
from downslope.stepsize.linesearch import LineSearch, backtracking
from downslope.stepsize.plateau import reduce_on_plateau
from downslope.stepsize.schedule import Schedule
from downslope.training.devices import choose_devices
from downslope.training.guard import UNGUARDED, Guard
from downslope.training.pacing import PATIENCE, Pacing
from downslope.training.plan import Plan
from downslope.workflow import defaults
from downslope.workflow.arrays import ArrayEncoding
from downslope.workflow.options import MEASURED_SCHEDULES, OWN, TrainOptions
from downslope.workflow.own_network import check_network, own_model
from downslope.workflow.prepare import Prepared, goes_in_as_it_is, prepare
from downslope.workflow.rule_options import base_rule, wrapped


@dataclass(frozen=True)
class Job:
    """A run that is about to start, every option resolved.

    Attributes:
        prepared: the arrays.
        model: the network.
        architecture: the network in numbers; None for the user's own.
        rule, plan, precision: what is trained, how, and for how long.
        schedule: the schedule that is compiled in: its name, or the user's own.
        raced: whether the learning rate is chosen by a race.
        nominal_steps: how long the run is, as far as that is known; what the race may cost depends on it.
        line_search: measures every step, instead of the schedule; None: no.
        config: the content of config.json.
        folder: where to write; None: nowhere.
        resume: whether to go on from the folder's newest checkpoint.
        read_seconds: how long reading and encoding took.
        by_name: whether network, loss, rule and schedule are Downslope's own, so that their names say what
            they do.
        overwrite: whether a run that is in the folder already is to be replaced.
    """

    prepared: Prepared
    model: Model
    architecture: Architecture | None
    rule: Rule
    plan: Plan
    precision: Precision
    schedule: str | Schedule
    raced: bool
    nominal_steps: int
    line_search: LineSearch | None
    config: dict[str, Any]
    folder: Path | None
    resume: bool
    read_seconds: float
    by_name: bool
    overwrite: bool = False

    @property
    def described(self) -> str:
        """The network in a few words."""
        return self.config["model"] if self.architecture is None else str(self.architecture)


def new_job(data: Any, y: Any, out: Any, overwrite: bool, options: TrainOptions) -> Job:
    """Return the job of a fresh run; arguments as in `train`."""
    folder = None
    if out is not False:
        folder = runs.next_free(Path("runs"), dataset_name(data)) if out in (None, True) else Path(out)
        runs.check_free(folder, overwrite)
    return replace(job_of(data, y, options, folder, resume=False), overwrite=overwrite)


def job_of(data: Any, y: Any, options: TrainOptions, folder: Path | None, resume: bool) -> Job:
    """Resolve everything that was left open; nothing is compiled or written yet."""
    began = time.monotonic()
    _check_reading(data, options)
    prepared = prepare(data, y, options)
    precision = precision_by_name(options.precision)
    base = base_rule(options)
    rule = wrapped(base, options)
    raced = is_raced(options)
    schedule = options.schedule or ("auto" if raced and rule.schedule != "constant" else rule.schedule)
    if not isinstance(schedule, str):
        _check_schedule(schedule)
    architecture = _architecture(options, prepared) if isinstance(options.model, str) else None
    model = architecture.build() if architecture is not None else own_model(options.model, prepared.encoding)
    plan = _plan(options, rule, schedule, raced, prepared, _least_decay(options, base, prepared))
    if architecture is None or callable(options.loss):
        batch = jax.tree.map(lambda array: array[: plan.batch_size], prepared.rows["train"])
        check_network(model, prepared.loss, precision, batch, len(prepared.encoding.classes))
    config = {
        "data": prepared.name,
        "data_path": _path_of(data),
        "data_fingerprint": prepared.fingerprint,
        "test_fingerprint": prepared.test_fingerprint,
        "sample_weight_fingerprint": prepared.sample_weight_fingerprint,
        "array_columns": prepared.array_columns,
        **_resolved(options, prepared, architecture, base, schedule, plan, raced),
    }
    steps_per_epoch = -(-len(prepared.rows["train"].weights) // plan.batch_size)
    epochs = defaults.epochs(steps_per_epoch) if _is_open(plan) else plan.epochs
    return Job(
        prepared=prepared,
        model=model,
        architecture=architecture,
        rule=rule,
        plan=plan,
        precision=precision,
        schedule="constant" if schedule in MEASURED_SCHEDULES else schedule,
        raced=raced,
        nominal_steps=epochs * steps_per_epoch,
        line_search=_line_search(plan.learning_rate, steps_per_epoch) if schedule == "line-search" else None,
        config=config,
        folder=folder,
        resume=resume,
        read_seconds=time.monotonic() - began,
        by_name=architecture is not None
        and isinstance(options.optimizer, str)
        and isinstance(schedule, str)
        and not prepared.loss.is_own,
    )


def _check_reading(data: Any, options: TrainOptions) -> None:
    """Refuse options that say how columns are read where there are no such columns; nothing is read yet."""
    test = options.test[0] if isinstance(options.test, tuple) else options.test
    from_file = any(isinstance(one, str | Path) and one not in BUNDLED for one in (data, test))
    if not from_file and (not options.header or options.delimiter is not None):
        option = "--delimiter" if options.header else "--no-header"
        raise OptionError(f"{option} is for text files; the data is none, so leave it out")
    if options.drop and goes_in_as_it_is(data, options):
        raise OptionError(
            "--drop is for tables; a network of your own is given its array as it is; drop columns from that"
        )


def _check_schedule(schedule: Schedule) -> None:
    """Refuse a schedule of the user's own that is no multiplier; its shape is followed, nothing computed."""
    told = "schedule: a function (step, total_steps) -> multiplier of the learning rate is needed;"
    try:
        found = jax.eval_shape(schedule, np.int32(0), np.float32(1))
    except Exception as error:  # whatever it is that the schedule's own code raises
        raise OptionError(f"{told} this one fails: {' '.join(str(error).split())}") from error
    if getattr(found, "shape", None) != ():
        raise OptionError(f"{told} this one gives {getattr(found, 'shape', type(found).__name__)}")


def is_raced(options: TrainOptions) -> bool:
    """Return whether the learning rate is to be chosen by a race.

    A line search measures each step by itself, and an Optax transformation holds a learning rate that its
    owner has chosen.
    """
    own = not isinstance(options.optimizer, str | Rule)
    return options.learning_rate in (None, "auto") and options.schedule != "line-search" and not own


def _plan(
    options: TrainOptions,
    rule: Rule,
    schedule: str | Schedule,
    raced: bool,
    prepared: Prepared,
    least_decay: float | None,
) -> Plan:
    n_train = len(prepared.rows["train"].weights)
    batch_size = batch_size_for(options, rule, n_train)
    if options.accumulate > batch_size:
        raise OptionError(
            f"--accumulate {options.accumulate} cuts batches of {batch_size} rows into empty parts"
        )
    rate = options.learning_rate if isinstance(options.learning_rate, int | float) else rule.learning_rate
    steps_per_epoch = -(-n_train // batch_size)
    usual = defaults.epochs(steps_per_epoch)
    epochs = options.epochs if isinstance(options.epochs, int) else usual
    pacing, stopping = None, options.early_stopping and "validation" in prepared.rows
    if schedule == "auto":
        is_open = stopping and not isinstance(options.epochs, int)
        epochs = defaults.LONGEST * usual if is_open else epochs
        pacing = Pacing(round(defaults.WARMUP * epochs * steps_per_epoch), epochs)
        pacing = replace(pacing, waits=PATIENCE, fewest=max(5, usual // 5)) if is_open else pacing
    elif raced:
        pacing = Pacing(0, epochs, named=True)
    return Plan(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=rate,
        seed=options.seed,
        patience=defaults.patience(epochs) if options.early_stopping and schedule != "auto" else None,
        max_seconds=options.max_seconds,
        checkpoint_every=options.checkpoint_every,
        micro_batches=options.accumulate,
        plateau=reduce_on_plateau(patience=max(2, epochs // 10)) if schedule == "plateau" else None,
        pacing=pacing,
        devices=choose_devices(options.devices, batch_size, options.shard),
        guard=_guard(options, rule),
        least_decay=least_decay,
    )


def _least_decay(options: TrainOptions, rule: Rule, prepared: Prepared) -> float | None:
    """Return the rule's own weight decay where it is to be steered by the validation rows, else None."""
    by_name = isinstance(options.optimizer, str) and options.model != "linear"
    left_open = options.weight_decay == "auto" or (options.weight_decay is None and by_name)
    if options.weight_decay == "auto" and "validation" not in prepared.rows:
        raise OptionError(
            "--weight-decay auto is steered by validation rows, and there are none; give a number"
        )
    steerable = rule.name in DECOUPLED and "validation" in prepared.rows
    return rule.hyperparameters.get("weight_decay") if left_open and steerable else None


def _guard(options: TrainOptions, rule: Rule) -> Guard:
    """Return the guard: where the rate was chosen by hand, the rule's own is what is left to try."""
    if not options.guard:
        return UNGUARDED
    given = options.learning_rate
    too_bold = isinstance(given, int | float) and given > rule.learning_rate
    return Guard(alternatives=(rule.learning_rate,) if too_bold else ())


def batch_size_for(options: TrainOptions, rule: Rule, n_train: int) -> int:
    """Return how many rows a step sees: what was asked for, else what suits the rule and the rows.

    Raises:
        OptionError: batch normalisation would see one row at a time.
    """
    batch_size = options.batch_size
    if batch_size is None:
        batch_size = "full" if rule.name == "gradient-descent" else defaults.batch_size(n_train)
    batch_size = n_train if isinstance(batch_size, str) else min(batch_size, n_train)
    if options.batch_norm and isinstance(options.model, str) and batch_size // options.accumulate == 1:
        parts = f" in {options.accumulate} parts" if options.accumulate > 1 else ""
        raise OptionError(
            f"--batch-norm: a batch of {batch_size}{parts} leaves single rows, which have no variance; "
            f"take at least {2 * options.accumulate} rows per batch, or --layer-norm"
        )
    return batch_size


def _is_open(plan: Plan) -> bool:
    return plan.pacing is not None and plan.pacing.waits is not None


@lru_cache(maxsize=16)
def _line_search(step_size: float, steps_per_epoch: int) -> LineSearch:
    """Return a line search for batches, each of which says only roughly what the whole loss does.

    So a step must bring a tenth of what its slope promises, and may grow twofold per epoch, not per step
    (Vaswani et al. 2019, "Painless Stochastic Gradient", https://arxiv.org/abs/1905.09997, section 5).
    """
    return backtracking(step_size, decrease=0.1, grow=2.0 ** (1.0 / steps_per_epoch))


def _architecture(options: TrainOptions, prepared: Prepared) -> Architecture:
    """Return the network for a table: what the user said, and for the rest what suits the rows."""
    encoding = prepared.encoding
    assert not isinstance(encoding, ArrayEncoding)
    n_train = len(prepared.rows["train"].weights)
    n_outputs = prepared.loss.n_outputs(len(encoding.classes))
    sizes = tuple(encoding.embedding_sizes)
    if options.model == "linear":
        return Architecture("linear", Columns(encoding.n_dense, sizes), n_outputs)
    hidden = defaults.hidden_widths(n_train) if options.hidden is None else tuple(options.hidden)
    for width in hidden if options.group_norm else ():
        if width % options.group_norm:
            raise OptionError(
                f"--group-norm {options.group_norm} does not divide the hidden width {width}; "
                "choose a number that divides every width"
            )
    by_rows = defaults.ramps(n_train, len(encoding.number_columns))
    ramps = by_rows if options.ramps is None else options.ramps
    return Architecture(
        "mlp",
        Columns(encoding.n_dense, sizes, _ramp_edges(prepared, ramps)),
        n_outputs,
        hidden,
        options.activation,
        options.batch_norm,
        options.layer_norm,
        options.group_norm,
        defaults.DROPOUT if options.dropout is None else options.dropout,
    )


def _resolved(
    options: TrainOptions,
    prepared: Prepared,
    architecture: Architecture | None,
    rule: Rule,
    schedule: str | Schedule,
    plan: Plan,
    raced: bool,
) -> dict[str, Any]:
    """Return every option as JSON, with what was chosen for those that were left open."""
    given = {field.name: getattr(options, field.name) for field in fields(options)}
    sample_weight, loss = options.sample_weight, prepared.loss
    chosen = {
        "target": prepared.encoding.target,
        "task": prepared.encoding.task,
        "test": None if options.test is None else _path_of(options.test) or True,
        "drop": list(options.drop),
        "model": architecture.model if architecture else f"{OWN}{type(options.model).__name__}",
        "hidden": list(architecture.hidden) if architecture else None,
        "ramps": max((len(edges) - 1 for edges in architecture.columns.edges if edges), default=0)
        if architecture
        else None,
        "dropout": architecture.dropout if architecture else None,
        "loss": f"{OWN}{loss.name}" if loss.is_own else loss.spelled,
        "sample_weight": sample_weight if isinstance(sample_weight, str | None) else True,
        "class_weight": {str(label): float(weight) for label, weight in options.class_weight.items()}
        if isinstance(options.class_weight, Mapping)
        else options.class_weight,
        "optimizer": {"name": rule.name, "hyperparameters": _plain(rule.hyperparameters)},
        "learning_rate": "auto" if raced else plan.learning_rate,
        "schedule": schedule
        if isinstance(schedule, str)
        else f"{OWN}{getattr(schedule, '__name__', type(schedule).__name__)}",
        "weight_decay": None if plan.least_decay is None else "auto",  # else in the hyperparameters
        "batch_size": plan.batch_size,
        "epochs": "auto" if _is_open(plan) else plan.epochs,
    }
    return {**given, **chosen}


def _ramp_edges(prepared: Prepared, ramps: int) -> tuple[tuple[float, ...], ...]:
    """Return, for each dense column, ascending edges that cut its training rows into equal shares."""
    encoding, dense = prepared.encoding, prepared.rows["train"].inputs.dense
    assert not isinstance(encoding, ArrayEncoding)
    edges: list[tuple[float, ...]] = [()] * dense.shape[1]
    for column in encoding.number_columns if ramps else ():
        shares = np.unique(np.quantile(dense[:, column], np.linspace(0.0, 1.0, ramps + 1)).astype(np.float32))
        edges[column] = tuple(shares.tolist())
    return tuple(edges)


def _path_of(data: Any) -> str | None:
    """Return what finds the data again from any folder, or None for data in memory."""
    if isinstance(data, str) and data in BUNDLED:
        return data
    return str(Path(data).resolve()) if isinstance(data, str | Path) else None


def _plain(hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """Return hyperparameters as JSON knows them; a function or another rule is named, for the record."""
    return json.loads(json.dumps(hyperparameters, default=_plain_value))


def _plain_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else getattr(value, "name", repr(value))
