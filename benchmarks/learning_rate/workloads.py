"""What is descended: real tables where possible, and the same made awkward.

Each is a network and its rows, handed to `downslope.train(network, x, y, test=…)`: so the rows arrive as
they are, and a perturbation of the inputs bites (a table's columns would be standardised first). The test
rows are the same for every seed; a seed changes the initial weights, the order and the validation rows.
"""

import csv
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from sklearn import datasets

from downslope.data.split import split
from downslope.models.architecture import Architecture
from downslope.models.functional import Model
from downslope.models.layers import Columns

TEST_FRACTION = 0.3
HIDDEN = (64, 64)
DROPOUT = 0.1  # the default of `downslope train`
HOUSES = 8000  # of 20,640: so many rows are swept over in minutes
HOUSING = Path(__file__).parents[3] / "shared" / "data" / "california-housing.csv"

Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Workload:
    """Rows, a network, and how they were made awkward.

    Attributes:
        name: of the line in the table.
        load: returns inputs (rows, columns) and targets (rows,); None where the rows are missing.
        task: ``"classification"`` or ``"regression"``.
        hidden: widths of the hidden layers; () for a linear model from zero weights.
        batch_norm: normalise each unit over the batch.
        inputs_times: what the standardised inputs are multiplied by.
        weights_times: what the initial weights are multiplied by.
        batch_divided: what the usual batch size is divided by.
        label_noise: share of the labels that are drawn from all labels.
        note: what the reader of the table should know.
        tuned_on: whether constants of the race were chosen with what the rates lead to here in sight.
    """

    name: str
    load: Callable[[], Arrays | None]
    task: str = "classification"
    hidden: tuple[int, ...] = HIDDEN
    batch_norm: bool = False
    inputs_times: float = 1.0
    weights_times: float = 1.0
    batch_divided: int = 1
    label_noise: float = 0.0
    note: str = ""
    tuned_on: bool = True

    @functools.cached_property
    def rows(self) -> tuple[Arrays, Arrays] | None:
        """The rows to learn from and those to test on; None where they are missing.

        Inputs and, in regression, targets have mean 0 and variance 1 over the rows to learn from.
        """
        arrays = self.load()
        if arrays is None:
            return None
        x, y = arrays
        y = relabelled(y, self.label_noise)
        classes = y if self.task == "classification" else None
        parts = split(len(y), test_fraction=TEST_FRACTION, validation_fraction=0.0, seed=0, classes=classes)
        x = standardised(x, parts.train) * self.inputs_times
        y = y if classes is not None else standardised(y, parts.train)
        return (x[parts.train], y[parts.train]), (x[parts.test], y[parts.test])

    @functools.cached_property
    def network(self) -> Model:
        """The network that `downslope train` would make, for rows that are one array."""
        assert self.rows is not None
        (x, y), _ = self.rows
        n_outputs = len(np.unique(y)) if self.task == "classification" else 1
        kind = {"model": "mlp", "batch_norm": self.batch_norm, "dropout": DROPOUT} if self.hidden else {}
        columns = Columns(x.shape[1])
        base = Architecture(
            **{"model": "linear", "columns": columns, "n_outputs": n_outputs, "hidden": self.hidden, **kind}
        ).build()

        def init(key: Any, example: Any) -> tuple[Any, Any]:
            params, state = base.init(key, (example, None))
            return jax.tree.map(lambda leaf: leaf * self.weights_times, params), state

        def apply(params: Any, state: Any, inputs: Any, **context: Any) -> tuple[Any, Any]:
            return base.apply(params, state, (inputs, None), **context)

        return Model(init, apply)

    @property
    def options(self) -> dict[str, Any]:
        """The options of `downslope.train` that are the same for everyone."""
        assert self.rows is not None
        options: dict[str, Any] = {"task": self.task, "test": self.rows[1]}
        if self.batch_divided > 1:
            options["batch_size"] = 32 // self.batch_divided
        if not self.hidden:
            options["weight_decay"] = 0.0  # as `downslope train --model linear` has it
        return options


