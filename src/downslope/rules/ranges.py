"""Which hyperparameter values are allowed, said once as an interval and quoted in the error."""

import math
from numbers import Integral, Real

from downslope.errors import OptionError

FRACTION = "[0, 1)"
POSITIVE = "(0, inf)"
NOT_NEGATIVE = "[0, inf)"


def checked(rule: str, **values: tuple[float, str]) -> dict[str, float]:
    """Return the values alone, after checking that each lies in its interval.

    Args:
        rule: whose hyperparameters these are, for the message.
        values: ``name=(value, interval)`` with intervals as in mathematics: ``"[0, 1)"``.

    Raises:
        OptionError: naming the value and the interval, at the first that is outside.

    >>> checked("adam", b1=(0.9, "[0, 1)"))
    {'b1': 0.9}
    """
    for name, (value, interval) in values.items():
        if not _is_real(value) or not _inside(value, interval):
            raise OptionError(f"{rule}: {name} must be a number in {interval}, got {value!r}")
    return {name: value for name, (value, _) in values.items()}


def counts(rule: str, **values: tuple[int, str]) -> dict[str, int]:
    """Return the values alone, after checking that each is a whole number in its interval; see `checked`."""
    for name, (value, interval) in values.items():
        if not isinstance(value, Integral) or not _is_real(value) or not _inside(value, interval):
            raise OptionError(f"{rule}: {name} must be a whole number in {interval}, got {value!r}")
    return {name: int(value) for name, (value, _) in values.items()}


def _is_real(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _inside(value: float, interval: str) -> bool:
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return above and below
