"""Rows → training, validation and test rows; each class shared out in proportion.

The sizes of the parts follow from the fractions alone. With classes, each class first gives every
part the whole number of rows that its fraction promises; the rows that the rounding left over come
from the classes with the largest remainders, but never the last training row of a class.
"""

from typing import NamedTuple

import numpy as np

from downslope.data.seeds import generator
from downslope.errors import DataError, OptionError


class Split(NamedTuple):
    """Row numbers, counted from 0 and ascending; int64, (n_part,) each; together every row once."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def split(
    n_rows: int,
    *,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    classes: np.ndarray | None = None,
    name: str = "the data",
) -> Split:
    """Share out the rows; the same arguments always give the same parts.

    Arguments:
        n_rows: number of rows.
        test_fraction: share of all rows to test on, in [0, 1); 0 gives an empty part.
        validation_fraction: share of all rows to validate on, in [0, 1).
        seed: the user's seed, ≥ 0.
        classes: class of each row, integers (n_rows,), to stratify by; None for regression.
        name: what messages call the data.

    Returns:
        The parts. Every class has a row to train on; a class with at least 1 / fraction rows is
        in that part.

    Raises:
        OptionError: a fraction is outside [0, 1), or they leave nothing to train on.
        DataError: too few rows for one in each part.
    """
    _check_fractions(test_fraction, validation_fraction)
    n_test = _part(n_rows, test_fraction)
    n_validation = _part(n_rows, validation_fraction)
    if n_rows - n_test - n_validation < 1:
        raise _too_few(name, n_rows, test_fraction, validation_fraction)
    order = generator(seed, "split").permutation(n_rows)
    if classes is None:
        parts = np.split(order, [n_test, n_test + n_validation])
        test, validation, train = (np.sort(part) for part in parts)
        return Split(train, validation, test)

    codes, counts, rank = ranks(np.asarray(classes)[order])
    spare = counts - 1  # rows that a class may give away
    from_test = _shares(counts, spare, test_fraction, n_test)
    from_validation = _shares(counts, spare - from_test, validation_fraction, n_validation)
    if (n_test and not from_test.any()) or (n_validation and not from_validation.any()):
        raise DataError(
            f"{name}: {n_rows} rows in {len(counts)} classes are too few to hold any back for every part; "
            "at least one class needs 3 rows. Add rows, or lower the fractions"
        )
    in_test = rank < from_test[codes]
    in_validation = ~in_test & (rank < (from_test + from_validation)[codes])
    in_train = ~in_test & ~in_validation
    return Split(np.sort(order[in_train]), np.sort(order[in_validation]), np.sort(order[in_test]))


def _part(n_rows: int, fraction: float) -> int:
    return max(1, round(n_rows * fraction)) if fraction > 0 else 0


def _check_fractions(test_fraction: float, validation_fraction: float) -> None:
    options = {"--test-fraction": test_fraction, "--validation-fraction": validation_fraction}
    for option, fraction in options.items():
        if not 0 <= fraction < 1:
            raise OptionError(f"{option} {fraction:g} is outside [0, 1); pass for example 0.2, or 0 for none")
    if test_fraction + validation_fraction >= 1:
        raise OptionError(
            f"--test-fraction {test_fraction:g} and --validation-fraction {validation_fraction:g} "
            "leave no row to train on; together they must stay below 1"
        )


def _too_few(name: str, n_rows: int, test_fraction: float, validation_fraction: float) -> DataError:
    parts = {"training": 1, "validation": validation_fraction, "test": test_fraction}
    wanted = " and ".join(part for part, fraction in parts.items() if fraction > 0)
    needed = n_rows + 1
    while needed - _part(needed, test_fraction) - _part(needed, validation_fraction) < 1:
        needed += 1
    rows = "1 row is" if n_rows == 1 else f"{n_rows} rows are"
    return DataError(
        f"{name}: {rows} too few to split into {wanted}; at least {needed} are needed, or lower the fractions"
    )


def ranks(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each row's class code (n,), the size of each class (k,), each row's place in its class (n,)."""
    _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    by_class = np.argsort(codes, kind="stable")
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(classes), np.int64)
    rank[by_class] = np.arange(len(classes)) - np.repeat(starts, counts)
    return codes, counts, rank


def _shares(counts: np.ndarray, spare: np.ndarray, fraction: float, total: int) -> np.ndarray:
    """Return how many rows of each class (k,) go to a part of `total` rows."""
    # The tiny addend keeps 10 × 0.1 at 1 where it comes out as 0.999….
    ideal = counts * fraction + 1e-9
    shares = np.minimum(np.floor(ideal).astype(np.int64), spare)
    while (missing := total - int(shares.sum())) > 0:
        open_classes = np.flatnonzero(shares < spare)
        if not open_classes.size:
            break  # so many classes of one row that the part stays smaller
        largest = np.argsort(-(ideal - shares)[open_classes], kind="stable")[:missing]
        shares[open_classes[largest]] += 1
    return shares
