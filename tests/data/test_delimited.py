import datetime
import gzip

import pyarrow as pa
import pytest

from downslope.data import delimited
from downslope.data.delimited import read_csv
from downslope.errors import DataError, InputError, OptionError


def write(folder, content, name="a.csv"):
    path = folder / name
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def columns_of(folder, content, name="a.csv", **options):
    table = read_csv(write(folder, content, name), **options).columns
    return {column: (str(table[column].type), table[column].to_pylist()) for column in table.column_names}


def test_every_type_is_recognised(tmp_path):
    text = (
        "whole,number,truth,text,day,moment,zoned,time,empty,mixed,zero_one,null_numbers,quoted\n"
        '1,1.5,true,x,2024-02-29,2024-01-01 10:30:00,2024-01-01T00:00:00Z,12:30,,1,0,1,"a,b"\n'
        '2,-inf,FALSE,y z,2024-03-01,2024-01-02T11:00:00.25,2024-01-01T02:00:00Z,01:00,NA,b,1,?,"c\nd"\n'
        'NA,nan,,?,n/a,null,NULL,,?,3,1,N/A,""\n'
    )
    read = columns_of(tmp_path, text)
    assert read["whole"] == ("int64", [1, 2, None])
    assert read["number"] == ("double", [1.5, float("-inf"), None])
    assert read["truth"] == ("bool", [True, False, None])
    assert read["text"] == ("string", ["x", "y z", None])
    assert read["day"] == ("date32[day]", [datetime.date(2024, 2, 29), datetime.date(2024, 3, 1), None])
    assert read["moment"] == (
        "timestamp[us]",
        [datetime.datetime(2024, 1, 1, 10, 30), datetime.datetime(2024, 1, 2, 11, 0, 0, 250000), None],
    )
    assert read["zoned"][0] == "timestamp[us]"
    assert read["time"] == ("double", [45000.0, 3600.0, None])
    assert read["empty"] == ("null", [None, None, None])
    assert read["mixed"] == ("string", ["1", "b", "3"])
    assert read["zero_one"] == ("int64", [0, 1, 1])
    assert read["null_numbers"] == ("int64", [1, None, None])
    assert read["quoted"] == ("string", ["a,b", "c\nd", None])


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        ([" 1", "2 ", " NA "], "int64", [1, 2, None]),
        (["1", "2.5", "None"], "double", [1, 2.5, None]),
        (["None", "a", "a"], "string", ["None", "a", "a"]),
        (["n.a.", "1", "-"], "int64", [None, 1, None]),
        (["1.5", "--", "N.A."], "double", [1.5, None, None]),
        (["-", "2024-01-01"], "date32[day]", [None, datetime.date(2024, 1, 1)]),
        (["-", "1", "--", "n.a.", "low"], "string", ["-", "1", "--", "n.a.", "low"]),
        (["12:30", "01:00:30.5", "None"], "double", [45000.0, 3630.5, None]),
        (["1", "99999999999999999999"], "double", [1.0, 1e20]),
        (["007", "8"], "int64", [7, 8]),
        (["1", "true"], "bool", [True, True]),
        (["2024-01-01", "later"], "string", ["2024-01-01", "later"]),
        (["1,5", "2"], "string", ["1,5", "2"]),
    ],
)
def test_a_column_gets_the_first_type_that_fits_all_cells(tmp_path, cells, kind, values):
    rows = "".join(f'{i},"{cell}"\n' for i, cell in enumerate(cells))
    assert columns_of(tmp_path, "i,c\n" + rows)["c"] == (kind, values)


@pytest.mark.parametrize(
    ("last", "kind"),
    [("word", "string"), ("1.5", "double"), ("9" * 25, "double"), ("NA", "int64"), ("2020-01-01", "string")],
)
def test_types_are_decided_by_the_whole_column_not_its_first_block(tmp_path, monkeypatch, last, kind):
    monkeypatch.setattr(delimited, "_BLOCK_BYTES", 1 << 12)
    n = 5000
    lines = [f"{i},{i}.25,{'true' if i % 2 else 'false'},2024-01-01" for i in range(n)]
    read = columns_of(tmp_path, "\n".join(["a,b,c,d", *lines, f"{last},1,true,2024-01-02"]))
    assert read["a"][0] == kind
    assert [read[name][0] for name in "bcd"] == ["double", "bool", "date32[day]"]
    assert len(read["a"][1]) == n + 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "a,b\n1,2\n"),
        ("a.csv", "\ufeffa,b\n1,2\n"),
        ("a.csv", "\n\na , b\r\n1,2\r\n\r\n"),
        ("a.csv", '"a","b"\n"1","2"'),
        ("a.csv", "a;b\n1;2\n"),
        ("a.csv", "a\tb\n1\t2\n"),
        ("a.csv", "a|b\n1|2\n"),
        ("a.tsv", "a\tb\n1\t2\n"),
        ("a.tsv", "a,b\n1,2\n"),
        ("a.csv.gz", "a,b\n1,2\n"),
        ("a.tsv.gz", "a\tb\n1\t2\n"),
    ],
)
def test_ways_to_write_the_same_table(tmp_path, name, content):
    assert columns_of(tmp_path, content, name) == {"a": ("int64", [1]), "b": ("int64", [2])}


