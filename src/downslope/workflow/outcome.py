"""What a run leaves behind: the summary, the weights, the history and the report."""

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from downslope import pytrees
from downslope.errors import RunFolderError
from downslope.report.page import write_report
from downslope.runs import folder as runs
from downslope.training.evaluate import Evaluated
from downslope.training.plan import Descent
from downslope.training.progress import finite_or_none
from downslope.workflow import measure
from downslope.workflow.job import Job
from downslope.workflow.trained import Trained

# Losses whose best answer without any column is known: the class shares, or the mean.
LIKELIHOODS = ("softmax-cross-entropy", "binary-cross-entropy", "squared-error")
VERSIONS_OF = ("downslope", "jax", "jaxlib", "flax", "optax", "numpy", "pyarrow")


def create(folder: Path, job: Job) -> None:
    """Make the run folder, with all that is known before the first step."""
    runs.create(folder, job.config, overwrite=job.overwrite)
    encoding = job.prepared.encoding
    runs.write_json(folder / "encoding.json", {**encoding.to_json(), "describe": encoding.describe()})


def is_begun(folder: Path, job: Job) -> bool:
    """Return whether the folder is this job's, and not that of an earlier run that it was to replace."""
    try:
        return runs.read_json(folder / "config.json") == json.loads(json.dumps(job.config))
    except RunFolderError:
        return False


def summary(job: Job, descent: Descent, measured: dict[str, Evaluated]) -> dict[str, Any]:
    """Return the content of summary.json.

    `measured` holds the predictions and the loss of every split that has rows.
    """
    prepared, plan, progress = job.prepared, job.plan, descent.progress
    metrics = {
        name: measure.metrics_of(prepared.encoding, measured[name], np.asarray(rows.targets))
        for name, rows in prepared.rows.items()
    }
    held_out = next((name for name in ("test", "validation") if name in prepared.rows), None)
    train = prepared.rows["train"]
    guessed = {}
    if held_out and prepared.loss.name in LIKELIHOODS and np.ptp(train.weights) == 0:
        targets = np.asarray(prepared.rows[held_out].targets)
        guessed = measure.guessing(prepared.encoding, np.asarray(train.targets), targets)
        guessed = {name: finite_or_none(value) for name, value in guessed.items()}
    return {
        "data": prepared.name,
        "task": prepared.encoding.task,
        "target": prepared.encoding.target,
        "model": job.described,
        "n_params": pytrees.count(descent.params),
        "rows": {name: len(rows.weights) for name, rows in prepared.rows.items()},
        "loss": prepared.loss.name,
        "optimizer": job.rule.name,
        "learning_rate": descent.learning_rate,
        "schedule": job.config["schedule"],
        "batch_size": plan.batch_size,
        "precision": job.precision.name,
        "steps": progress.history[-1]["step"] if progress.history else 0,
        "steps_tuning": progress.tuned.get("steps", 0) - progress.tuned.get("continued_steps", 0),
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "loss_at_start": progress.start_loss,
        "steps_rolled_back": progress.undone,
        "stopped_because": progress.stopped_because,
        "failed": progress.failed,
        "metrics": {
            split: {name: finite_or_none(value) for name, value in values.items()}
            for split, values in metrics.items()
        },
        "guessing": {"split": held_out, **guessed} if guessed else {},
        "seconds": {
            "read": job.read_seconds,
            "compile": descent.compile_seconds,
            "tune": progress.tuned.get("seconds", 0.0),
            "train": progress.seconds,
            "total": 0.0,
        },
        "devices": plan.devices.names(),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in VERSIONS_OF},
        },
    }


def save(
    job: Job,
    trained: Trained,
    summary: dict[str, Any],
    history: list[dict[str, Any]],
    layers: list[dict[str, Any]],
    measured: dict[str, Evaluated],
    importance: dict[str, Any] | None = None,
) -> None:
    """Write everything into the run folder; summary.json last but the report, for it says: finished."""
    folder = job.folder
    assert folder is not None
    split = next(name for name in ("test", "validation", "train") if name in measured)
    targets = np.asarray(job.prepared.rows[split].targets)
    drawn = measure.drawn(split, job.prepared.encoding, measured[split].predictions, targets)
    if importance is not None:
        drawn["importance"] = importance
    trained.save(folder)
    runs.write_history(folder, history)
    runs.write_layers(folder, layers)
    runs.write_json(folder / "evaluation.json", drawn)
    runs.write_json(folder / "summary.json", summary)
    write_report(folder)
