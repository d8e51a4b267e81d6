"""Columns of dates and moments → calendar inputs.

What repeats (month, weekday, hour) goes on a circle, as sine and cosine, so that December lies
beside January; what does not (the day, the year) is standardised.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from downslope.data import cells
from downslope.data.fields import check
from downslope.data.numeric import LIMIT
from downslope.data.written_dates import ORDERS

_MICROSECONDS_PER_HOUR = 3_600_000_000
_STANDARDISED = ("day", "year", "day of month")


@dataclass(frozen=True)
class Date:
    """Those calendar inputs that vary in training; missing cells become 0 beside an indicator.

    Arguments:
        parts: names out of `calendar`; `means` and `stds` go with them (0 and 1 on a circle).
        order: "day first" or "month first" where that was open in the text of training, "" otherwise.
    """

    kind: ClassVar[str] = "date"
    name: str
    parts: tuple[str, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]
    indicator: bool
    note: str
    order: str = ""

    became: ClassVar[str] = "calendar"

    def __post_init__(self) -> None:
        what = f"column '{self.name}'"
        known = calendar(np.zeros(1, "datetime64[us]"))
        check(len(self.parts) == len(self.means) == len(self.stds), what, "has lists of different lengths")
        check(set(self.parts) <= set(known), what, "has an unknown calendar part")
        check(all(std > 0 for std in self.stds), what, "has a scale that is not positive")
        check(self.order in ("", *ORDERS), what, "has an unknown order of day and month")

    @property
    def feature_names(self) -> list[str]:
        """Names of the dense inputs."""
        names = [f"{self.name}: {part}" for part in self.parts]
        return [*names, *([f"{self.name} is missing"] if self.indicator else [])]

    def fill(self, column: pa.ChunkedArray, out: np.ndarray, source: str) -> None:
        """Write the inputs, (n, width), into `out`."""
        moments = cells.moments(column, self.name, source, self.order)
        values = calendar(moments)
        for i, (part, mean, std) in enumerate(zip(self.parts, self.means, self.stds, strict=True)):
            out[:, i] = np.nan_to_num(np.clip((values[part] - mean) / std, -LIMIT, LIMIT), nan=0.0)
        if self.indicator:
            out[:, -1] = np.isnat(moments)


def fit_date(name: str, moments: np.ndarray, order: str = "") -> Date | None:
    """Fit to training moments, datetime64[us] (n,), NaT where missing; None if all present are equal.

    What stood first in their text is remembered for other files.
    """
    present = moments[~np.isnat(moments)]
    parts, means, stds = [], [], []
    if len(present):
        for part, values in calendar(present).items():
            if np.ptp(values) > 1e-9:
                standardised = part in _STANDARDISED
                parts.append(part)
                means.append(float(values.mean()) if standardised else 0.0)
                stds.append(float(values.std()) if standardised else 1.0)
    if not parts:
        return None
    n_missing = len(moments) - len(present)
    note = f"{n_missing} missing in training, replaced by 0, with an indicator" if n_missing else ""
    return Date(name, tuple(parts), tuple(means), tuple(stds), n_missing > 0, note, order)


def calendar(moments: np.ndarray) -> dict[str, np.ndarray]:
    """Return the calendar parts of moments, datetime64[us] (n,): float64 (n,) each, NaN for NaT."""
    missing = np.isnat(moments)
    days = moments.astype("datetime64[D]")
    months = moments.astype("datetime64[M]")
    number = days.astype(np.int64)
    hour = (moments - days).astype(np.int64) / _MICROSECONDS_PER_HOUR
    month = months.astype(np.int64) % 12
    weekday = (number + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    parts = {
        "day": number + hour / 24,  # since 1970-01-01
        "year": moments.astype("datetime64[Y]").astype(np.float64) + 1970,
        "day of month": (days - months.astype("datetime64[D]")).astype(np.float64) + 1,
    }
    for circle, position in (("month", month / 12), ("weekday", weekday / 7), ("hour", hour / 24)):
        parts[f"{circle} (sine)"] = np.sin(2 * np.pi * position)
        parts[f"{circle} (cosine)"] = np.cos(2 * np.pi * position)
    return {part: np.where(missing, np.nan, values) for part, values in parts.items()}