def test_the_delimiter_is_looked_for_outside_quotes(tmp_path):
    assert list(columns_of(tmp_path, '"a;b",c\n"1;2",3\n')) == ["a;b", "c"]


def test_a_decimal_comma_is_understood_where_semicolons_delimit(tmp_path):
    assert columns_of(tmp_path, "a;b;c\n1,5;2;1,5\n-,25;3,5e1;x\nNA;4;1\n") == {
        "a": ("double", [1.5, -0.25, None]),
        "b": ("double", [2.0, 35.0, 4.0]),
        "c": ("string", ["1,5", "x", "1"]),
    }


def test_commas_beside_semicolons_are_decimal_signs(tmp_path):
    """Though they split the rows as evenly."""
    named = columns_of(tmp_path, "Area, m2;Price, EUR\n1,50;2,25\n3,75;4,5\n")
    assert named == {"Area, m2": ("double", [1.5, 3.75]), "Price, EUR": ("double", [2.25, 4.5])}
    assert columns_of(tmp_path, "1,50;2,50\n3,25;4,75\n", header=False) == {
        "column_1": ("double", [1.5, 3.25]),
        "column_2": ("double", [2.5, 4.75]),
    }
    assert list(columns_of(tmp_path, 'a,b\n1,"x;y"\n2,"z;w"\n')) == ["a", "b"]


def test_thousands_are_understood_where_nothing_else_can_be_meant(tmp_path):
    found = columns_of(tmp_path, "a;b;c\n2,350;1,002,350;2,350\n323;NA;1,125\n-1,000;7;9,000\n")
    assert found["a"] == ("int64", [2350, 323, -1000])
    assert found["b"] == ("int64", [1002350, None, 7])
    assert found["c"] == ("int64", [2350, 1125, 9000])  # as its neighbours show
    found = columns_of(tmp_path, "a\tb\tc\n2,350\t2,35\t0,350\n323\t1\t1\n-1,000\t12\t2\n")
    assert found["a"] == ("double", [2.35, 323, -1.0])  # as its neighbours show
    assert found["b"] == ("double", [2.35, 1.0, 12.0])
    assert found["c"] == ("double", [0.35, 1.0, 2.0])
    assert columns_of(tmp_path, "a;b\n2,350;1\n1,125;2\n")["a"] == ("double", [2.35, 1.125])  # nothing shows
    assert columns_of(tmp_path, 'a,b\n"2,350",1\n17,2\n')["a"] == ("int64", [2350, 17])


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1,234.50", "NA", "12"], "double", [1234.5, None, 12.0]),
        (["1,234.500", "-", "-2,000", "12000.25"], "double", [1234.5, None, -2000.0, 12000.25]),
        (["2,350", "99.50"], "double", [2350.0, 99.5]),
        (["+2,350", "323"], "double", [2350.0, 323.0]),
        (["2,350.5", "9" * 20], "double", [2350.5, 1e20]),
        (["2,350", "99.500"], "string", ["2,350", "99.500"]),  # 99500 where commas are decimal signs
        (["0,234.50", "12"], "string", ["0,234.50", "12"]),
        (["1,234.50", "2,35"], "string", ["1,234.50", "2,35"]),
        (["1,234.50", "1.234,50"], "string", ["1,234.50", "1.234,50"]),
    ],
)
def test_thousands_beside_decimals(tmp_path, cells, kind, values):
    for delimiter in (",", ";", "\t"):
        rows = "".join(f'"{cell}"{delimiter}x\n' for cell in cells)
        assert columns_of(tmp_path, f"a{delimiter}b\n{rows}")["a"] == (kind, values)


def test_decimals_beside_thousands_show_what_the_commas_of_other_columns_are(tmp_path):
    read = columns_of(tmp_path, "a;b;c\n1,234.50;2,350;2,350\n7;1,125;1.500\n")
    assert [read[name][1] for name in "abc"] == [[1234.5, 7.0], [2350, 1125], [2350.0, 1.5]]
    read = columns_of(tmp_path, "a;b\n1,234.50;2,35\n7;1,1\n")  # the neighbour shows decimal commas
    assert read == {"a": ("string", ["1,234.50", "7"]), "b": ("double", [2.35, 1.1])}


