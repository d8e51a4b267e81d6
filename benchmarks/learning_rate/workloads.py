"""What is descended: real tables where possible, and the same made awkward."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn import datasets

Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Workload:
    """Rows, a network, and how much is held out.

    Attributes:
        name: of the line in the table.
        load: returns inputs (rows, columns) and targets (rows,).
        options: of `downslope.train`, beside the learning rate.
        tuned_on: whether constants of the race were chosen with this one in sight.
    """

    name: str
    load: Callable[[], Arrays]
    options: dict[str, Any] = field(default_factory=dict)
    tuned_on: bool = False


def bundled(name: str) -> Callable[[], Arrays]:
    return lambda: getattr(datasets, f"load_{name}")(return_X_y=True)


def ill_conditioned(rows: int = 2000, columns: int = 20, condition: float = 1e4) -> Arrays:
    """A linear problem whose directions differ in curvature by `condition`, mixed by a rotation."""
    random = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(random.standard_normal((columns, columns)))
    scales = np.geomspace(1.0, condition**-0.5, columns)
    x = random.standard_normal((rows, columns)) * scales @ rotation
    y = x @ random.standard_normal(columns) + 0.1 * random.standard_normal(rows)
    return x, y


def teacher(rows: int = 4000, columns: int = 12, classes: int = 4) -> Arrays:
    """Labels by a random network, a fifth of its scores being noise."""
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, columns))
    scores = np.tanh(x @ random.standard_normal((columns, 16))) @ random.standard_normal((16, classes))
    scores += 0.2 * scores.std() * random.standard_normal(scores.shape)
    return x, np.array([f"class {code}" for code in scores.argmax(axis=1)])


def relabelled(load: Callable[[], Arrays], share: float = 0.2) -> Callable[[], Arrays]:
    """Return the same rows with a share of the labels drawn from all labels."""

    def noisy() -> Arrays:
        x, y = load()
        random = np.random.default_rng(0)
        return x, np.where(random.random(len(y)) < share, random.permutation(y), y)

    return noisy


QUICK = (
    Workload("digits", bundled("digits"), tuned_on=True),
    Workload("breast cancer, linear", bundled("breast_cancer"), {"model": "linear"}, tuned_on=True),
    Workload("diabetes", bundled("diabetes"), {"task": "regression"}, tuned_on=True),
    Workload("teacher and student", teacher),
)
ALL = (
    *QUICK,
    Workload("breast cancer", bundled("breast_cancer"), tuned_on=True),
    Workload("wine", bundled("wine"), tuned_on=True),
    Workload("ill-conditioned, linear", ill_conditioned, {"model": "linear", "task": "regression"}),
    Workload("digits, batch norm, 6 layers", bundled("digits"), {"hidden": (64,) * 6, "batch_norm": True}),
    Workload("digits, batches of 4", bundled("digits"), {"batch_size": 4, "epochs": 30}),
    Workload("digits, 20 % wrong labels", relabelled(bundled("digits"))),
    Workload("teacher, 6 layers", teacher, {"hidden": (64,) * 6}),
)
