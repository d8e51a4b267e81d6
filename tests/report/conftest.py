"""Believable run folders, made with NumPy: what a trainer would leave, without training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

CLASSES = ["<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN"]


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def make_run(
    folder: Path, task: str = "classification", epochs: int = 48, classes: list[str] | None = None
) -> Path:
    """Write a finished run of `task` into `folder`; with two classes it has a ROC curve."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(7)
    target = "ocean_proximity" if task == "classification" else "median_house_value"
    history = _history(generator, task, epochs)
    best = int(np.argmin(history["validation_loss"])) + 1
    write_json(folder / "config.json", _config(target, task))
    write_json(folder / "summary.json", _summary(target, task, epochs, best))
    pq.write_table(pa.table(history), folder / "history.parquet")
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in _events(epochs, best)))
    write_json(folder / "encoding.json", {"describe": _columns(task)})
    make = _classification if task == "classification" else _regression
    write_json(folder / "evaluation.json", make(generator, target, classes or CLASSES))
    return folder


def _config(target: str, task: str) -> dict[str, Any]:
    return {
        "data": "shared/data/california-housing.csv",
        "target": target,
        "task": task,
        "test_fraction": 0.2,
        "validation_fraction": 0.1,
        "drop": [],
        "model": "mlp",
        "hidden": [128, 128],
        "activation": "relu",
        "batch_norm": False,
        "dropout": 0.0,
        "loss": "softmax-cross-entropy" if task == "classification" else "squared-error",
        "optimizer": "adamw",
        "learning_rate": 0.002,
        "schedule": "cosine",
        "weight_decay": 0.01,
        "batch_size": 64,
        "epochs": 60,
        "max_seconds": None,
        "early_stopping": True,
        "seed": 0,
    }


def _summary(target: str, task: str, epochs: int, best: int) -> dict[str, Any]:
    if task == "classification":
        metrics = {
            "train": {"loss": 0.1402, "accuracy": 0.9484, "log_loss": 0.1402},
            "validation": {"loss": 0.1893, "accuracy": 0.9310, "log_loss": 0.1893},
            "test": {"loss": 0.1951, "accuracy": 0.926, "log_loss": 0.1951},
        }
    else:
        metrics = {
            "train": {"loss": 0.1601, "rmse": 46120.4, "mae": 30412.7, "r2": 0.8402},
            "validation": {"loss": 0.1844, "rmse": 49644.0, "mae": 32210.3, "r2": 0.8156},
            "test": {"loss": 0.1893, "rmse": 50212.2, "mae": 32041.7, "r2": 0.8111},
        }
    return {
        "task": task,
        "target": target,
        "n_params": 18309,
        "optimizer": "adamw",
        "learning_rate": 0.002,
        "batch_size": 64,
        "precision": "float32",
        "steps": epochs * 233,
        "epochs": epochs,
        "best_epoch": best,
        "stopped_because": "the validation loss had not improved for 12 epochs",
        "metrics": metrics,
        "rows": {"train": 14861, "validation": 1651, "test": 4128},
        "seconds": {"read": 0.12, "compile": 0.93, "tune": 2.1, "train": 8.84, "total": 12.4},
        "devices": ["cpu"],
        "versions": {"downslope": "0.1.0", "jax": "0.10.2", "flax": "0.12.8", "python": "3.11.7"},
    }


def _history(generator: np.random.Generator, task: str, epochs: int) -> dict[str, Any]:
    epoch = np.arange(1, epochs + 1)
    fall = 1.35 * np.exp(-epoch / 3.2) + 0.55 * np.exp(-epoch / 16)
    noise = 1 + 0.02 * generator.standard_normal(epochs)
    train = (0.11 + fall) * noise
    rise = 0.9 * np.maximum(0, epoch / epochs - 0.6) ** 2
    validation = (0.165 + 0.95 * fall + rise) * (1 + 0.025 * generator.standard_normal(epochs))
    progress = epoch / 60
    rate = 0.002 * np.minimum(1, epoch / 3) * 0.5 * (1 + np.cos(np.pi * np.minimum(1, progress)))
    metric = (
        0.935 - 0.28 * np.exp(-epoch / 7) if task == "classification" else 0.82 - 0.5 * np.exp(-epoch / 6)
    )
    return {
        "epoch": epoch,
        "step": epoch * 233,
        "train_loss": train,
        "validation_loss": validation,
        "validation_metric": metric + 0.004 * generator.standard_normal(epochs),
        "learning_rate": rate,
        "gradient_norm": (0.3 + 2.4 * np.exp(-epoch / 9)) * np.exp(0.12 * generator.standard_normal(epochs)),
        "seconds": 0.18 * epoch,
        "examples_per_second": 81000 + 2000 * generator.standard_normal(epochs),
    }


