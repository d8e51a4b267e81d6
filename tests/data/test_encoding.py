import datetime
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from downslope.data.encoding import Encoding
from downslope.data.memory import from_arrays
from downslope.data.table import Table
from downslope.errors import DataError


def make(name="t.csv", **columns):
    return Table(name, pa.table(columns))


def fit(table, target="y", rows=None, **options):
    rows = np.arange(table.n_rows) if rows is None else np.asarray(rows)
    return Encoding.fit(table, target=target, rows=rows, **options)


def saved(encoding):
    return Encoding.from_json(json.loads(json.dumps(encoding.to_json())))


N = 60
Y = [i % 7 + i / 10 for i in range(N)]


def every_kind():
    day = datetime.datetime(2024, 1, 1, 6)
    return make(
        number=[None if i == 3 else float(i % 11) for i in range(N)],
        truth=[None if i == 4 else i % 2 == 0 for i in range(N)],
        colour=[None if i == 5 else ["red", "green", "blue"][i % 3] for i in range(N - 1)] + ["once"],
        many=[f"m{i // 2}" if i < 76 else None for i in range(17, 17 + N)],
        moment=[None if i == 6 else day + datetime.timedelta(hours=7 * i) for i in range(N)],
        row=list(range(1, N + 1)),
        same=[5] * N,
        same_or_missing=[None] * 3 + [5] * (N - 3),
        identifier=[f"id {i}" for i in range(N)],
        cabin=[f"c{i}" if i > 20 else None for i in range(N)],
        empty=pa.nulls(N),
        y=Y,
    )


def test_every_kind_of_column():
    table = every_kind()
    encoding = fit(table)
    became = {row["column"]: (row["became"], row["width"]) for row in encoding.describe()}
    assert became == {
        "number": ("standardised number", 2),
        "truth": ("0 or 1", 2),
        "colour": ("one-hot", 5),
        "many": ("one-hot", 31),
        "moment": ("calendar", 7),
        "row": ("ignored", 0),
        "same": ("ignored", 0),
        "same_or_missing": ("is it missing?", 1),
        "identifier": ("ignored", 0),
        "cabin": ("is it missing?", 1),
        "empty": ("ignored", 0),
    }
    inputs = encoding.encode_inputs(table)
    assert inputs.dense.shape == (N, encoding.n_dense)
    assert (inputs.dense.dtype, inputs.categories.shape) == (np.float32, (N, 0))
    assert np.isfinite(inputs.dense).all()
    column = dict(zip(encoding.feature_names, inputs.dense.T, strict=True))
    assert column["number"][3] == 0
    assert column["number is missing"].tolist() == [float(i == 3) for i in range(N)]
    present = np.delete(column["number"], 3)
    assert abs(present.mean()) < 1e-6
    assert abs(present.std() - 1) < 1e-6
    assert column["truth"][4] == np.float32(29 / 59)
    assert column["colour=red"].tolist() == [float(i % 3 == 0 and i != N - 1) for i in range(N)]
    assert column["colour is missing"][5] == column["colour is another"][N - 1] == 1
    assert column["moment is missing"][6] == 1
    assert column["cabin is missing"].tolist() == [float(i <= 20) for i in range(N)]
    assert encoding.task == "regression"
    assert encoding.notes[0] == "regression: 'y' has 60 distinct numbers"
    assert "'same' ignored: the same value in every training row" in encoding.notes
    assert "'row' ignored: it numbers the rows" in encoding.notes
    assert "'number': 1 missing in training, replaced by the mean, with an indicator" in encoding.notes
    assert saved(encoding) == encoding


@pytest.mark.parametrize("far", [1e5, 1e9, -1e9])
def test_heavy_tails_are_compressed(far):
    x = [0.0] * 30 + [float(i) for i in range(200)]
    encoding = fit(make(x=[*x, far], y=[*range(231)]))
    assert encoding.describe()[0]["became"] == "standardised number, tails compressed"
    dense = encoding.encode_inputs(make(x=sorted([*x, far]))).dense[:, 0]
    ordinary = dense[:-1] if far > 0 else dense[1:]
    assert np.all(np.diff(np.unique(dense)) > 0)
    assert ordinary.std() > 0.3  # standardised alone it would be 60 / |far| × 15
    assert fit(make(x=x, y=[*range(230)])).describe()[0]["became"] == "standardised number"


