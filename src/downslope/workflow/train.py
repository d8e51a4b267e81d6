"""The main job: data in, a trained, measured, saved and explained network out."""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from downslope.errors import NonFiniteError, OptionError, RunFolderError
from downslope.models.architecture import Architecture
from downslope.models.functional import is_network
from downslope.report.panels import METRIC_NAMES
from downslope.runs import folder as runs
from downslope.study.diagnosis import diagnose, in_short
from downslope.training.checkpoint import Checkpoints
from downslope.training.evaluate import cut, evaluate, evaluation_size, even_part
from downslope.training.events import GUARD_KINDS, PASSING, Event, Listener
from downslope.training.layers import dead_units
from downslope.training.loop import descend
from downslope.training.plan import Problem
from downslope.workflow import outcome, words
from downslope.workflow.display import Display
from downslope.workflow.importance import permutation_importance
from downslope.workflow.job import Job, new_job
from downslope.workflow.options import options_from
from downslope.workflow.problem import problem_of
from downslope.workflow.resume import own_options, resumed_job
from downslope.workflow.run import Run
from downslope.workflow.snapshots import PathRecorder
from downslope.workflow.trained import Trained
from downslope.workflow.tune import choosing

WITH_VALUES = ("learning-rate", "annealing")  # events whose numbers the report reads
SECONDS_BETWEEN_HISTORIES = 2.0  # how far the history on disk may lag behind a run that is watched


def train(
    data: Any = "digits",
    y: Any = None,
    labels: Any = None,
    *,
    out: str | Path | bool | None = None,
    overwrite: bool = False,
    resume: str | Path | None = None,
    quiet: bool = False,
    console: Console | None = None,
    listeners: Sequence[Listener] = (),
    **options: Any,
) -> Run:
    """Train a network on a table and return the run.

    Args:
        data: a bundled name (``"digits"``, ``"iris"``, ``"wine"``, ``"breast_cancer"``, ``"diabetes"``), a
            CSV, TSV or Parquet file, a pandas, polars or pyarrow frame, or a NumPy array (rows, columns).
        y: the targets (rows,) where `data` is an array.
        labels: the targets in the form ``train(network, data, labels)``, which is the same as
            ``train(data, labels, model=network)`` with a network of your own.
        out: the run folder; None: ``runs/<data>-<n>``; False: nothing is written.
        overwrite: replace the run that `out` holds.
        resume: go on with the run in this folder, with its options; `data` is needed only where it was
            not a file or a bundled name, `optimizer` only where it was an Optax transformation, and `model`,
            `loss`, `schedule`, `sample_weight` and `test` only where they were your own functions or arrays.
        quiet: print nothing.
        console: where to print instead of standard output.
        listeners: functions of one `training.events.Event`, called as it happens.
        options: the fields of `TrainOptions`, by name: ``target="price"``, ``hidden=(128, 128)``, …

    Returns:
        A `Run` with ``.summary``, ``.history``, ``.predict(…)``, ``.evaluate(…)`` and ``.params``.

    Raises:
        InputError: something is wrong with the data or an option; nothing was written.
        NonFiniteError: the loss stopped being a number, or diverged for good. The best weights before that
            are in its ``result``, and in the run folder.

    Example:
        >>> run = train("iris", epochs=20, out=False, quiet=True)
        >>> run.summary["metrics"]["test"]["accuracy"] > 0.8
        True
    """
    if is_network(data):
        options = {**options, "model": data}
        data, y = ("digits" if y is None else y), labels
    elif labels is not None:
        raise OptionError(
            "train(network, data, labels) takes a network first, made already; or pass it, or a function "
            "that makes it, as model="
        )
    console = Console(highlight=False) if console is None else console
    console.quiet = console.quiet or quiet
    if resume is not None:
        job = resumed_job(
            Path(resume), None if isinstance(data, str) and data == "digits" else data, y, options
        )
    else:
        job = new_job(data, y, out, overwrite, options_from(options))
    return run_job(job, console, listeners)


def run_job(job: Job, console: Console, listeners: Sequence[Listener] = ()) -> Run:
    """Train, measure and save a job; see `train`."""
    try:
        with ExitStack() as at_the_end:
            return _run_job(job, console, listeners, at_the_end)
    except KeyboardInterrupt:  # before or after the descent, which ends in good order by itself
        can_go_on = job.folder is not None and (job.resume or outcome.is_begun(job.folder, job))
        in_memory = job.config["data_path"] is None
        own = "".join(f", {name}=…" for name in own_options(job.config))
        how = f"downslope train --resume {job.folder}"
        if in_memory or own:
            how = f"train({'data, ' if in_memory else ''}resume='{job.folder}'{own})"
        hint = f"go on with  {how}" if can_go_on else ""
        raise KeyboardInterrupt(hint) from None


