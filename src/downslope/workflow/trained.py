"""A trained network with everything it needs to answer about new rows, in memory or from a run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from downslope import pytrees
from downslope.data.encoding import Encoding
from downslope.data.source import read
from downslope.data.table import Table
from downslope.errors import DataError, OptionError, RunFolderError
from downslope.gradient.backprop import Batch
from downslope.losses import Loss, loss_by_name
from downslope.models.architecture import Architecture
from downslope.runs import folder as runs
from downslope.training.evaluate import Evaluated, cut, evaluate, make_evaluation
from downslope.training.loop import evaluation_size
from downslope.workflow import measure
from downslope.workflow.prepare import encode


@dataclass(frozen=True)
class Trained:
    """Weights, the network they belong to, and the way from columns to arrays and back.

    Attributes:
        architecture: the network.
        encoding: how columns became arrays.
        loss: the cost function it was trained on.
        params, model_state: nested dictionaries of arrays.
        header, delimiter: how text files were read.
    """

    architecture: Architecture
    encoding: Encoding
    loss: Loss
    params: Any
    model_state: Any
    header: bool = True
    delimiter: str | None = None

    def read(self, data: Any, y: Any = None) -> Table:
        """Read data to predict or to evaluate the way the training data was read."""
        return read(data, y, target=self.encoding.target, header=self.header, delimiter=self.delimiter)

    def outputs(self, rows: Batch) -> Evaluated:
        """Return raw outputs and the mean loss."""
        batches = cut(rows, evaluation_size(rows))
        evaluation = jax.jit(make_evaluation(self.architecture.build(), self.loss))
        return evaluate(evaluation, self.params, self.model_state, batches, len(rows.weights))

    def predict(self, data: Any) -> np.ndarray:
        """Return one label, or one number in the target's units, per row of `data`, in order."""
        outputs = self._answers(data)
        if self.encoding.task == "regression":
            return measure.numbers(self.loss, self.encoding, outputs)
        return self.encoding.decode_target(np.argmax(measure.probabilities(self.loss, outputs), axis=1))

    def predict_proba(self, data: Any) -> np.ndarray:
        """Return probabilities, (rows, classes), columns in the order of `encoding.classes`.

        Raises:
            OptionError: the run is a regression.
        """
        if self.encoding.task == "regression":
            raise OptionError(
                f"--proba is for classification, but this run predicts numbers ('{self.encoding.target}')"
            )
        return measure.probabilities(self.loss, self._answers(data))

    def evaluate(self, data: Any, y: Any = None) -> dict[str, float]:
        """Return the metrics on data that holds the target too.

        Raises:
            DataError: no such column, no rows, or a class that training never saw.
        """
        rows = encode(self.encoding, self.read(data, y))
        return measure.metrics_of(self.loss, self.encoding, self.outputs(rows), np.asarray(rows.targets))

    def _answers(self, data: Any) -> np.ndarray:
        inputs = self.encoding.encode_inputs(self.read(data))
        n_rows = len(inputs[0])
        targets = np.zeros(
            n_rows, np.float32 if self.encoding.task == "regression" else np.int32
        )  # not looked at
        return self.outputs(Batch(inputs, targets, np.ones(n_rows, np.float32))).outputs

    def save(self, folder: Path) -> None:
        """Write model.json and model.safetensors."""
        described = {"architecture": self.architecture.to_json(), "loss": self.loss.name}
        runs.write_json(folder / "model.json", described)
        leaves = jax.tree.leaves(self._weights)
        runs.write_weights(
            folder / "model.safetensors",
            {name: np.asarray(leaf) for name, leaf in zip(pytrees.paths(self._weights), leaves, strict=True)},
        )

    @property
    def _weights(self) -> dict[str, Any]:
        return {"params": self.params, "state": self.model_state}


def load(folder: Path) -> Trained:
    """Read a trained network from a run folder; nothing in the folder is run.

    Raises:
        RunFolderError: the folder is not a run's, is not finished, or is damaged.
    """
    folder = Path(folder)
    config = runs.read_json(folder / "config.json")
    described = runs.read_json(folder / "model.json")
    try:
        stored_encoding = runs.read_json(folder / "encoding.json")
        stored_encoding.pop("describe", None)  # for the report
        encoding = Encoding.from_json(stored_encoding)
    except DataError as error:
        raise RunFolderError(
            f"{folder / 'encoding.json'}: damaged ({error}); train again with --overwrite"
        ) from None
    try:
        architecture = Architecture.from_json(described["architecture"])
        loss = loss_by_name(described["loss"], encoding.task, len(encoding.classes))
    except (KeyError, OptionError) as error:
        raise RunFolderError(
            f"{folder / 'model.json'}: damaged ({error}); train again with --overwrite"
        ) from None
    stored = runs.read_weights(folder / "model.safetensors")
    params, state = jax.eval_shape(architecture.build().init, jax.random.key(0), None)
    expected = {"params": params, "state": state}
    weights = jax.tree_util.tree_map_with_path(
        lambda path, leaf: _stored(stored, pytrees.path_name(path), leaf.shape, folder), expected
    )
    header, delimiter = config.get("header", True), config.get("delimiter")
    return Trained(architecture, encoding, loss, weights["params"], weights["state"], header, delimiter)


def _stored(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], folder: Path) -> np.ndarray:
    array = arrays.get(name)
    if array is None or array.shape != shape:
        found = "is missing" if array is None else f"has shape {array.shape}, not {shape}"
        raise RunFolderError(f"{folder / 'model.safetensors'}: damaged ('{name}' {found}); train again")
    return array