@pytest.mark.parametrize("unknown", [-999.0, 99999.0, 2147483647.0])
@pytest.mark.parametrize("share", [0.005, 0.016, 0.05, 0.1, 0.2])
def test_many_equal_far_values_leave_the_others_apart_and_are_named(unknown, share):
    n = 2000
    x = np.random.default_rng(0).normal(50, 10, n)
    x[: round(share * n)] = unknown
    encoding = fit(make(x=x, y=np.arange(n) + 0.5))
    dense = encoding.encode_inputs(make(x=x)).dense[:, 0]
    assert dense[round(share * n) :].std() > 0.05  # standardised alone, 0.024 beside -999 in a fifth
    assert encoding.notes[1:] == [
        f"'x': {unknown:.0f} in {round(share * n)} training rows lies far off; "
        "empty those cells if it means unknown"
    ]


def test_far_values_are_found_beside_cells_that_are_mostly_equal():
    random = np.random.default_rng(0)
    x = random.choice([0.0, 1.0, 2.0, 99.0], 2000, p=[0.78, 0.15, 0.05, 0.02])
    encoding = fit(make(x=x, y=np.arange(2000) + 0.5))
    zero, one = encoding.encode_inputs(make(x=[0.0, 1.0])).dense[:, 0]
    assert one - zero > 0.5  # standardised alone it would be 0.07
    assert "99 in " in encoding.notes[1]


WELL_BEHAVED = {
    "normal": lambda random, n: random.normal(50, 10, n),
    "uniform": lambda random, n: random.uniform(0, 1, n),
    "exponential": lambda random, n: random.exponential(1, n),
    "counts": lambda random, n: random.poisson(0.3, n),
    "skewed counts": lambda random, n: random.negative_binomial(3, 0.1, n),
    "two groups": lambda random, n: random.normal(0, 1, n) + 10 * (random.random(n) < 0.2),
    "mostly 0": lambda random, n: random.normal(1000, 200, n) * (random.random(n) < 0.1),
    "nearly all 0": lambda random, n: random.normal(1000, 100, n) * (random.random(n) < 0.025),
    "half 0": lambda random, n: random.normal(1000, 200, n) * (random.random(n) < 0.5),
    "binary": lambda random, n: random.random(n) < 0.3,
    "rarely 1": lambda random, n: random.random(n) < 0.02,
}


@pytest.mark.parametrize("kind", WELL_BEHAVED)
def test_columns_without_far_values_are_standardised_only(kind):
    x = WELL_BEHAVED[kind](np.random.default_rng(0), 2000).astype(float)
    encoding = fit(make(x=x, y=np.arange(2000) + 0.5))
    assert encoding.describe()[0]["became"] == "standardised number"
    assert not encoding.notes[1:]


def test_no_number_is_too_large():
    encoding = fit(make(x=[*np.arange(200.0), 1e300, -1e300], y=[*range(202)]))
    dense = encoding.encode_inputs(make(x=[1e300, 1e308, -1e308, 0.0, None])).dense[:, 0]
    assert np.all(np.abs(dense) <= 10)
    assert dense[4] == 0
    constant = fit(make(x=[1e300, -1e300] * 2, y=[*range(4)])).encode_inputs(
        make(x=[1.7e308, -1.7e308, 1e300])
    )
    assert constant.dense[:, 0].tolist() == [10, -10, 1]
    apart = make(x=[1.7e308, *[-1.7e308] * 9], y=[*range(10)])  # further than the largest number
    dense = fit(apart).encode_inputs(apart).dense[:, 0]
    assert np.isfinite(dense).all()
    assert dense[0] > 0 > dense[1]


def test_numbers_of_any_magnitude_are_standardised_in_float64():
    for scale in (1e-300, 1e-8, 1.0, 1e12, 1e300):
        x = np.array([1.0, 2.0, 3.0, 4.0]) * scale
        dense = fit(make(x=x, y=[1.0, 2.0, 3.0, 4.5])).encode_inputs(make(x=x)).dense[:, 0]
        np.testing.assert_allclose(dense, [-1.3416, -0.4472, 0.4472, 1.3416], atol=1e-4)
    x = 1.7e9 + np.arange(4.0)  # seconds since 1970: float32 could not tell them apart
    np.testing.assert_allclose(fit(make(x=x, y=x)).encode_inputs(make(x=x)).dense[:, 0], dense, atol=1e-4)