def test_commas_mean_what_they_meant_in_other_files(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("a;b\n2,350;x\n12000;y\n")
    assert read_csv(path, commas="thousands").column("a").to_pylist() == [2350, 12000]
    assert read_csv(path, commas="decimal").column("a").to_pylist() == [2.35, 12000.0]
    assert read_csv(path).commas == "decimal"
    path.write_text("a,b\n2350,x\n")
    assert read_csv(path).commas is None


SALES = "a;b\n304.175;1,5\n5.559;2\n683;3\n67.149;4,25\n"


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["304.175", "5.559", "683", "NA"], "int64", [304175, 5559, 683, None]),
        (["304.175", "1.001.031", "683"], "int64", [304175, 1001031, 683]),
        (["-1.200", "+5.559", " 7 ", "None"], "int64", [-1200, 5559, 7, None]),
        (["1.234,56", "12,5", "1.000"], "double", [1234.56, 12.5, 1000.0]),
        (["1.234,567", "1.234"], "double", [1234.567, 1234.0]),
        (["1.234,567", "0.5"], "string", ["1.234,567", "0.5"]),
        (["304.175", "5.5"], "double", [304.175, 5.5]),
        (["304.175", "0.559"], "double", [304.175, 0.559]),
        (["1.5", "2.25"], "double", [1.5, 2.25]),
        (["1e5", "99999999999999999999"], "double", [1e5, 1e20]),
        (["304.175", "x"], "string", ["304.175", "x"]),
    ],
)
def test_points_beside_decimal_commas_separate_thousands(tmp_path, cells, kind, values):
    rows = "".join(f"{cell};0,5\n" for cell in cells)
    for name in ("a.csv", "a.csv.gz"):
        assert columns_of(tmp_path, "a;b\n" + rows, name)["a"] == (kind, values)


def test_points_are_decimal_signs_where_no_comma_is(tmp_path):
    for other, delimiter in (("2", ";"), ("2.5", ";"), ("x", "\t"), ("1,500", ";"), ('"1,5"', ",")):
        text = "a;b\n304.175;{0}\n5.559;{0}\n".replace(";", delimiter).format(other)
        assert columns_of(tmp_path, text)["a"] == ("double", [304.175, 5.559])
    assert columns_of(tmp_path, "a;b\n1.001.031;2\n683;3\n")["a"] == ("string", ["1.001.031", "683"])


def test_what_points_were_taken_for_is_said(tmp_path):
    table = read_csv(write(tmp_path, SALES))
    assert table.notes == (
        "'a': points separate thousands, because commas are decimal signs in this file (304.175 is 304175)",
    )
    assert table.points == {"a": "thousands"}
    table = read_csv(write(tmp_path, "a;b;c\n304.175;1,5;2.5\n5.1;2;2\n"))
    assert (table.notes, table.points) == ((), {"a": "decimal", "c": "decimal"})
    assert read_csv(write(tmp_path, "a;b;c\n304.175;1;2.5\n")).points == {}


def test_points_mean_what_they_meant_in_other_files(tmp_path):
    known = {"commas": "decimal", "points": {"a": "thousands", "b": "decimal"}}
    read = columns_of(tmp_path, "a;b;c\n304.175;304.175;304.175\n", **known)
    assert read == {"a": ("int64", [304175]), "b": ("double", [304.175]), "c": ("double", [304.175])}
    read = columns_of(tmp_path, "a;b;c;d\n304.175;304.175;304.175;1,5\n", **known)
    assert [read[name][1][0] for name in "abcd"] == [304175, 304.175, 304175, 1.5]
    assert columns_of(tmp_path, "a,b\n304175,1.5\n", **known)["a"] == ("int64", [304175])
    assert columns_of(tmp_path, SALES, text={"a"})["a"][1] == ["304.175", "5.559", "683", "67.149"]