def _run_job(job: Job, console: Console, listeners: Sequence[Listener], at_the_end: ExitStack) -> Run:
    began = time.monotonic() - job.read_seconds
    prepared = job.prepared
    words.announce(job, console)
    problem, state = problem_of(job)
    plan, chooser = choosing(job, state)
    heard = _Heard()
    recorded: list[Listener] = [heard]
    checkpoints = None
    if job.folder is not None:
        if not job.resume:
            outcome.create(job.folder, job)
        checkpoints = Checkpoints(job.folder / "checkpoints")
        if checkpoints.latest() is None:
            if (job.folder / "summary.json").exists():
                raise RunFolderError(
                    f"{job.folder}: is over and has no checkpoint to resume from; train with --overwrite"
                )
            runs.rewind_events(job.folder, -1.0)  # of a run that is begun again
        at_the_end.callback(checkpoints.close)  # the last is written in the background
        path = PathRecorder(job.folder, state.params)
        recorded = [heard, _Recorder(job.folder), path]
        plan = replace(plan, snapshots_per_epoch=path.snapshots_per_epoch(plan.epochs))
    metric = METRIC_NAMES[prepared.encoding.task]
    with Display(console, metric, plan.epochs, plan.max_seconds) as display:
        descent = descend(
            problem,
            plan,
            state,
            listeners=[display, *recorded, *listeners],
            checkpoints=checkpoints,
            resume=job.resume,
            chooser=chooser,
        )
    measuring = at_the_end.enter_context(console.status("measuring …"))
    trained = Trained(
        job.model,
        job.architecture,
        prepared.encoding,
        prepared.loss,
        descent.params,
        descent.model_state,
        job.config["header"],
        job.config["delimiter"],
        job.config["array_columns"],
    )
    size = evaluation_size(problem.validation or problem.train)  # compiled for that many already
    measured = {
        name: evaluate(
            problem.evaluation, descent.params, descent.model_state, cut(rows, size), len(rows.weights)
        )
        for name, rows in prepared.rows.items()
    }
    progress = descent.progress
    if not progress.failed and not math.isfinite(measured["train"].loss):
        progress.failed = True  # by the last step, which no later one saw
        progress.stopped_because = (
            f"the loss of the training rows became {measured['train'].loss} with the last step. "
            f"Try a learning rate of {descent.learning_rate / 10:g}"
        )
    summary = outcome.summary(job, descent, measured)
    summary["dead_units"] = _dead_units(job, descent.params, descent.model_state, problem)
    events = runs.read_events(job.folder) if job.folder is not None else heard.records
    findings = diagnose(
        runs.history_table(progress.history).to_pydict(), summary, layers=progress.layers, events=events
    )
    summary["diagnosis"] = [finding.to_json() for finding in findings]
    held_out = next(name for name in ("test", "validation", "train") if name in measured)
    important = None
    if job.folder is not None:
        important = permutation_importance(
            problem.evaluation,
            descent.params,
            descent.model_state,
            prepared.encoding,
            prepared.rows[held_out],
            size,
            job.plan.seed,
        )
    earlier = heard.trained_before + (summary["seconds"]["tune"] if heard.tuned_before else 0.0)
    summary["seconds"]["total"] = time.monotonic() - began + earlier
    run = Run(trained, summary, runs.history_table(progress.history), job.folder)
    if job.folder is not None:
        outcome.save(job, trained, summary, progress.history, progress.layers, measured, important)
    measuring.stop()
    way = summary["loss_at_start"], summary["metrics"]["train"]["loss"]
    words.conclude(run, console, in_short(findings, *way))
    if progress.failed:
        kept = f"epoch {progress.best_epoch}" if progress.best_epoch else "the start"
        raise NonFiniteError(f"{progress.stopped_because}. The weights of {kept} were kept", run)
    return run


def _dead_units(job: Job, params: Any, model_state: Any, problem: Problem) -> dict[str, float]:
    """Return the share of dead units in each hidden layer on the training rows; {} for an own network."""
    shares = None if job.architecture is None else _dead_shares(job.architecture.alike)
    if shares is None:
        return {}
    if len(problem.train.weights) < 2:  # one row cannot tell
        return {}
    found = np.asarray(shares(params, model_state, even_part(problem.train).inputs))
    return {f"hidden layer {number}": float(share) for number, share in enumerate(found, start=1)}


@lru_cache(maxsize=8)
def _dead_shares(architecture: Architecture) -> Callable[[Any, Any, Any], Any] | None:
    """Return ``(params, model_state, inputs) -> shares``, compiled once for all that is alike."""
    hidden = architecture.hidden_layers()
    if hidden is None:
        return None
    return jax.jit(lambda *given: dead_units(hidden.apply(*given, key=None, train=False)[0]))


class _Heard:
    """Remembers what the guard did, for the diagnosis of a run that is not written down.

    Of a run that is resumed, also how many seconds it had been trained before, and whether its learning
    rate was chosen then.
    """

    def __init__(self):
        self.records: list[dict[str, Any]] = []
        self.trained_before, self.tuned_before = 0.0, False

    def __call__(self, event: Event) -> None:
        if event.kind == "resumed":
            self.trained_before, self.tuned_before = event.seconds, True
        if event.kind == "learning-rate":
            self.tuned_before = False
        if event.kind in GUARD_KINDS:
            self.records.append({"kind": event.kind, "step": event.step, "values": event.values})


class _Recorder:
    """Writes events to events.jsonl as they happen, and the history now and then, for those who watch."""

    def __init__(self, folder: Path):
        self._folder, self._rows, self._written = folder, [], time.monotonic()

    def __call__(self, event: Event) -> None:
        if event.kind == "epoch":
            self._rows.append(event.values)
            if time.monotonic() - self._written > SECONDS_BETWEEN_HISTORIES:
                runs.write_history(self._folder, self._rows)
                self._written = time.monotonic()
        if event.kind == "resumed":
            self._rows = list(event.values["history"])
            runs.rewind_events(self._folder, event.seconds)
            if not event.values["over"]:  # what an earlier sitting came to is true no more
                (self._folder / "summary.json").unlink(missing_ok=True)
        if event.kind in ("rolled-back", "other-rate"):
            self._rows = [row for row in self._rows if row["step"] <= event.values["back_to"]]
        if event.kind not in PASSING:
            record = {name: getattr(event, name) for name in ("kind", "step", "epoch", "seconds", "message")}
            if event.kind in GUARD_KINDS or event.kind in WITH_VALUES:
                record["values"] = event.values
            runs.append_event(self._folder, record)