def _events(epochs: int, best: int) -> list[dict[str, Any]]:
    def event(kind: str, epoch: int, message: str) -> dict[str, Any]:
        return {
            "kind": kind,
            "step": epoch * 233,
            "epoch": epoch,
            "seconds": 0.18 * epoch,
            "message": message,
        }

    events = [
        event("compiled", 0, "compiled in 1.2 s"),
        event("resumed", max(1, epochs // 3), "from the checkpoint of step 3728"),
        event("checkpoint", best, "checkpoint at step 7,689"),
        event("checkpoint", epochs, "checkpoints/11184"),
        event("plateau", max(1, epochs * 5 // 8), "learning rate halved to 0.0008 after a rising loss"),
        event("early-stop", epochs, "no better validation loss for 12 epochs"),
    ]
    return sorted(events, key=lambda one: one["step"])


def _columns(task: str) -> list[dict[str, Any]]:
    names = [
        "longitude",
        "latitude",
        "housing_median_age",
        "total_rooms",
        "total_bedrooms",
        "population",
        "households",
    ]
    numbers = [{"column": name, "became": "standardised number", "width": 1, "note": ""} for name in names]
    numbers[4] |= {
        "width": 2,
        "note": "207 missing cells: filled with the mean, and marked in an input of their own",
    }
    last = (
        {"column": "median_house_value", "became": "standardised number", "width": 1, "note": None}
        if task == "classification"
        else {
            "column": "ocean_proximity",
            "became": "one-hot",
            "width": 6,
            "note": "5 categories and one for unseen ones",
        }
    )
    return [*numbers, last]


def _classification(generator: np.random.Generator, target: str, classes: list[str]) -> dict[str, Any]:
    size = len(classes)
    share = generator.dirichlet(np.full(size, 1.6))
    confusion = []
    for row in range(size):
        chance = np.full(size, 0.074 / max(1, size - 1))
        chance[row] = 0.926 if size > 1 else 1.0
        confusion.append(generator.multinomial(round(4128 * share[row]), chance / chance.sum()).tolist())
    confidence = np.linspace(0.35, 0.985, 10)
    evaluation: dict[str, Any] = {
        "split": "test",
        "classes": classes,
        "confusion": confusion,
        "reliability": {
            "confidence": confidence.tolist(),
            "accuracy": np.clip(confidence - 0.05 + 0.03 * generator.standard_normal(10), 0, 1).tolist(),
            "count": [8, 21, 60, 92, 130, 171, 240, 390, 801, 2215],
        },
    }
    if size == 2:
        false_alarms = np.linspace(0, 1, 120)
        found = false_alarms**0.09
        evaluation["roc"] = {"fpr": false_alarms.tolist(), "tpr": found.tolist(), "auc": 0.917}
    return evaluation


def _regression(generator: np.random.Generator, target: str, classes: list[str]) -> dict[str, Any]:
    actual = np.minimum(500001, 15000 + generator.gamma(2.9, 66000, 2000))
    error = generator.standard_normal(2000) * (12000 + 0.16 * actual)
    predicted = 0.9 * actual + 20000 + error
    return {"split": "test", "actual": actual.tolist(), "predicted": predicted.tolist(), "unit": target}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Return `make(task=…, epochs=…, classes=…)`, which writes a run folder and returns its path."""

    def build(**options: Any) -> Path:
        return make_run(tmp_path / "runs" / f"houses-{len(list(tmp_path.glob('runs/*'))) + 1}", **options)

    return build
