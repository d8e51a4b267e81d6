"""The main job as scikit-learn estimators: in pipelines, cross-validation and searches.

>>> from sklearn.datasets import load_iris
>>> X, y = load_iris(return_X_y=True)
>>> float(DownslopeClassifier(epochs=20).fit(X, y).score(X, y)) > 0.9
True
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from downslope.data.memory import is_frame
from downslope.data.table import DEFAULT_TARGET
from downslope.data.target import Task
from downslope.errors import OptionError
from downslope.workflow.run import Run
from downslope.workflow.train import train

NOT_OPTIONS = ("random_state", "verbose", "class_weight")  # of `train`, or not by this name or in this form


@dataclass(kw_only=True, eq=False, repr=False)
class _Estimator(BaseEstimator):
    """What classification and regression share.

    The parameters are options of `downslope.train`, with the same meaning and defaults; see
    `workflow.options.TrainOptions`. No rows are held out to test on: that is scikit-learn's part here.
    """

    task: ClassVar[Task]

    model: Any = "mlp"
    hidden: Any = None
    activation: str = "silu"
    batch_norm: bool = False
    layer_norm: bool = False
    group_norm: int = 0
    dropout: float | None = None
    ramps: int | None = None
    loss: Any = None
    optimizer: Any = "adamw"
    learning_rate: float | str | None = "auto"
    schedule: str | None = None
    weight_decay: float | str | None = None
    batch_size: int | str | None = None
    accumulate: int = 1
    clip_norm: float | None = None
    ema: float | None = None
    precision: str = "float32"
    devices: str | int | None = None
    shard: str | None = None
    epochs: int | str | None = None
    max_seconds: float | None = None
    early_stopping: bool = True
    validation_fraction: float = 0.1
    guard: bool = True
    random_state: Any = 0
    verbose: bool = False

    def _fit(self, X: Any, y: np.ndarray, sample_weight: Any, **more: Any) -> Self:
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, y)
        self._columns = [str(name) for name in X.columns] if is_frame(X) else None
        target = DEFAULT_TARGET
        while target in (self._columns or ()):
            target += "_"
        options = self.get_params(deep=False)
        self.run_: Run = train(
            X,
            y,
            out=False,
            quiet=not self.verbose,
            target=target,
            task=self.task,
            test_fraction=0.0,
            sample_weight=weights,
            seed=_seed(self.random_state),
            **{name: value for name, value in options.items() if name not in NOT_OPTIONS},
            **more,
        )
        self.n_iter_ = int(self.run_.summary["epochs"])
        return self

    def _rows(self, X: Any, reset: bool) -> Any:
        """Return rows as `train` takes them: frames as they are, of their own types; else a checked array."""
        if is_frame(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        own = not isinstance(self.model, str)
        fewest = 2 if reset else 1
        finite = True if own else "allow-nan"
        return validate_data(
            self,
            X,
            reset=reset,
            dtype=None,
            ensure_all_finite=finite,
            allow_nd=own,
            ensure_min_samples=fewest,
        )

    def _new_rows(self, X: Any) -> Any:
        """Return rows to predict, named where the rows of `fit` were."""
        check_is_fitted(self)
        X = self._rows(X, reset=False)
        if self._columns is None:
            return np.asarray(X)
        return X if is_frame(X) else pa.table(dict(zip(self._columns, X.T, strict=True)))

    def __sklearn_tags__(self) -> Any:
        """Say what rows may hold."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = isinstance(self.model, str)
        tags.input_tags.string = tags.input_tags.categorical = isinstance(self.model, str)
        tags.non_deterministic = False
        return tags


@dataclass(kw_only=True, eq=False, repr=False)
class DownslopeClassifier(ClassifierMixin, _Estimator):
    """A network that tells classes apart, trained as by `downslope.train`.

    Rows are an array (rows, columns), or a pandas, polars or pyarrow frame, whose columns may be numbers,
    categories, truth values or dates, with cells missing: nothing has to be encoded, filled in or scaled
    first. With a network of your own as `model` they are an array of any shape.

    Args:
        class_weight: ``"balanced"``, or {label: weight}.
        validation_fraction: share of the rows of `fit` that say when to stop, how much the weights decay,
            and which learning rate is best; 0: none.
        random_state: an integer for the same result each time; None or a NumPy generator for another.
        verbose: whether to print what happens.
        others: options of `downslope.train`, with its defaults; see `workflow.options.TrainOptions`.

    Attributes:
        classes_: the labels, (classes,).
        run_: the `Run`, with ``.summary``, ``.history`` and ``.plot()``.
        n_iter_: epochs trained.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
    """

    task = "classification"
    class_weight: Any = None

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train.

        Args:
            X: the rows, (rows, columns).
            y: their labels, (rows,).
            sample_weight: how much each row counts, ≥ 0, (rows,); None: 1.

        Raises:
            InputError: the rows or a parameter cannot be used; it is a `ValueError`.
            NonFiniteError: the loss stopped being a number.
        """
        X = self._rows(X, reset=True)
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise OptionError(
                f"y holds one class only, {self.classes_[0]!r}; classification needs at least two"
            )
        return self._fit(X, codes, sample_weight, class_weight=self._class_weight())

    def predict(self, X: Any) -> np.ndarray:
        """Return a label for each row, (rows,)."""
        rows = self._new_rows(X)
        return self.classes_[self.run_.predict(rows).astype(int)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities, (rows, classes), in the order of `classes_`."""
        rows = self._new_rows(X)
        return self.run_.predict_proba(rows)

    def _class_weight(self) -> Any:
        """Return the class weights by class code, as the network is trained on codes."""
        if not isinstance(self.class_weight, dict):
            return self.class_weight
        codes = {label: code for code, label in enumerate(self.classes_.tolist())}
        unknown = [label for label in self.class_weight if label not in codes]
        if unknown:
            raise OptionError(f"class_weight: {unknown[0]!r} is not a class; they are {list(codes)}")
        return {codes[label]: weight for label, weight in self.class_weight.items()}


@dataclass(kw_only=True, eq=False, repr=False)
class DownslopeRegressor(RegressorMixin, _Estimator):
    """A network that predicts a number, trained as by `downslope.train`; see `DownslopeClassifier`.

    Attributes:
        run_: the `Run`, with ``.summary``, ``.history`` and ``.plot()``.
        n_iter_: epochs trained.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.
    """

    task = "regression"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train.

        Args:
            X: the rows, (rows, columns).
            y: what is to be predicted, (rows,).
            sample_weight: how much each row counts, ≥ 0, (rows,); None: 1.

        Raises:
            InputError: the rows or a parameter cannot be used; it is a `ValueError`.
            NonFiniteError: the loss stopped being a number.
        """
        X = self._rows(X, reset=True)
        y = column_or_1d(y, warn=True, dtype=np.float64)
        check_consistent_length(X, y)
        return self._fit(X, y, sample_weight)

    def predict(self, X: Any) -> np.ndarray:
        """Return a number in the unit of `y` for each row, (rows,)."""
        rows = self._new_rows(X)
        return self.run_.predict(rows)


def _seed(random_state: Any) -> int:
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    if isinstance(random_state, np.random.Generator):  # which scikit-learn's own check does not know
        return int(random_state.integers(2**31))
    return int(check_random_state(random_state).randint(2**31))