def test_what_was_text_is_text_whatever_it_looks_like(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("slot,version,on,number\n12:00,1.10,true,1.10\n09:30,007,NA,7\n")
    found = read_csv(path, text={"slot", "version", "on"})
    assert found.column("slot").to_pylist() == ["12:00", "09:30"]
    assert found.column("version").to_pylist() == ["1.10", "007"]
    assert found.column("on").to_pylist() == ["true", None]
    assert found.column("number").to_pylist() == [1.1, 7.0]


def test_options(tmp_path):
    assert columns_of(tmp_path, "1,2\n3,4\n", header=False) == {
        "column_1": ("int64", [1, 3]),
        "column_2": ("int64", [2, 4]),
    }
    assert list(columns_of(tmp_path, "a b,c\n1 2,3\n", delimiter="space")) == ["a", "b,c"]
    assert list(columns_of(tmp_path, "a\tb\n1\t2\n", delimiter="tab")) == ["a", "b"]
    assert list(columns_of(tmp_path, ",b\n1,2\n")) == ["column_1", "b"]


BAD = [
    ("", {}, "{path}: the file is empty"),
    ("\n \n", {}, "{path}: the file is empty"),
    ("a,b\n", {}, "{path}: the file has a header but no rows"),
    ("a,b\n1,2\n1,2,3\n", {}, "{path}: line 3 has 3 columns, expected 2 as in the header (line 1)"),
    ("a,b\n\n1,2\n\n7\n", {}, "{path}: line 5 has 1 column, expected 2 as in the header (line 1)"),
    ('a,b\n"x\ny",2\n1\n', {}, "{path}: line 4 has 1 column, expected 2 as in the header (line 1)"),
    ("1,2\n1\n", {"header": False}, "{path}: line 2 has 1 column, expected 2 as in line 1"),
    (
        'a,b\n1,"x\n2,3\n4,"y\n5,6\n',
        {},
        "{path}: the quotes in the row that starts on line 2 do not match",
    ),
    ('a,b\n1,"x\n2,3\n', {}, "{path}: the quotes in the row that starts on line 2 do not match"),
    (
        "a,b,a\n1,2,3\n",
        {},
        "{path}: duplicate column name 'a' (columns 1, 3); give every column its own name",
    ),
    (
        "7,7,1\n1,2,3\n",
        {},
        "{path}: duplicate column name '7' (columns 1, 2); give every column its own name, "
        "or pass --no-header if the first line is data",
    ),
    (b"\x89PNG\r\n\0\0", {}, "{path}: not a CSV file: it holds binary data, not text"),
    (b"%PDF-1.4\n", {}, "{path}: not a CSV file; it is a PDF"),
    (b"PAR1....", {}, "{path}: not a CSV file; it is a Parquet file: name it .parquet"),
    ("a,b\n1,2\n".encode("utf-16"), {}, "{path}: not a CSV file; it is UTF-16 text: save it as UTF-8"),
    (
        "a,b\n1,é\n".encode("latin-1"),
        {},
        "{path}: not a CSV file in UTF-8 (line 2 holds other bytes); save it as UTF-8 text",
    ),
]


@pytest.mark.parametrize(("content", "options", "message"), BAD)
def test_bad_files_are_refused_in_one_line(tmp_path, content, options, message):
    path = write(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_csv(path, **options)
    assert str(caught.value) == message.format(path=path)


def test_what_is_wrong_far_into_a_file_is_found_too(tmp_path):
    good = "1,x\n" * 400_000
    for bad, message in [
        (b"1,\xff\n", "not a CSV file in UTF-8 (column 'b' holds other bytes)"),
        (b"w,\xff\n", "not a CSV file in UTF-8"),
        (b"1\n", "line 400002 has 1 column, expected 2"),
        (b'1,"x\n' + good.encode() * 4, "the row that starts on line 400002 do not match"),
    ]:
        with pytest.raises(DataError, match=r"^.*\.csv: .*") as caught:
            read_csv(write(tmp_path, f"a,b\n{good}".encode() + bad))
        assert message in str(caught.value)


def test_a_damaged_gzip_file(tmp_path):
    path = write(tmp_path, "a,b\n" + "".join(f"{i},{i * 7919 % 1000}\n" for i in range(500_000)), "a.csv.gz")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match="cannot be read"):
        read_csv(path)
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(DataError, match="cannot be decompressed"):
        read_csv(path)


@pytest.mark.parametrize("delimiter", ["", "ab", "x", '"', "\n", "é"])
def test_a_delimiter_is_one_punctuation_character(tmp_path, delimiter):
    with pytest.raises(OptionError, match="--delimiter"):
        read_csv(write(tmp_path, "a,b\n1,2\n"), delimiter=delimiter)


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_csv(tmp_path / "none.csv")


def test_a_text_cell_may_end_the_file_with_a_newline_in_it(tmp_path):
    assert columns_of(tmp_path, 'a,b\n1,"x\ny"\n')["b"] == ("string", ["x\ny"])
    assert pa.types.is_string(read_csv(tmp_path / "a.csv").columns["b"].type)