def test_only_training_rows_are_fitted_to():
    table = make(x=[1.0, 3.0, 100.0], t=["a", "a", "b"], y=[1.0, 3.0, 100.0])
    encoding = fit(table, rows=[0, 1])
    assert (encoding.labels.mean, encoding.labels.std) == (2.0, 1.0)
    assert encoding.input_names == ["x"]
    assert encoding.encode_inputs(table).dense[:, 0].tolist() == [-1.0, 1.0, 10.0]
    assert encoding.encode_target(table).tolist() == [-1.0, 1.0, 98.0]


def test_unseen_and_missing_categories_have_their_own_slots():
    texts = [f"v{i % 40}" for i in range(200)] + ["rare", None]
    encoding = fit(make(c=texts, y=np.arange(202.0)))
    assert encoding.embedding_sizes == [42]
    assert encoding.n_dense == 0
    inputs = encoding.encode_inputs(make(c=["never seen", "rare", None, "v0", "v9"]))
    assert inputs.categories[:, 0].tolist() == [0, 0, 1, 2, 41]
    assert inputs.categories.dtype == np.int32
    few = fit(make(c=["a", "b"] * 5, y=np.arange(10.0)))
    assert few.encode_inputs(make(c=["a", "z", None, "b"])).dense.tolist() == [[1, 0], [0, 0], [0, 0], [0, 1]]


def test_a_category_is_matched_by_meaning_when_new_data_has_numbers():
    encoding = fit(make(c=["3", "A", "3", "A", "5.5", "5.5"], y=np.arange(6.0)))
    expected = [[1, 0, 0], [0, 1, 0]]
    for cells in ([3, None], [3.0, None], ["3", None]):
        assert encoding.encode_inputs(make(c=cells)).dense[0].tolist() == expected[0]
    assert encoding.encode_inputs(make(c=[3.0, 5.5])).dense.tolist() == expected
    assert encoding.encode_inputs(make(c=pa.nulls(2))).dense.tolist() == [[0, 0, 0]] * 2


def test_numbers_and_truths_are_matched_by_meaning():
    encoding = fit(make(x=[1.0, 2.0, 3.0], b=[True, False, True], y=[1.0, 2.0, 4.0]))
    expected = encoding.encode_inputs(make(x=[1.0, 2.0], b=[True, False])).dense.tolist()
    for x, b in ((["1", "2.0"], [1, 0]), ([1, 2], [1.0, 0.0]), (["1", "2"], ["TRUE", "false"])):
        assert encoding.encode_inputs(make(b=b, extra=["?", "?"], x=x)).dense.tolist() == expected
    missing = encoding.encode_inputs(make(x=pa.nulls(1), b=pa.nulls(1))).dense
    assert missing.tolist() == [[0, np.float32(2 / 3)]]


def test_a_dash_is_missing_where_training_had_numbers_and_a_text_where_it_had_texts():
    day = datetime.date(2024, 1, 1)
    encoding = fit(
        make(
            x=[1.0, None, 3.0],
            b=[True, None, False],
            d=[day, None, day.replace(day=9)],
            c=["-", "a", "-"],
            y=[1.0, 2.0, 4.0],
        )
    )
    assert "c=-" in encoding.feature_names
    expected = encoding.encode_inputs(
        make(x=[None, 3.0], b=[None, True], d=[None, day], c=["-", "-"])
    ).dense.tolist()
    for dash in ("-", "n.a."):
        new = make(x=[dash, "3"], b=[dash, "true"], d=[dash, str(day)], c=["-", "-"])
        assert encoding.encode_inputs(new).dense.tolist() == expected


def test_dates_arrive_as_dates_moments_or_text():
    days = [datetime.date(2023, 1, 1) + datetime.timedelta(days=37 * i) for i in range(20)]
    encoding = fit(make(d=days, y=np.arange(20.0)))
    assert not any("hour" in name for name in encoding.feature_names)
    expected = encoding.encode_inputs(make(d=days)).dense
    moments = [datetime.datetime(day.year, day.month, day.day) for day in days]
    for other in (moments, [str(day) for day in days]):
        np.testing.assert_array_equal(encoding.encode_inputs(make(d=other)).dense, expected)
    december, january = encoding.encode_inputs(
        make(d=[datetime.date(2023, 12, 31), datetime.date(2024, 1, 1)])
    ).dense[:, 3:5]
    assert np.abs(december - january).max() < 0.6


