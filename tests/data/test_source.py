import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from sklearn.datasets import load_digits

from downslope.data.bundled import BUNDLED, load
from downslope.data.source import dataset_name, fingerprint, read
from downslope.data.table import Table, drop_columns, resolve_target
from downslope.errors import DataError, InputError, OptionError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "houses.csv").write_text("rooms,value\n1,2\n3,4\n")
    (tmp_path / "houses.CSV.gz").write_bytes(gzip.compress(b"rooms,value\n1,2\n3,4\n"))
    (tmp_path / "notes.docx").write_text("x")
    (tmp_path / "plain").write_text("x")
    (tmp_path / "sub").mkdir()
    parquet.write_table(pa.table({"rooms": [1, 3], "value": [2, 4]}), tmp_path / "houses.pq")
    return tmp_path


def test_every_kind_of_data(folder):
    cells = {"rooms": [1, 3], "value": [2, 4]}
    table = read("houses.csv")
    frame = pd.DataFrame(cells)
    for data in (
        "houses.csv",
        folder / "houses.csv",
        "houses.CSV.gz",
        "houses.pq",
        table,
        frame,
        pa.table(cells),
    ):
        assert read(data).columns.to_pydict() == cells
    assert table.name == "houses.csv"
    assert read(np.array([[1], [3]]), [2, 4]).columns.to_pydict() == {"x1": [1, 3], "target": [2, 4]}
    assert read(frame[["rooms"]], [2, 4], target="value").columns.to_pydict() == cells


@pytest.mark.parametrize(
    ("name", "shape", "labels"),
    [
        ("digits", (1797, 65), set(range(10))),
        ("iris", (150, 5), {"setosa", "versicolor", "virginica"}),
        ("wine", (178, 14), {"class_0", "class_1", "class_2"}),
        ("breast_cancer", (569, 31), {"malignant", "benign"}),
        ("diabetes", (442, 11), None),
    ],
)
def test_bundled_sets(name, shape, labels):
    table = read(name)
    assert table.columns.shape == shape
    assert resolve_target(table, None) == "target"
    assert labels is None or set(table.column("target").to_pylist()) == labels
    assert name in BUNDLED


BAD = [
    (
        lambda: read("digit"),
        "digit: there is no such file. Did you mean 'digits'? The bundled data sets are "
        "digits, iris, wine, breast_cancer, diabetes",
    ),
    (lambda: read("house.csv"), "house.csv: there is no such file. Did you mean 'houses.csv'"),
    (lambda: read("zzz/house.csv"), "zzz/house.csv: there is no such file, nor the folder zzz"),
    (lambda: read("qqqqqqq.csv"), "qqqqqqq.csv: there is no such file in "),
    (lambda: read("sub"), "sub: is a folder; name one file in it, CSV or TSV"),
    (lambda: read("notes.docx"), "notes.docx: cannot read files ending in '.docx'; DATA may be CSV or TSV"),
    (lambda: read("plain"), "plain: cannot read files without an ending; DATA may be"),
    (lambda: read("houses.pq", header=False), "--no-header is for text files; houses.pq is Parquet"),
    (lambda: read("houses.pq", delimiter=";"), "--delimiter is for text files; houses.pq is Parquet"),
    (lambda: read("houses.csv", [1, 2]), "y is given, but data is not an array or a frame"),
    (lambda: load("irises"), "no bundled data set 'irises'. Did you mean 'iris'? There are digits, iris"),
    (lambda: fingerprint("none.csv"), "none.csv: there is no such file"),
    (
        lambda: resolve_target(read("houses.csv"), "valu"),
        "houses.csv: no column 'valu'. Did you mean 'value'?",
    ),
    (
        lambda: resolve_target(read("houses.csv"), "zzz"),
        "houses.csv: no column 'zzz'. The columns are 'rooms', 'value'",
    ),
    (
        lambda: resolve_target(read("houses.csv"), None),
        "houses.csv: which column is to be predicted? Pass --target with one of 'rooms', 'value'",
    ),
    (
        lambda: resolve_target(Table("w.csv", pa.table({"7.4": [1], "0.7": [2]})), "quality"),
        "w.csv: no column 'quality'. The first line looks like data: pass --no-header",
    ),
    (
        lambda: drop_columns(read("houses.csv"), ["room"]),
        "houses.csv: no column 'room'. Did you mean 'rooms'?",
    ),
    (lambda: drop_columns(read("houses.csv"), ["rooms", "value"]), "--drop leaves no column of houses.csv"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_data_is_refused_in_one_line(folder, call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_drop_columns(folder):
    assert drop_columns(read("houses.csv"), ["rooms"]).column_names == ["value"]
    with pytest.raises(DataError):
        read("houses.csv").column("x")
    with pytest.raises(OptionError):
        read(Table("t", pa.table({"a": [1]})), [1])


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("x/houses.csv.gz", "houses"),
        ("x/my houses (2).csv", "my-houses-2"),
        ("digits", "digits"),
        ("../..", "data"),
        ("v1.5.parquet", "v1.5"),
        ("naïve.csv", "na-ve"),
        (np.zeros(3), "arrays"),
        (pd.DataFrame({"a": [1]}), "frame"),
        (read(np.zeros(3)), "arrays"),
        (read(pd.DataFrame({"a": [1]})), "frame"),
        (Table("x/houses.csv", pa.table({"a": [1]})), "houses"),
    ],
)
def test_dataset_name(data, name):
    assert dataset_name(data) == name


def test_fingerprint_of_a_file_is_of_its_bytes(folder):
    first = fingerprint("houses.csv")
    assert first == fingerprint(folder / "houses.csv")
    assert len(first) == 64
    (folder / "houses.csv").write_text("rooms,value\n1,2\n3,5\n")
    assert fingerprint("houses.csv") != first


CELLS = {"a": [1.5, None], "t": ["ab", None], "b": [True, None], "n": [None, None]}


def test_fingerprint_of_a_table_is_of_its_cells():
    table = pa.table(CELLS)
    chunked = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert fingerprint(table) == fingerprint(chunked) == fingerprint(Table("t", pa.table(CELLS)))
    variants = [
        {**CELLS, "a": [1.5, 0.0]},
        {**CELLS, "t": ["a", "b"]},
        {**CELLS, "t": ["ab", ""]},
        {**CELLS, "b": [False, None]},
        {"c" if name == "a" else name: cells for name, cells in CELLS.items()},
        {**CELLS, "a": [1.5000000000000002, None]},
    ]
    prints = {fingerprint(Table("t", pa.table(variant))) for variant in variants}
    assert len(prints) == len(variants)
    assert fingerprint(table) not in prints
    assert fingerprint("iris") == fingerprint(read("iris"))
    days = pa.table({"d": np.array(["2024-01-01", "NaT"], "datetime64[us]")})
    assert fingerprint(days) == fingerprint(days)


def test_digits_are_those_of_scikit_learn():
    """They are read without its import, which would take a second."""
    bunch = load_digits()
    table = load("digits")
    pixels = np.stack([np.asarray(table.column(name)) for name in bunch.feature_names], axis=1)
    np.testing.assert_array_equal(pixels, bunch.data)
    np.testing.assert_array_equal(np.asarray(table.column("target")), bunch.target)
