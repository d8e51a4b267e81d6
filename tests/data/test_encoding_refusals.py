import datetime
import math

import numpy as np
import pyarrow as pa
import pytest

from downslope.data.encoding import Encoding
from downslope.data.table import Table
from downslope.errors import DataError, InputError, OptionError


def make(name="t.csv", **columns):
    return Table(name, pa.table(columns))


def fit(table, target="y", rows=None, **options):
    rows = np.arange(table.n_rows) if rows is None else np.asarray(rows)
    return Encoding.fit(table, target=target, rows=rows, **options)


X3 = [1.0, 2.0, 3.0]
BAD_FIT = [
    (
        make(x=X3, y=[1.0, None, None]),
        {},
        "t.csv: target 'y' is missing in 2 rows (first: row 2); fill in or remove",
    ),
    (make(x=X3, y=pa.nulls(3)), {}, "t.csv: target 'y' is missing in 3 rows (first: row 1)"),
    (make(x=X3, y=[1.0, 2.0, math.inf]), {}, "t.csv: target 'y' is not finite in 1 row (first: row 3)"),
    (
        make(x=X3, y=["a", "a", "a"]),
        {},
        "t.csv: target 'y' has one class only, 'a'; classification needs at least two",
    ),
    (make(x=X3, y=[4, 4, 4]), {}, "t.csv: target 'y' has one class only, '4'"),
    (
        make(x=X3, y=[4.5, 4.5, 4.5]),
        {},
        "t.csv: target 'y' is 4.5 in every row, so there is nothing to predict",
    ),
    (
        make(x=X3, y=["a", "b", "c"]),
        {},
        "t.csv: target 'y' has 3 distinct values in 3 rows, too many to be classes; choose another --target",
    ),
    (
        make(x=X3, y=[1.5, 2.5, 3.5]),
        {"task": "classification"},
        "t.csv: target 'y' has 3 distinct values in 3 rows, too many to be classes; pass --task regression",
    ),
    (
        make(x=X3, y=["1", "b", "b"]),
        {"task": "regression"},
        "t.csv: target 'y' holds text (2 distinct values, such as 'b'), not numbers; pass --task",
    ),
    (
        make(x=X3, y=[datetime.date(2024, 1, i) for i in (1, 2, 3)]),
        {},
        "t.csv: target 'y' holds dates; turn it",
    ),
    (make(x=X3, y=X3), {"task": "ranking"}, "--task ranking is unknown; pass classification or regression"),
    (make(x=X3, y=X3), {"target": "yy"}, "t.csv: no column 'yy'."),
    (make(x=X3, y=X3), {"drop": ["z"]}, "t.csv: no column 'z'."),
    (make(x=X3, y=X3), {"drop": ["y"]}, "t.csv: 'y' is the target and cannot be dropped"),
    (
        make(x=X3, y=X3),
        {"drop": ["x"]},
        "t.csv: no column is left to predict 'y' from ('x' ignored: dropped)",
    ),
    (
        make(x=[5, 5, 5], y=X3),
        {},
        "t.csv: no column is left to predict 'y' from ('x' ignored: the same value",
    ),
    (make(y=X3), {}, "t.csv: no column is left to predict 'y' from ('y' is the only column)"),
    (
        make(x=[1.0, math.inf, -math.inf], y=X3),
        {},
        "t.csv: column 'x' has 2 infinite cells (first: row 2); correct or remove them, "
        "or train without the column: --drop 'x'",
    ),
]


@pytest.mark.parametrize(("table", "options", "message"), BAD_FIT)
def test_what_cannot_be_fitted(table, options, message):
    with pytest.raises(InputError) as caught:
        fit(table, **options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, OptionError) == message.startswith("--")


DAY = datetime.date(2024, 1, 1)
TRAINED = make(
    age=[20.0, 30.0, 40.0, 50.0],
    member=[True, False, True, False],
    since=[DAY + datetime.timedelta(days=40 * i) for i in range(4)],
    city=["Ulm", "Ulm", "Bonn", "Bonn"],
    y=["no", "yes", "no", "yes"],
)
NEW = {"age": [1.0, 2.0], "member": [True, False], "since": [DAY, DAY], "city": ["Ulm", "Bonn"]}
BAD_NEW = [
    (
        {"age": None, "Age": [1, 2]},
        "n.csv: lacks the column 'age' that the model was trained on. Did you mean 'Age'?",
    ),
    ({"age": None, "city": None}, "n.csv: lacks the columns 'age', 'city' that the model was trained on"),
    (
        {"age": ["5", "old"]},
        "n.csv: column 'age' should hold numbers, but row 2 holds 'old'; leave a cell empty",
    ),
    (
        {"age": ["-", "old"]},
        "n.csv: column 'age' should hold numbers, but row 2 holds 'old'; leave a cell empty",
    ),
    (
        {"age": ["a" * 50, "b"]},
        f"n.csv: column 'age' should hold numbers, but row 1 holds '{'a' * 39}…' (and 1 other row the like)",
    ),
    ({"age": [DAY, DAY]}, "n.csv: column 'age' should hold numbers, but row 1 holds '2024-01-01'"),
    (
        {"age": [1.0, math.inf]},
        "n.csv: column 'age' has 1 infinite cell (first: row 2); correct or remove it",
    ),
    (
        {"member": ["true", "maybe"]},
        "n.csv: column 'member' should hold true or false, but row 2 holds 'maybe'",
    ),
    ({"member": [0, 2]}, "n.csv: column 'member' should hold true or false, but row 2 holds '2'"),
    ({"since": ["2024-01-01", "soon"]}, "n.csv: column 'since' should hold dates, but row 2 holds 'soon'"),
    ({"since": [7, 8]}, "n.csv: column 'since' should hold dates, but row 1 holds '7'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_NEW)
def test_new_data_that_does_not_fit(change, message):
    columns = {name: cells for name, cells in {**NEW, **change}.items() if cells is not None}
    with pytest.raises(DataError) as caught:
        fit(TRAINED).encode_inputs(make("n.csv", **columns))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"z": ["no"]}, "n.csv: no column 'y'."),
        ({"y": ["no", None]}, "n.csv: target 'y' is missing in 1 row (first: row 2)"),
        (
            {"y": ["no", "perhaps"]},
            "n.csv: target 'y' is 'perhaps' in row 2, which is none of the classes in training: 'no', 'yes'",
        ),
    ],
)
def test_new_targets_that_do_not_fit(column, message):
    with pytest.raises(DataError) as caught:
        fit(TRAINED).encode_target(make("n.csv", **column))
    assert str(caught.value).startswith(message)
