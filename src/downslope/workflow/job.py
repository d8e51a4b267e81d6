"""From the user's options to a job in which nothing is left open; nothing is compiled or written here."""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from downslope.data.bundled import BUNDLED
from downslope.data.source import dataset_name
from downslope.errors import OptionError, RunFolderError
from downslope.models.architecture import Architecture
from downslope.models.layers import Columns
from downslope.rules.registry import rule_by_name
from downslope.rules.rule import Rule, as_rule
from downslope.runs import folder as runs
from downslope.training.loop import Plan
from downslope.workflow import defaults
from downslope.workflow.options import TrainOptions
from downslope.workflow.prepare import Prepared, prepare


@dataclass(frozen=True)
class Job:
    """A run that is about to start, every option resolved.

    Attributes:
        prepared: the arrays.
        architecture, rule, plan: what is trained, how, and for how long.
        config: the content of config.json.
        folder: where to write; None: nowhere.
        resume: whether to go on from the folder's newest checkpoint.
        read_seconds: how long reading and encoding took.
    """

    prepared: Prepared
    architecture: Architecture
    rule: Rule
    plan: Plan
    config: dict[str, Any]
    folder: Path | None
    resume: bool
    read_seconds: float


def new_job(data: Any, y: Any, out: Any, overwrite: bool, options: TrainOptions) -> Job:
    """Return the job of a fresh run; arguments as in `train`."""
    folder = None
    if out is not False:
        folder = runs.next_free(Path("runs"), dataset_name(data)) if out in (None, True) else Path(out)
        runs.check_free(folder, overwrite)
    return _job(data, y, options, folder, resume=False)


def resumed_job(folder: Path, data: Any, y: Any, given: dict[str, Any]) -> Job:
    """Return the job that goes on with the run in `folder`, with the options that it was begun with."""
    config = runs.read_json(folder / "config.json")
    optimizer = given.pop("optimizer", None)
    if given:
        raise OptionError(f"resume goes on with the run's own options; leave out {', '.join(given)}")
    try:
        saved = {name: config[name] for name in TrainOptions.__dataclass_fields__}
        data = config["data_path"] if data is None else data
    except KeyError as error:
        raise RunFolderError(f"{folder / 'config.json'}: damaged ({error} is missing); train again") from None
    if data is None:
        raise OptionError(f"{folder}: was trained on data in memory; pass the same data again to resume")
    rule = optimizer if optimizer is not None else _saved_rule(folder, saved)
    options = TrainOptions(**{**saved, "optimizer": rule})
    job = _job(data, y, options, folder, resume=True)
    if job.config["data_fingerprint"] != config["data_fingerprint"]:
        raise RunFolderError(f"{folder}: {job.prepared.name} has changed since the run began; train again")
    return job


def _saved_rule(folder: Path, saved: dict[str, Any]) -> Rule:
    try:
        return rule_by_name(saved["optimizer"]["name"], **saved["optimizer"]["hyperparameters"])
    except OptionError:
        raise OptionError(
            f"{folder}: its optimizer has no name of its own; pass the same optimizer again"
        ) from None


def _job(data: Any, y: Any, options: TrainOptions, folder: Path | None, resume: bool) -> Job:
    """Resolve everything that was left open; nothing is compiled or written yet."""
    began = time.monotonic()
    prepared = prepare(data, y, options)
    n_train = len(prepared.rows["train"].weights)
    rule = _rule(options)
    schedule = options.schedule or rule.schedule
    batch = options.batch_size or (
        n_train if rule.name == "gradient-descent" else defaults.batch_size(n_train)
    )
    batch = n_train if batch == "full" else min(int(batch), n_train)
    epochs = options.epochs or defaults.epochs(-(-n_train // batch))
    linear = options.model == "linear"
    hidden = (
        ()
        if linear
        else tuple(options.hidden if options.hidden is not None else defaults.hidden_widths(n_train))
    )
    encoding = prepared.encoding
    ramps = 0 if linear else defaults.ramps(n_train, len(encoding.number_columns))
    ramps = ramps if options.ramps is None else options.ramps
    dropout = (0.0 if linear else defaults.DROPOUT) if options.dropout is None else options.dropout
    architecture = Architecture(
        options.model,
        Columns(encoding.n_dense, tuple(encoding.embedding_sizes), _ramp_edges(prepared, ramps)),
        prepared.loss.n_outputs(len(encoding.classes)),
        hidden,
        options.activation,
        options.batch_norm,
        options.layer_norm,
        dropout,
    )
    plan = Plan(
        epochs=epochs,
        batch_size=batch,
        learning_rate=options.learning_rate or rule.learning_rate,
        seed=options.seed,
        patience=defaults.patience(epochs) if options.early_stopping else None,
        max_seconds=options.max_seconds,
        checkpoint_every=options.checkpoint_every,
    )
    resolved = replace(
        options,
        target=encoding.target,
        task=encoding.task,
        test=_path_of(options.test),
        drop=list(options.drop),
        hidden=list(hidden) if not linear else None,
        ramps=ramps,
        dropout=dropout,
        loss=prepared.loss.name,
        optimizer={"name": rule.name, "hyperparameters": _plain(rule.hyperparameters)},
        learning_rate=plan.learning_rate,
        schedule=schedule,
        weight_decay=None,  # one of the optimizer's hyperparameters by now
        batch_size=batch,
        epochs=epochs,
    )
    config = {
        "data": prepared.name,
        "data_path": _path_of(data),
        "data_fingerprint": prepared.fingerprint,
        **asdict(resolved),
    }
    return Job(prepared, architecture, rule, plan, config, folder, resume, time.monotonic() - began)


def _ramp_edges(prepared: Prepared, ramps: int) -> tuple[tuple[float, ...], ...]:
    """Return, for each dense column, ascending edges that cut its training rows into equal shares."""
    dense = prepared.rows["train"].inputs.dense
    edges: list[tuple[float, ...]] = [()] * dense.shape[1]
    for column in prepared.encoding.number_columns if ramps else ():
        shares = np.unique(np.quantile(dense[:, column], np.linspace(0.0, 1.0, ramps + 1)).astype(np.float32))
        edges[column] = tuple(shares.tolist())
    return tuple(edges)


def _rule(options: TrainOptions) -> Rule:
    if not isinstance(options.optimizer, str):
        if options.weight_decay is not None:
            raise OptionError(
                "--weight-decay goes with an optimizer's name; give it to the rule itself instead"
            )
        return as_rule(options.optimizer)
    decay = {} if options.weight_decay is None else {"weight_decay": options.weight_decay}
    return rule_by_name(options.optimizer, **decay)


def _path_of(data: Any) -> str | None:
    """Return what finds the data again from any folder, or None for data in memory."""
    if isinstance(data, str) and data in BUNDLED:
        return data
    return str(Path(data).resolve()) if isinstance(data, str | Path) else None


def _plain(hyperparameters: dict[str, Any]) -> dict[str, Any]:
    """Return hyperparameters as JSON knows them; a function is named, for the record."""
    return {name: repr(value) if callable(value) else value for name, value in hyperparameters.items()}
