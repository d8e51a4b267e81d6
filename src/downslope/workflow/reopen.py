"""A finished run with its data: the network, and the very rows that it was trained on, found again."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from downslope.data.bundled import BUNDLED
from downslope.errors import OptionError, RunFolderError
from downslope.gradient.backprop import Batch
from downslope.runs import folder as runs
from downslope.training.evaluate import even_part
from downslope.workflow.options import TrainOptions, is_own
from downslope.workflow.prepare import prepare
from downslope.workflow.trained import Trained, load


@dataclass(frozen=True)
class Reopened:
    """A run, read back for a closer look.

    Attributes:
        folder: where it is.
        trained: the kept weights and their network.
        rows: the training rows (or some of them), encoded and weighted as they were.
        n_rows: how many training rows the run had.
        config, summary: the content of config.json and summary.json.
    """

    folder: Path
    trained: Trained
    rows: Batch
    n_rows: int
    config: dict[str, Any]
    summary: dict[str, Any]

    @property
    def kept_step(self) -> int:
        """Updates done when the kept weights were reached: 0 for the start."""
        best = self.summary.get("best_epoch")
        history = runs.read_history(self.folder)
        steps = dict(zip(history["epoch"].to_pylist(), history["step"].to_pylist(), strict=True))
        return steps.get(best, 0)

    @property
    def kept(self) -> str:
        """Which weights a run keeps, in words: ``the kept weights, of epoch 12 of 40``."""
        best = self.summary.get("best_epoch")
        return f"the kept weights, of epoch {best} of {self.summary.get('epochs')}" if best else "the start"

    @property
    def which_rows(self) -> str:
        """The rows in words: ``all 1,257 training rows``."""
        some = len(self.rows.weights)
        return (
            f"all {some:,} training rows"
            if some == self.n_rows
            else f"{some:,} of {self.n_rows:,} training rows"
        )


def checked_rows(rows: Any) -> int:
    """Return how many rows to use at most; OptionError where it is not a whole number of at least 1."""
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 1:
        raise OptionError(f"--rows must be a whole number of at least 1, got {rows!r}")
    return rows


def reopen(
    folder: str | Path,
    data: Any = None,
    y: Any = None,
    *,
    most_rows: int | None = None,
    **own: Any,
) -> Reopened:
    """Read a run and its training rows.

    Args:
        folder: the run folder.
        data: the data, where it has moved or was in memory; None: from where it was.
        y: the targets where `data` is an array.
        most_rows: take so many training rows that have any weight at most, evenly from all; None: all.
        own: ``model``, ``loss`` and ``sample_weight``, where they were your own; else None.

    Raises:
        RunFolderError: not a finished run, or its data is not where it was, or has changed.
        OptionError: something that the folder cannot hold is needed and was not given.
    """
    folder = Path(folder)
    runs.refuse_comparison(folder)
    config, summary = runs.read_json(folder / "config.json"), runs.read_json(folder / "summary.json")
    own = {name: value for name, value in own.items() if value is not None}
    for name in own:
        if not is_own(name, config.get(name)):
            raise OptionError(f"{folder}: its {name} was {config.get(name)}, none of your own; leave it out")
    trained = load(folder, own.get("model"))
    where = config.get("data_path")
    given = data is not None
    if not given:
        if where is None:
            raise OptionError(
                f"{folder}: was trained on data in memory; hand the same data over in Python, data=…"
            )
        if where not in BUNDLED and not Path(where).is_file():
            raise RunFolderError(f"{folder}: its data is no longer at {where}; say where it is: --data FILE")
        data = where
    prepared = prepare(data, y, _options(folder, config, own))
    if prepared.fingerprint != config.get("data_fingerprint"):
        what = f"{prepared.name} is not the data it was trained on" if given else f"{where} has changed since"
        raise RunFolderError(f"{folder}: {what}; give that file as it was: --data FILE")
    if prepared.sample_weight_fingerprint != config.get("sample_weight_fingerprint"):
        raise RunFolderError(f"{folder}: sample_weight is not what it was trained with; give the same again")
    rows = prepared.rows["train"]
    n_rows = len(rows.weights)
    if most_rows is not None and most_rows < n_rows:
        rows = even_part(rows, most_rows)
    return Reopened(
        folder, replace(trained, loss=prepared.loss, stands_in=False), rows, n_rows, config, summary
    )


def _options(folder: Path, config: dict[str, Any], own: dict[str, Any]) -> TrainOptions:
    """Return what decides how data becomes rows; how they are descended is of no matter here."""
    for name in ("loss", "sample_weight"):
        if is_own(name, config.get(name)) and name not in own:
            raise OptionError(
                f"{folder}: its {name} was your own, which a run folder cannot hold; in Python, hand it over "
                f"again: {name}=…"
            )
    names = {field.name for field in fields(TrainOptions)} & {
        *("target", "task", "test_fraction", "validation_fraction", "drop", "header", "delimiter"),
        *("loss", "sample_weight", "class_weight", "seed"),
    }
    try:
        options = TrainOptions(**{name: config[name] for name in names} | own)
    except KeyError as error:
        raise RunFolderError(f"{folder / 'config.json'}: damaged ({error} is missing); train again") from None
    # What it was tested on is not needed where that was not of the data, but no row was held out then.
    return replace(options, test_fraction=0.0) if config.get("test") else options
