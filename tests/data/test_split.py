import numpy as np
import pytest
from hypothesis import example, given, strategies as st

from downslope.data.split import split
from downslope.errors import DataError, InputError, OptionError


def assert_every_row_once(parts, n):
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(n))
    assert all(part.dtype == np.int64 and np.all(np.diff(part) > 0) for part in parts)


@example(n=3, test=0.5, validation=0.25, seed=0)
@given(
    n=st.integers(3, 400),
    test=st.floats(0, 0.5),
    validation=st.floats(0, 0.4),
    seed=st.integers(0, 2**40),
)
def test_parts_are_a_partition_of_the_promised_sizes(n, test, validation, seed):
    sizes = [max(1, round(n * fraction)) if fraction > 0 else 0 for fraction in (test, validation)]
    if sum(sizes) >= n:
        with pytest.raises(DataError, match=f"{n} rows are too few to split"):
            split(n, test_fraction=test, validation_fraction=validation, seed=seed)
        return
    parts = split(n, test_fraction=test, validation_fraction=validation, seed=seed)
    assert_every_row_once(parts, n)
    assert [len(parts.test), len(parts.validation)] == sizes
    again = split(n, test_fraction=test, validation_fraction=validation, seed=seed)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=8),
    test=st.sampled_from([0.0, 0.1, 0.2, 0.5]),
    validation=st.sampled_from([0.0, 0.1, 0.25]),
    seed=st.integers(0, 99),
)
def test_every_class_is_shared_out_in_proportion(counts, test, validation, seed):
    counts = [*counts, 30]
    classes = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = split(
        len(classes), test_fraction=test, validation_fraction=validation, seed=seed, classes=classes
    )
    assert_every_row_once(parts, len(classes))
    for code, count in enumerate(counts):
        n_train, n_validation, n_test = (int((classes[part] == code).sum()) for part in parts)
        assert n_train >= 1
        assert n_test >= int(count * test + 1e-9)
        assert n_validation >= int(count * validation + 1e-9)


@pytest.mark.parametrize("seed", range(50))
def test_small_classes_that_both_parts_ask_for_keep_a_row_to_train_on(seed):
    counts = np.random.default_rng(seed).integers(1, 6, 8)
    classes = np.repeat(np.arange(8), [*counts[:-1], 9])
    parts = split(len(classes), test_fraction=0.3, validation_fraction=0.3, seed=seed, classes=classes)
    assert_every_row_once(parts, len(classes))
    assert set(classes[parts.train]) == set(range(8))


def test_sizes_are_kept_with_classes_and_seeds_differ():
    classes = np.arange(1000) % 7
    parts = split(1000, classes=classes)
    assert [len(part) for part in parts] == [700, 100, 200]
    assert not np.array_equal(parts.test, split(1000, classes=classes, seed=1).test)
    shares = np.bincount(classes[parts.test]) / np.bincount(classes)
    assert np.all(np.abs(shares - 0.2) < 0.01)


def test_class_codes_need_not_be_consecutive():
    parts = split(30, classes=np.repeat([-5, 10**9], 15), seed=3)
    assert_every_row_once(parts, 30)


BAD = [
    (
        OptionError,
        {"test_fraction": 1.0},
        "--test-fraction 1 is outside [0, 1); pass for example 0.2, or 0 for none",
    ),
    (OptionError, {"test_fraction": float("nan")}, "--test-fraction nan is outside [0, 1)"),
    (OptionError, {"validation_fraction": -0.1}, "--validation-fraction -0.1 is outside [0, 1)"),
    (
        OptionError,
        {"test_fraction": 0.5, "validation_fraction": 0.5},
        "--test-fraction 0.5 and --validation-fraction 0.5 leave no row to train on",
    ),
    (OptionError, {"seed": -1}, "--seed -1 is not a whole number ≥ 0"),
    (
        DataError,
        {"n_rows": 2, "name": "a.csv"},
        "a.csv: 2 rows are too few to split into training and validation and test; at least 3 are needed",
    ),
    (
        DataError,
        {"n_rows": 1, "validation_fraction": 0},
        "the data: 1 row is too few to split into training and test; at least 2 are needed",
    ),
    (DataError, {"n_rows": 3, "test_fraction": 0.89}, "the data: 3 rows are too few"),
    (DataError, {"n_rows": 4, "classes": np.arange(4)}, "the data: 4 rows in 4 classes are too few"),
]


@pytest.mark.parametrize(("kind", "options", "message"), BAD)
def test_bad_splits(kind, options, message):
    with pytest.raises(InputError) as caught:
        split(**{"n_rows": 10, **options})
    assert isinstance(caught.value, kind)
    assert str(caught.value).startswith(message)


def test_as_many_rows_as_the_message_asks_for_are_enough():
    for fractions in ((0.2, 0.1), (0.9, 0.05), (0.5, 0.45), (0.98, 0.0)):
        options = dict(zip(("test_fraction", "validation_fraction"), fractions, strict=True))
        for n in range(1, 40):
            try:
                split(n, **options)
            except DataError as error:
                needed = int(str(error).split("at least ")[1].split()[0])
                assert needed > n
                split(needed, **options)
