r"""Columns of numbers and of truth values → dense inputs near 0 with spread 1.

    z = (f(x) − mean) / std        f(x) = x,  or  asinh((x − center) / spread)

The asinh form is for heavy tails: where some training value lies more than 8 standard deviations
from the mean, which happens in no sample of a normal distribution, a few values set the standard
deviation and all others would be squeezed together. asinh is linear near the center and
logarithmic far from it, keeps the order, takes any sign, and loses nothing.

Where the far values are many, such as −999 for "unknown", they widen the standard deviation until
nothing lies 8 of it away. So a value is far as well if its distance from the median is more than 20
times that of three quarters of the values that differ from the median. That is deaf to a quarter of
the values, wherever they lie; and those equal to the median are left out because of columns that
are mostly 0.

Values beyond |z| = 10 are held there. In training only a value that is rare in an otherwise constant
column gets so far, and one such row would dominate the gradient; in new data it is a cell in another
unit or a range that the network never saw, and must not swamp the other inputs.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from downslope.data import cells
from downslope.data.fields import check

HEAVY_TAIL = 8.0  # standard deviations
FAR = 20.0  # distances within which three quarters lie
LIMIT = 10.0
_JUDGED = 100_000  # values that quartiles are estimated from
_REPEATED = 5  # equal far values that are hardly chance


@dataclass(frozen=True)
class Number:
    """A standardised column; missing cells become 0, the mean, beside a 0/1 indicator.

    Arguments:
        mean, std: of f(x) over the training rows.
        center, spread: of asinh; spread 0 means f(x) = x.
        indicator: whether training had missing cells, and so an indicator to learn from.
    """

    kind: ClassVar[str] = "number"
    name: str
    mean: float
    std: float
    center: float
    spread: float
    indicator: bool
    note: str

    def __post_init__(self) -> None:
        check(self.std > 0 and self.spread >= 0, f"column '{self.name}'", "has a scale that is not positive")

    @property
    def became(self) -> str:
        """What the report calls the result."""
        return "standardised number" if self.spread == 0 else "standardised number, tails compressed"

    @property
    def feature_names(self) -> list[str]:
        """Names of the dense inputs."""
        return [self.name, *([f"{self.name} is missing"] if self.indicator else [])]

    def fill(self, column: pa.ChunkedArray, out: np.ndarray, source: str) -> None:
        """Write the inputs, (n, width), into `out`."""
        values = cells.numbers(column, self.name, source)
        missing = np.isnan(values)
        standardised = self.standardise(values)
        standardised[missing] = 0.0
        out[:, 0] = standardised
        if self.indicator:
            out[:, 1] = missing

    def standardise(self, values: np.ndarray) -> np.ndarray:
        """Return z (n,) of numbers (n,); NaN stays NaN."""
        with np.errstate(over="ignore"):  # near ±1.8e308 a difference overflows, and is held at the limit
            if self.spread > 0:
                values = np.arcsinh((values - self.center) / self.spread)
            z = values - self.mean
            z /= self.std
            return np.clip(z, -LIMIT, LIMIT, out=z)


@dataclass(frozen=True)
class Truth:
    """A column of truth values: 0 or 1; missing cells become the training mean beside an indicator."""

    kind: ClassVar[str] = "truth"
    name: str
    mean: float
    indicator: bool
    note: str

    became: ClassVar[str] = "0 or 1"

    @property
    def feature_names(self) -> list[str]:
        """Names of the dense inputs."""
        return [self.name, *([f"{self.name} is missing"] if self.indicator else [])]

    def fill(self, column: pa.ChunkedArray, out: np.ndarray, source: str) -> None:
        """Write the inputs, (n, width), into `out`."""
        values = cells.truths(column, self.name, source)
        out[:, 0] = np.nan_to_num(values, nan=self.mean)
        if self.indicator:
            out[:, 1] = np.isnan(values)


def fit_number(name: str, values: np.ndarray) -> Number | None:
    """Fit to training values, float64 (n,), NaN where missing; None if all present ones are equal."""
    present = values[~np.isnan(values)]
    indicator, note = _missing(len(values) - len(present), "the mean")
    if len(present) == 0 or present.min() == present.max():
        return None
    far = _far_off(present)
    mean, std = _moments(present)
    center = spread = 0.0
    with np.errstate(over="ignore"):
        reach = max(present.max() - mean, mean - present.min())
    if far.any() or std == 0 or reach > HEAVY_TAIL * std:
        center = float(np.median(present))
        with np.errstate(over="ignore"):
            low, high = np.quantile(present, [0.25, 0.75])
            # The quartiles may be equal; the mean distance from the center is not.
            spread = float(high - low) or float(np.mean(np.abs(present[~far] - center)))
            bent = np.arcsinh((present - center) / spread) if spread > 0 and np.isfinite(spread) else None
        if bent is not None and bent.min() < bent.max():
            mean, std = _moments(bent)
        else:
            center = spread = 0.0
    if not (std > 0 and np.isfinite(std) and np.isfinite(mean)):
        return None  # equal but for rounding
    note = "; ".join(part for part in (note, _repeated(present[far])) if part)
    return Number(name, mean, std, center, spread, indicator, note)


def _far_off(values: np.ndarray) -> np.ndarray:
    """Return which of the values, finite (n,), lie far off from most others, bool (n,)."""
    some = values[:: len(values) // _JUDGED + 1]
    with np.errstate(over="ignore", invalid="ignore"):  # near ±1.8e308 nothing can be said to be farther
        center = np.median(some)
        distances = np.abs(some - center)
        distances = distances[distances > 0]
        reach = FAR * np.quantile(distances, 0.75, method="higher") if len(distances) else np.inf
        if max(values.max() - center, center - values.min()) <= reach:  # nearly always, and soon found
            return np.zeros(len(values), bool)
        return np.abs(values - center) > reach


def _repeated(far: np.ndarray) -> str:
    """Return what is to be said where one far-off value stands for many of them, as −999 does."""
    if len(far) < _REPEATED:
        return ""
    distinct, counts = np.unique(far, return_counts=True)
    most = int(counts.argmax())
    if counts[most] < max(_REPEATED, len(far) / 5):
        return ""
    return (
        f"{distinct[most]:.15g} in {counts[most]:,} training rows lies far off; "
        "empty those cells if it means unknown"
    )


def fit_truth(name: str, values: np.ndarray) -> Truth | None:
    """Fit to training values, 0 or 1 or NaN, (n,); None if all present ones are equal."""
    present = values[~np.isnan(values)]
    if len(present) == 0 or present.min() == present.max():
        return None
    indicator, note = _missing(len(values) - len(present), "the share of true")
    return Truth(name, float(present.mean()), indicator, note)


def _missing(count: int, replacement: str) -> tuple[bool, str]:
    if count == 0:
        return False, ""
    return True, f"{count} missing in training, replaced by {replacement}, with an indicator"


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation, safe from overflow: the squares of 1e200 are not finite."""
    scale = float(np.abs(values).max()) or 1.0
    scaled = values / scale
    return float(scaled.mean()) * scale, float(scaled.std()) * scale
