"""A finished run, as the library hands it to its user."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from downslope.report.notebook import run_figure, run_html
from downslope.runs import folder as runs
from downslope.workflow.trained import Trained, load


class Run:
    """A trained network and the record of how it was trained.

    Attributes:
        summary: the content of summary.json: task, metrics, seconds, why it stopped, …
        history: one row per epoch, a pyarrow table (``.to_pandas()`` where pandas is installed).
        folder: where the run is on disk; None where nothing was written.
    """

    def __init__(self, trained: Trained, summary: dict[str, Any], history: pa.Table, folder: Path | None):
        self._trained = trained
        self.summary = summary
        self.history = history
        self.folder = folder

    @classmethod
    def load(cls, folder: str | Path, model: Any = None) -> "Run":
        """Read a run from its folder. No code of the folder is run.

        Args:
            folder: the run folder.
            model: the network, where it was your own.

        Raises:
            RunFolderError: the folder is not a run's, is not finished, or is damaged.
        """
        folder = Path(folder)
        trained = load(folder, model)
        return cls(trained, runs.read_json(folder / "summary.json"), runs.read_history(folder), folder)

    @property
    def params(self) -> Any:
        """The weights: nested dictionaries of arrays."""
        return self._trained.params

    @property
    def classes(self) -> list[Any]:
        """The labels, in the order of the columns of `predict_proba`; empty for regression."""
        return list(self._trained.encoding.classes)

    def predict(self, data: Any) -> np.ndarray:
        """Return one label or one number, in the target's own units, per row, in order.

        Args:
            data: anything that `train` takes; the target's column may be there or not.

        Raises:
            DataError: a column is lacking, or holds text where numbers are needed.
        """
        return self._trained.predict(data)

    def predict_proba(self, data: Any) -> np.ndarray:
        """Return probabilities, (rows, classes), each row summing to 1; OptionError for a regression."""
        return self._trained.predict_proba(data)

    def evaluate(self, data: Any, y: Any = None) -> dict[str, float]:
        """Return metrics on data that holds the target.

        They are `loss`, and by task `accuracy` and `log_loss`, or `rmse`, `mae` and `r2`. A run that was
        read from a folder does not know a loss of your own, and leaves `loss` out.

        Raises:
            DataError: a column is lacking, or a class was never seen in training.
        """
        return self._trained.evaluate(data, y)

    def plot(self, what: str = "loss") -> Any:
        """Return a curve of the run as a Plotly figure.

        Args:
            what: ``"loss"``; a column of the history, such as ``"learning_rate"``, ``"gradient_norm"`` or
                ``"sharpness"``; or, once it was measured, ``"landscape"`` or ``"surface"``.

        Raises:
            OptionError: there is no such thing, or it was not recorded.
        """
        return run_figure(self.history, self.summary, what, self.folder)

    def _repr_html_(self) -> str:
        title = f"{self.summary['target']}: {headline(self.summary)}"
        return run_html(title, self.history, self.summary)

    def __repr__(self) -> str:
        where = f", folder='{self.folder}'" if self.folder else ""
        return f"Run(target='{self.summary['target']}', {headline(self.summary)}{where})"


def headline(summary: dict[str, Any]) -> str:
    """Return the one number to remember: ``test accuracy 0.981``, or of the best split there is."""
    split = next(name for name in ("test", "validation", "train") if name in summary["metrics"])
    name, label = ("accuracy", "accuracy") if summary["task"] == "classification" else ("r2", "R²")
    value = summary["metrics"][split][name]
    return f"{split} {label} {'undefined' if value is None else f'{value:.4f}'}"