def standardised(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the columns with mean 0 and variance 1 over some rows, float32; constant ones become 0."""
    mean, std = array[rows].mean(axis=0), array[rows].std(axis=0)
    return ((array - mean) / np.where(std > 0, std, 1.0)).astype(np.float32)


def relabelled(y: np.ndarray, share: float) -> np.ndarray:
    """Return the labels with a share of them drawn from all labels."""
    random = np.random.default_rng(0)
    return np.where(random.random(len(y)) < share, random.permutation(y), y)


def bundled(name: str) -> Callable[[], Arrays]:
    return lambda: getattr(datasets, f"load_{name}")(return_X_y=True)


def california() -> Arrays | None:
    """The first rows of a shuffle of the houses of 1990; None where the file is missing."""
    if not HOUSING.exists():
        return None
    with HOUSING.open(newline="", encoding="utf-8") as file:
        cells = [list(row.values())[:-1] for row in csv.DictReader(file)]  # the last is a category
    numbers = np.array([[float(cell) for cell in row] for row in cells if all(row)])
    numbers = np.random.default_rng(0).permutation(numbers)[:HOUSES]
    return numbers[:, :-1], numbers[:, -1]


def ill_conditioned(rows: int = 2000, columns: int = 20, condition: float = 1e4) -> Arrays:
    """A linear problem whose directions differ in curvature by `condition`.

    Standardising would undo the scales of columns, so these are mixed by a rotation first.
    """
    random = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(random.standard_normal((columns, columns)))
    scales = np.geomspace(1.0, condition**-0.5, columns)
    hidden = random.standard_normal((rows, columns))
    y = hidden @ random.standard_normal(columns) + 0.1 * random.standard_normal(rows)
    return hidden * scales @ rotation, y


def teacher(rows: int = 4000, columns: int = 12, classes: int = 4) -> Arrays:
    """Labels by a random network, a fifth of its scores being noise."""
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, columns))
    scores = np.tanh(x @ random.standard_normal((columns, 16))) @ random.standard_normal((16, classes))
    scores += 0.2 * scores.std() * random.standard_normal(scores.shape)
    return x, scores.argmax(axis=1)


BASE = (
    Workload("digits", bundled("digits")),
    Workload("digits, batch norm", bundled("digits"), hidden=(64,) * 4, batch_norm=True),
    Workload("breast cancer, linear", bundled("breast_cancer"), hidden=()),
    Workload("breast cancer", bundled("breast_cancer")),
    Workload("diabetes", bundled("diabetes"), task="regression"),
    Workload(
        "california housing",
        california,
        task="regression",
        note=f"{HOUSES:,} of its 20,640 rows",
    ),
    Workload("wine", bundled("wine")),
    Workload("ill-conditioned, linear", ill_conditioned, task="regression", hidden=()),
    Workload("teacher and student", teacher),
)
AWKWARD: tuple[tuple[str, Callable[[Workload], dict[str, Any]]], ...] = (
    ("inputs × 100", lambda one: {"inputs_times": 100.0}),
    ("weights × 3", lambda one: {"weights_times": 3.0} if one.hidden else {}),
    ("depth × 3", lambda one: {"hidden": one.hidden * 3} if one.hidden else {}),
    ("batches of 4", lambda one: {"batch_divided": 8}),
    ("20 % wrong labels", lambda one: {"label_noise": 0.2}),
)
OUT_OF_SIGHT = {  # first swept when the constants of the race had been chosen
    "california housing": ("inputs × 100", "weights × 3", "depth × 3", "batches of 4", "20 % wrong labels"),
    "teacher and student": ("depth × 3", "batches of 4", "20 % wrong labels"),
    "digits, batch norm": ("depth × 3", "batches of 4", "20 % wrong labels"),
    "digits": ("batches of 4",),
    "breast cancer": ("batches of 4",),
    "diabetes": ("batches of 4",),
    "ill-conditioned, linear": ("batches of 4",),
}
PERTURBED = tuple(
    replace(
        one,
        name=f"{one.name}; {words}",
        tuned_on=words not in OUT_OF_SIGHT.get(one.name, ()),
        **change(one),
    )
    for words, change in AWKWARD
    for one in BASE
    if change(one)
)
ALL = (*BASE, *PERTURBED)
QUICK = ("breast cancer, linear", "wine", "diabetes")
