"""Currency signs and per cent: read as numbers where the whole column carries one sign."""

import pytest

from downslope.data.delimited import read_csv


def read(folder, cells, delimiter=";", other="x", **options):
    path = folder / "a.csv"
    path.write_text(f"a{delimiter}b\n" + "".join(f'"{cell}"{delimiter}"{other}"\n' for cell in cells))
    return read_csv(path, **options)


@pytest.mark.parametrize(
    ("cells", "sign", "values"),
    [
        (["$5", "-$7.50", "$-3", "+$2", ""], "$", [5.0, -7.5, -3.0, 2.0, None]),
        (["$ 5", "7 $", "7"], "$", [5, 7, 7]),
        (["5€", "-7 €", "9\u00a0€", "-"], "€", [5, -7, 9, None]),
        (["£.5", "£5."], "£", [0.5, 5.0]),
        (["₹1,234", "₹5"], "₹", [1234, 5]),
        (["$1,234.50", "-$1,000", "$3"], "$", [1234.5, -1000.0, 3.0]),
        (["1.234,56 €", "-7 €"], "€", [1234.56, -7.0]),
        (["12%", "-2.5 %", "None"], "%", [12.0, -2.5, None]),
        (["12,5%", "3%"], "%", [12.5, 3.0]),
        (["1.234%"], "%", [1.234]),
        (["$0.125", "$1.250"], "$", [0.125, 1.25]),
    ],
)
def test_signs_are_left_out(tmp_path, cells, sign, values):
    table = read(tmp_path, cells)
    assert table.columns["a"].to_pylist() == values
    assert [type(one) for one in table.columns["a"].to_pylist()] == [type(one) for one in values]
    assert table.signs == {"a": sign}


@pytest.mark.parametrize(
    "cells",
    [
        ["$5", "€5"],
        ["5%", "5"],
        ["5%", "$5"],
        ["$5$", "$5"],
        ["$", "$5"],
        ["$5", "five"],
        ["$1.2.3"],
        ["--$5"],
        ["-$-5"],
        ["US$5"],
        ["%5"],
        ["€2,350"],  # or 2.35
        ["€1.234", "€7"],  # or 1.234
        ["$1,23,456"],
        ["$5-$10"],
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_what_could_mean_two_things_stays_text(tmp_path, cells, delimiter):
    table = read(tmp_path, cells, delimiter)
    assert table.columns["a"].to_pylist() == cells
    assert (table.signs, table.notes, table.commas) == ({}, (), None)


def test_dollars_with_commas_are_thousands_but_where_semicolons_delimit(tmp_path):
    for delimiter, values in ((",", [52000, 48250]), (";", ["$52,000", "$48,250"])):
        assert read(tmp_path, ["$52,000", "$48,250"], delimiter).columns["a"].to_pylist() == values
    assert read(tmp_path, ["$52,000", "$48,250"], ",").notes == ("'a': numbers in $, $52,000 is 52000",)


def test_another_column_shows_what_commas_and_points_of_money_are(tmp_path):
    assert read(tmp_path, ["$2,350"], other="1,002,350").columns["a"].to_pylist() == [2350]
    assert read(tmp_path, ["2,350 €"], other="1,5").columns["a"].to_pylist() == [2.35]
    assert read(tmp_path, ["1.234 €", "7 €"], other="1,5").columns["a"].to_pylist() == [1234, 7]
    assert read(tmp_path, ["$1.234", "$7"], other="1,234.50").columns["a"].to_pylist() == [1.234, 7.0]


def test_the_sign_is_said(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("rate,price,tax\n,$5,7\n12.5%,$7,$5\n3%,$8,$6\n")
    assert read_csv(path).notes == ("'rate': numbers in %, 12.5% is 12.5", "'price', 'tax': numbers in $")


def test_a_sign_may_come_late(tmp_path):
    assert read(tmp_path, [*["1,234.5"] * 1500, "$5"]).signs == {"a": "$"}
    assert read(tmp_path, [*[""] * 1500, "$5"]).signs == {"a": "$"}
    assert read(tmp_path, [*["$5"] * 1500, "€5"]).signs == {}


def test_other_files_carry_the_signs_of_training_only(tmp_path):
    for cells, signs, values in [
        (["$5"], {"a": "$"}, [5]),
        (["5"], {"a": "$"}, [5]),
        (["€5"], {"a": "$"}, ["€5"]),
        (["12%"], {}, ["12%"]),  # 0.12, where training had none
    ]:
        assert read(tmp_path, cells, signs=signs).columns["a"].to_pylist() == values
    known = {"signs": {"a": "€"}, "commas": "decimal"}
    assert read(tmp_path, ["1.234 €"], **known, points={"a": "thousands"}).columns["a"].to_pylist() == [1234]
    assert read(tmp_path, ["1.234 €"], **known, points={"a": "decimal"}).columns["a"].to_pylist() == [1.234]
    assert read(tmp_path, ["1.234 €"], **known).columns["a"].to_pylist() == ["1.234 €"]
    for points, values in (({"a": "decimal"}, [1.25]), ({}, ["$1.250"])):  # or 1250, where nothing showed it
        table = read(tmp_path, ["$1.250"], signs={"a": "$"}, points=points)
        assert table.columns["a"].to_pylist() == values