CLASSES = [
    (["a", "b"] * 5, ["a", "b"]),
    ([True, False] * 5, [False, True]),
    ([3, 1] * 5, [1, 3]),
    ([0.0, 1.0] * 5, [0.0, 1.0]),
    ([1, 2, 3, 4, 5] * 5, [1, 2, 3, 4, 5]),
    (["only", "b"] + ["b"] * 5, ["b", "only"]),
]


@pytest.mark.parametrize(("labels", "classes"), CLASSES)
def test_classification_is_inferred_and_labels_come_back(labels, classes):
    table = make(x=[float(i * i) for i in range(len(labels))], y=labels)
    encoding = saved(fit(table))
    assert encoding.task == "classification"
    assert encoding.classes == classes
    assert [type(label) for label in encoding.classes] == [type(label) for label in classes]
    codes = encoding.encode_target(table)
    assert codes.dtype == np.int32
    assert encoding.decode_target(codes).tolist() == labels
    assert encoding.decode_target(codes).tolist() == encoding.decode_target(codes.astype(np.int64)).tolist()


@pytest.mark.parametrize(
    "numbers", [[1.5, 2.5, 3.5] * 5, [1.0, 2.0] * 5, list(range(30)), [1, 2, 3, 4], [0.0, 1.0, 2.0] * 9]
)
def test_regression_is_inferred(numbers):
    assert fit(make(x=[float(i) for i in range(len(numbers))], y=numbers)).task == "regression"


def test_classes_match_by_meaning():
    encoding = fit(make(x=[1.0, 2.0, 3.0, 4.0], y=[0, 1, 0, 1]))
    for labels in ([1, 0], [1.0, 0.0], ["1", "0"], ["1.0", "0"]):
        assert encoding.encode_target(make(y=labels)).tolist() == [1, 0]


def test_task_overrides():
    table = make(x=np.arange(20.0), y=[3, 4] * 10)
    encoding = fit(table, task="regression")
    assert (encoding.labels.mean, encoding.labels.std) == (3.5, 0.5)
    assert (
        encoding.notes[0]
        == "regression: 'y' has 2 distinct whole numbers: 3, 4 (classification if --task were left out)"
    )
    assert fit(make(x=np.arange(20.0), y=[1.5, 2.5] * 10), task="classification").classes == [1.5, 2.5]
    labels = fit(make(x=np.arange(20.0), y=[True, False] * 10), task="regression").labels
    assert (labels.mean, labels.std) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        (["b", "a"], "classification: 'y' has 2 distinct text values: 'a', 'b'"),
        ([*"gfedcba"], "classification: 'y' has 7 distinct text values"),
        (
            [3, 1, 2],
            "classification: 'y' has 3 distinct whole numbers: 1, 2, 3 "
            "(--task regression if they are amounts)",
        ),
        ([True, False], "classification: 'y' has true or false"),
        ([0.0, 1.0], "classification: 'y' has only 0 and 1"),
        (
            ["yes", "Yes", "no", "No"],
            "classification: 'y' has 4 distinct text values: 'No', 'Yes', 'no', 'yes'; "
            "'No' and 'no' differ only in case: 4 classes; unify them if they are the same",
        ),
        (
            [*"gfedcbaA"],
            "classification: 'y' has 8 distinct text values; "
            "'A' and 'a' differ only in case: 8 classes; unify them if they are the same",
        ),
    ],
)
def test_the_note_on_the_task_names_the_classes_and_those_that_may_be_one(labels, note):
    assert fit(make(x=np.arange(6.0 * len(labels)), y=labels * 6)).notes[0] == note


HINT = " (--task classification if they are labels)"


@pytest.mark.parametrize(
    ("numbers", "note"),
    [
        ([1.0, 2.0] * 6, f"regression: 'y' has 2 distinct numbers: 1.0, 2.0{HINT}"),
        ([float(i % 7) for i in range(35)], f"regression: 'y' has 7 distinct numbers{HINT}"),
        ([float(i % 7) for i in range(34)], "regression: 'y' has 7 distinct numbers"),
        ([float(i % 21) for i in range(200)], "regression: 'y' has 21 distinct numbers"),
        ([1.0, 2.5] * 6, "regression: 'y' has 2 distinct numbers: 1.0, 2.5"),
        (list(range(60)), f"regression: 'y' has 60 distinct whole numbers{HINT}"),
    ],
)
def test_numbers_that_may_be_labels_get_a_hint(numbers, note):
    assert fit(make(x=np.arange(float(len(numbers))), y=numbers)).notes[0] == note


