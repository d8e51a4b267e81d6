"""From a file to arrays: what is left out, and what is read alike in training and prediction."""

import pyarrow as pa
import pytest

import downslope as ds
from downslope.errors import DataError
from downslope.workflow.options import options_from
from downslope.workflow.prepare import prepare

ROWS = 40
EMPTY = ",,\n"


def rows(start, stop):
    return "".join(f"{3 * i},{'ab'[i % 2]},{1.5 * i}\n" for i in range(start, stop))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "houses.csv"


def prepared(path, **options):
    return prepare(str(path), None, options_from({"target": "price", **options}))


def n_rows(found):
    return sum(len(batch.weights) for batch in found.rows.values())


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (rows(0, ROWS), []),
        (rows(0, ROWS) + EMPTY, ["1 empty row left out (first: row 41)"]),
        (rows(0, ROWS) + EMPTY + " ,,NA\n", ["2 empty rows left out (first: row 41)"]),
        (rows(0, 9) + EMPTY + rows(9, ROWS) + EMPTY, ["2 empty rows left out (first: row 10)"]),
    ],
)
def test_empty_rows_are_left_out_of_a_training(path, content, notes):
    path.write_text("size,kind,price\n" + content)
    found = prepared(path, test=str(path))
    assert len(found.rows["test"].weights) == ROWS
    assert n_rows(found) == 2 * ROWS
    assert found.encoding.notes[1:] == notes


def test_a_row_with_any_cell_is_not_empty(path):
    path.write_text(f"size,kind,price\n{rows(0, ROWS)}1,,\n{EMPTY}")
    with pytest.raises(DataError, match=r"target 'price' is missing in 1 row \(first: row 41\)"):
        prepared(path)
    path.write_text("size,kind,price\n" + 3 * EMPTY)
    with pytest.raises(DataError, match="target 'price' is missing in 3 rows"):
        prepared(path)


def test_every_row_of_a_prediction_is_answered(path):
    path.write_text(f"size,kind,price\n{rows(0, ROWS)}{EMPTY}")
    run = ds.train(path, target="price", hidden=[4], epochs=1, learning_rate=0.01, out=False, quiet=True)
    assert len(run.predict(path)) == ROWS + 1


@pytest.mark.parametrize("other", ["b;a\n1;304.175\n", "b;a\n1,0;304.175\n", "a,b\n304175,1\n"])
def test_thousands_are_read_alike_in_training_and_prediction(path, tmp_path, other):
    lines = [f"{100 + 7 * i}.{175 + i};{i},5;{2 * i}" for i in range(ROWS)]
    path.write_text("\n".join(["a;b;price", *lines]))
    run = ds.train(path, target="price", hidden=[4], epochs=1, learning_rate=0.01, out=tmp_path / "run")
    expected = run.predict(pa.table({"a": [304175], "b": [1.0]}))
    assert expected != run.predict(pa.table({"a": [304.175], "b": [1.0]}))
    (tmp_path / "other.csv").write_text(other)
    for one in (run, ds.Run.load(tmp_path / "run")):
        assert one.predict(tmp_path / "other.csv") == expected
    found = prepared(path, test=str(path))
    assert found.encoding.to_json()["points"] == {"a": "thousands"}
    assert "(100.175 is 100175)" in found.encoding.notes[1]
