"""Text columns → one-hot inputs, or codes for a learned embedding where there are many levels.

A level is a text that training saw at least twice. A text seen once has taught nothing that would
carry over; those share one slot, "other", which is thereby trained for the texts that prediction
will bring and training never had. A missing cell has a slot of its own. Where training had no such
row, the slot's inputs are all zeros.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from downslope.data import cells
from downslope.data.fields import check

ONE_HOT_LIMIT = 32
OTHER, MISSING, FIRST_LEVEL = 0, 1, 2  # the codes of an embedded column; levels follow in order


@dataclass(frozen=True)
class OneHot:
    """A 0/1 input for each level, and for "other" and missing where training had such rows.

    Where it had none, those slots would carry weights that nothing trained; such a row is all
    zeros instead, which no level is.
    """

    kind: ClassVar[str] = "one-hot"
    name: str
    levels: tuple[str, ...]
    other: bool
    missing: bool
    note: str

    became: ClassVar[str] = "one-hot"

    def __post_init__(self) -> None:
        check(len(set(self.levels)) == len(self.levels), f"column '{self.name}'", "repeats a level")

    @property
    def feature_names(self) -> list[str]:
        """Names of the dense inputs."""
        return [
            *(f"{self.name}={level}" for level in self.levels),
            *([f"{self.name} is another"] if self.other else []),
            *([f"{self.name} is missing"] if self.missing else []),
        ]

    def fill(self, column: pa.ChunkedArray, out: np.ndarray, source: str) -> None:
        """Write the inputs, (n, width), into `out`, which is zero."""
        places, missing = cells.find(column, self.levels)
        width = out.shape[1]
        if self.missing:
            places = np.where(missing, width - 1, places)
        if self.other:
            places = np.where((places < 0) & ~missing, len(self.levels), places)
        rows = np.flatnonzero(places >= 0)
        out[rows, places[rows]] = 1


@dataclass(frozen=True)
class Embedded:
    """A code for each level: 0 for other, 1 for missing, then the levels."""

    kind: ClassVar[str] = "embedded"
    name: str
    levels: tuple[str, ...]
    note: str

    became: ClassVar[str] = "learned embedding"

    def __post_init__(self) -> None:
        check(len(set(self.levels)) == len(self.levels), f"column '{self.name}'", "repeats a level")

    @property
    def n_codes(self) -> int:
        """Number of codes, the two special ones included."""
        return FIRST_LEVEL + len(self.levels)

    def codes(self, column: pa.ChunkedArray) -> np.ndarray:
        """Return the codes, int32 (n,), each in [0, n_codes)."""
        places, missing = cells.find(column, self.levels)
        codes = np.where(places >= 0, places + FIRST_LEVEL, OTHER)
        return np.where(missing, MISSING, codes).astype(np.int32)


def fit_category(name: str, places: np.ndarray, distinct: list[str]) -> OneHot | Embedded | None:
    """Fit to training cells.

    Arguments:
        name: the column.
        places: of each cell among the distinct texts, (n,), −1 where missing.
        distinct: the texts.

    Returns:
        None where all rows would become the same.
    """
    counts = np.bincount(places[places >= 0], minlength=len(distinct))
    levels = tuple(sorted(distinct[i] for i in np.flatnonzero(counts >= 2)))
    n_rare = int((counts == 1).sum())
    n_missing = int((places < 0).sum())
    if len(levels) + (n_rare > 0) + (n_missing > 0) < 2:
        return None
    notes = []
    if n_rare:
        texts = "1 text seen once shares" if n_rare == 1 else f"{n_rare} texts seen once share"
        notes.append(f"{texts} the slot for unseen ones")
    if n_missing:
        notes.append(f"{n_missing} missing in training, a category of their own")
    note = "; ".join(notes)
    if len(levels) > ONE_HOT_LIMIT:
        return Embedded(name, levels, "; ".join([f"{len(levels)} categories, a learned embedding", *notes]))
    return OneHot(name, levels, n_rare > 0, n_missing > 0, note)