def test_columns_may_come_in_any_order_and_be_more():
    table = every_kind()
    encoding = fit(table)
    names = [name for name in reversed(table.column_names) if name in encoding.input_names]
    other = Table("o", table.columns.select(names).append_column("extra", pa.nulls(N)))
    np.testing.assert_array_equal(encoding.encode_inputs(other).dense, encoding.encode_inputs(table).dense)


def test_dropped_columns_are_ignored():
    encoding = fit(make(a=[1.0, 2.0, 3.0], b=[float("inf"), 2.0, 1.0], y=[1.0, 2.0, 4.0]), drop=["b"])
    assert encoding.input_names == ["a"]
    assert "'b' ignored: dropped" in encoding.notes


def test_notes_that_say_the_same_share_a_line():
    table = make(**{f"c{i}": [7, 7, 7] for i in range(6)}, x=[1.0, 2.0, 3.0], y=[1.0, 2.0, 4.0])
    assert fit(table).notes[1:] == [
        "'c0', 'c1', 'c2', 'c3' and 2 more ignored: the same value in every training row"
    ]


def test_arrays_with_nan_and_inf():
    X = np.array([[1.0, 2.0], [np.nan, 1.0], [3.0, 5.0]])
    encoding = fit(from_arrays(X, [1.0, 2.0, 3.5]), target="target")
    assert encoding.feature_names == ["x1", "x1 is missing", "x2"]
    with pytest.raises(DataError, match=r"^the arrays: column 'x2' has 1 infinite cell \(first: row 1\)"):
        encoding.encode_inputs(from_arrays([[1.0, np.inf]]))


CELLS = {
    "number": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    "whole": st.one_of(st.none(), st.integers(-(2**62), 2**62)),
    "text": st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=3)),
    "truth": st.one_of(st.none(), st.booleans()),
    "moment": st.one_of(st.none(), st.datetimes()),
}
TYPES = {
    "number": pa.float64(),
    "whole": pa.int64(),
    "text": pa.string(),
    "truth": pa.bool_(),
    "moment": pa.timestamp("us"),
}


@st.composite
def tables(draw):
    n = draw(st.integers(2, 40))
    columns = {
        name: pa.array(draw(st.lists(cells, min_size=n, max_size=n)), TYPES[name])
        for name, cells in CELLS.items()
    }
    return make(
        **columns, fine=np.arange(n, dtype=float), y=draw(st.permutations([float(i) / 2 for i in range(n)]))
    )


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=150)
@given(tables(), st.data())
def test_any_table_is_encoded_to_finite_inputs_and_saved_exactly(table, data):
    rows = np.array(data.draw(st.sets(st.integers(0, table.n_rows - 1), min_size=2)))
    rows = np.sort(np.array(list(rows.item())))
    encoding = fit(table, rows=rows)
    inputs = encoding.encode_inputs(table)
    assert inputs.dense.shape == (table.n_rows, encoding.n_dense)
    assert np.isfinite(inputs.dense).all()
    assert np.abs(inputs.dense).max() <= 10
    assert inputs.categories.shape == (table.n_rows, len(encoding.embedding_sizes))
    again = saved(encoding)
    assert again == encoding
    np.testing.assert_array_equal(again.encode_inputs(table).dense, inputs.dense)
    y = table.column("y").to_numpy()
    np.testing.assert_allclose(encoding.decode_target(encoding.encode_target(table)), y, rtol=1e-5, atol=1e-5)
    order = np.random.default_rng(0).permutation(table.n_rows)
    shuffled = Table("s", table.columns.take(pa.array(order)))
    np.testing.assert_array_equal(encoding.encode_inputs(shuffled).dense, inputs.dense[order])


def test_the_parts_of_many_rows_are_in_their_places():
    """More rows than are turned at once, and a number of them that no block divides."""
    n = 2 * 4096 + 77
    random = np.random.default_rng(0)
    numbers, words = random.normal(3, 2, (3, n)), random.choice(["a", "b", "c"], n)
    table = make(**{f"x{i}": some for i, some in enumerate(numbers)}, word=words, y=random.normal(0, 1, n))
    inputs = fit(table).encode_inputs(table)
    assert inputs.dense.flags.c_contiguous
    expected = (numbers - numbers.mean(axis=1, keepdims=True)) / numbers.std(axis=1, keepdims=True)
    np.testing.assert_allclose(inputs.dense[:, :3], expected.T, rtol=1e-5, atol=1e-6)
    assert (inputs.dense[:, 3:] == (words[:, None] == np.array(["a", "b", "c"]))).all()
