"""A trained network with everything it needs to answer about new rows, in memory or from a run folder."""

from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from downslope import pytrees
from downslope.data.encoding import Encoding, Inputs
from downslope.data.memory import ARRAYS_NAME
from downslope.data.source import read
from downslope.data.table import Table
from downslope.errors import DataError, OptionError, RunFolderError
from downslope.gradient.backprop import Batch
from downslope.losses import DEFAULT_LOSS, Loss, loss_by_name
from downslope.models.architecture import Architecture
from downslope.models.functional import Model
from downslope.runs import folder as runs
from downslope.training.evaluate import Evaluated, Evaluation, cut, evaluate, evaluation_size, make_evaluation
from downslope.workflow import measure
from downslope.workflow.arrays import AnyEncoding, ArrayEncoding, ArrayTable, read_arrays
from downslope.workflow.options import MODELS
from downslope.workflow.own_network import own_model
from downslope.workflow.prepare import encode


@dataclass(frozen=True)
class Trained:
    """Weights, the network they belong to, and the way from columns to arrays and back.

    Attributes:
        model: the network.
        architecture: the network in numbers; None for the user's own.
        encoding: how columns became arrays.
        loss: the cost function it was trained on; where that was the user's own and is not at hand, the
            task's default, which predicts alike.
        params, model_state: nested dictionaries of arrays.
        header, delimiter: how text files were read.
        array_columns: columns of the array that was trained on, which has no names for them; None: no array.
        stands_in: whether `loss` is not the one that it was trained on.
    """

    model: Model
    architecture: Architecture | None
    encoding: AnyEncoding
    loss: Loss
    params: Any
    model_state: Any
    header: bool = True
    delimiter: str | None = None
    array_columns: int | None = None
    stands_in: bool = False

    def read(self, data: Any, y: Any = None) -> Table | ArrayTable:
        """Read data to predict or to evaluate the way the training data was read.

        Raises:
            DataError: it cannot be read so, or is an array of more columns than that of the training.
        """
        if isinstance(data, ArrayTable):
            return data
        if isinstance(self.encoding, ArrayEncoding):
            return read_arrays(data, y, self.encoding.target)
        table = read(
            data,
            y,
            target=self.encoding.target,
            header=self.header,
            delimiter=self.delimiter,
            **self.encoding.as_read,
        )
        if self.array_columns is not None and table.name == ARRAYS_NAME:
            n_columns = len(table.column_names) - (y is not None)
            if n_columns > self.array_columns:  # where there are fewer, the encoding says which it lacks
                raise DataError(
                    f"{table.name}: has {n_columns} columns, but the rows of the training had "
                    f"{self.array_columns}; give the same columns in the same order"
                )
        return table

    def unfamiliar(self, table: Table | ArrayTable) -> list[str]:
        """Return what should be said of new rows that hardly resemble those of training; see `Encoding`."""
        if isinstance(table, ArrayTable) or isinstance(self.encoding, ArrayEncoding):
            return []
        return self.encoding.unfamiliar(table)

    @cached_property
    def _evaluation(self) -> Any:
        """The compiled evaluation: one for all calls, as compiling takes longer than most of them."""
        return evaluation_of(self.architecture, self.model, self.loss)

    def measured(self, rows: Batch) -> Evaluated:
        """Return predictions and the mean loss."""
        batches = cut(rows, evaluation_size(rows))
        return evaluate(self._evaluation, self.params, self.model_state, batches, len(rows.weights))

    def predict(self, data: Any) -> np.ndarray:
        """Return one label, or one number in the target's units, per row of `data`, in order."""
        answers = self._answers(data)
        if self.encoding.task == "classification":
            answers = np.argmax(answers, axis=1)
        return self.encoding.decode_target(answers)

    def predict_proba(self, data: Any) -> np.ndarray:
        """Return probabilities, (rows, classes), columns in the order of `encoding.classes`.

        Raises:
            OptionError: the run is a regression.
        """
        if self.encoding.task == "regression":
            raise OptionError(
                f"--proba is for classification, but this run predicts numbers ('{self.encoding.target}')"
            )
        shares = self._answers(data).astype(np.float64)
        return shares / shares.sum(axis=1, keepdims=True)  # to 1 in float64 too

    def evaluate(self, data: Any, y: Any = None) -> dict[str, float]:
        """Return the metrics on data that holds the target too; no ``loss`` where another stands in for it.

        Raises:
            DataError: no such column, no rows, or a class that training never saw.
        """
        rows = encode(self.encoding, self.read(data, y))
        found = measure.metrics_of(self.encoding, self.measured(rows), np.asarray(rows.targets))
        if self.stands_in:
            del found["loss"]
        return found

    def _answers(self, data: Any) -> np.ndarray:
        table = self.read(data)
        inputs: Any = self.encoding.encode_inputs(table)  # pyright: ignore[reportArgumentType]
        dtype = np.float32 if self.encoding.task == "regression" else np.int32
        not_looked_at = np.zeros(table.n_rows, dtype)
        return self.measured(Batch(inputs, not_looked_at, np.ones(table.n_rows, np.float32))).predictions

    def __getstate__(self) -> dict[str, Any]:
        """Return plain data for `pickle`: what describes the network and the loss, not their code.

        Raises:
            TypeError: the network or the loss is the user's own.
        """
        if self.architecture is None or self.loss.is_own:
            raise TypeError("a run with a network or a loss of your own cannot be pickled; save it with out=")
        plain = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "model"}
        weights = jax.tree.map(np.asarray, {"params": self.params, "model_state": self.model_state})
        return {**plain, **weights, "loss": self.loss.spelled}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Build the network and the loss anew."""
        encoding = state["encoding"]
        loss = loss_by_name(state["loss"], encoding.task, len(encoding.classes))
        self.__dict__.update(state, loss=loss, model=state["architecture"].build())

    def save(self, folder: Path) -> None:
        """Write model.json and model.safetensors."""
        described = {
            "architecture": None if self.architecture is None else self.architecture.to_json(),
            # one's own predicts as the default does
            "loss": DEFAULT_LOSS[self.encoding.task] if self.loss.is_own else self.loss.spelled,
            "stands_in": self.loss.is_own,
        }
        runs.write_json(folder / "model.json", described)
        leaves = jax.tree.leaves(self._weights)
        runs.write_weights(
            folder / "model.safetensors",
            {name: np.asarray(leaf) for name, leaf in zip(pytrees.paths(self._weights), leaves, strict=True)},
        )

    @property
    def _weights(self) -> dict[str, Any]:
        return {"params": self.params, "state": self.model_state}


def load(folder: Path, network: Any = None) -> Trained:
    """Read a trained network from a run folder; nothing in the folder is run.

    Args:
        folder: the run folder.
        network: the user's own network, where it is one: a folder holds its weights, not its code.

    Raises:
        RunFolderError: the folder is not a run's, is not finished, or is damaged.
        OptionError: the network is the user's own and was not given.
    """
    folder = Path(folder)
    runs.refuse_comparison(folder)
    config = runs.read_json(folder / "config.json")
    described = runs.read_json(folder / "model.json")
    stored_encoding = runs.read_json(folder / "encoding.json")
    stored_encoding.pop("describe", None)  # for the report
    try:
        kind = ArrayEncoding if "shape" in stored_encoding else Encoding
        encoding = kind.from_json(stored_encoding)
    except DataError as error:
        path = folder / "encoding.json"
        raise RunFolderError(f"{path}: damaged ({error}); train again with --overwrite") from None
    try:
        own = described["architecture"] is None
        architecture = None if own else Architecture.from_json(described["architecture"])
        loss = loss_by_name(described["loss"], encoding.task, len(encoding.classes))
    except (KeyError, AttributeError, TypeError, OptionError, RunFolderError) as error:
        path = folder / "model.json"
        raise RunFolderError(f"{path}: damaged ({error}); train again with --overwrite") from None
    if architecture is not None and not _fits(architecture, encoding, loss):
        raise RunFolderError(
            f"{folder}: damaged (encoding.json and model.json do not fit); train again with --overwrite"
        )
    model = own_model(network, encoding) if architecture is None else architecture.build()
    stored = runs.read_weights(folder / "model.safetensors")
    params, state = jax.eval_shape(model.init, jax.random.key(0), _example(encoding))
    weights = jax.tree_util.tree_map_with_path(
        lambda path, leaf: _stored(stored, pytrees.path_name(path), leaf.shape, folder, network is not None),
        {"params": params, "state": state},
    )
    unknown = stored.keys() - set(pytrees.paths(weights))
    if unknown:
        raise RunFolderError(
            f"{folder / 'model.safetensors'}: holds '{min(unknown)}', which the network has not; it was "
            "another network that was trained"
        )
    params, state = weights["params"], weights["state"]
    how_read = config.get("header", True), config.get("delimiter"), config.get("array_columns")
    return Trained(
        model, architecture, encoding, loss, params, state, *how_read, described.get("stands_in") is True
    )


def evaluation_of(architecture: Architecture | None, model: Model, loss: Loss) -> Evaluation:
    """Return the compiled evaluation in float32; networks that are alike share theirs."""
    if architecture is None or loss.is_own:
        return jax.jit(make_evaluation(model, loss))
    return _shared_evaluation(architecture.alike, loss)


@lru_cache(maxsize=8)
def _shared_evaluation(architecture: Architecture, loss: Loss) -> Evaluation:
    return jax.jit(make_evaluation(architecture.build(), loss))


def _fits(architecture: Architecture, encoding: AnyEncoding, loss: Loss) -> bool:
    """Return whether a network takes what the encoding gives, and gives what the loss takes."""
    if isinstance(encoding, ArrayEncoding) or architecture.model not in MODELS:
        return False
    columns = architecture.columns
    return (columns.n_dense, list(columns.embedding_sizes), architecture.n_outputs) == (
        encoding.n_dense,
        list(encoding.embedding_sizes),
        loss.n_outputs(len(encoding.classes)),
    )


def _example(encoding: AnyEncoding) -> Any:
    """Return one row of zeros in the shape of the inputs."""
    if isinstance(encoding, ArrayEncoding):
        return np.zeros((1, *encoding.shape), encoding.dtype)
    categories = np.zeros((1, len(encoding.embedding_sizes)), np.int32)
    return Inputs(np.zeros((1, encoding.n_dense), np.float32), categories)


def _stored(
    arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], folder: Path, is_own: bool
) -> np.ndarray:
    array = arrays.get(name)
    if array is not None and shape == () and array.size == 1:
        array = array.reshape(())  # `write_weights` makes one row of a scalar
    if array is None or array.shape != shape:
        found = "is missing" if array is None else f"has shape {array.shape}, not {shape}"
        path = folder / "model.safetensors"
        if is_own:
            raise RunFolderError(f"{path}: '{name}' {found}; it was another network that was trained")
        raise RunFolderError(f"{path}: damaged ('{name}' {found}); train again")
    return array
