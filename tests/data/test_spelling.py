"""Columns of text that were meant as numbers or dates: the user is told so, and what to mend."""

import numpy as np
import pyarrow as pa
import pytest

from downslope.data.cells import codes_of
from downslope.data.delimited import read_csv
from downslope.data.encoding import Encoding
from downslope.data.spelling import misread
from downslope.data.table import Table
from downslope.errors import DataError


def said(cells):
    return misread(*codes_of(pa.chunked_array([pa.array(cells, pa.string())])))


NUMBERS = [str(i) for i in range(1, 31)]
DATES = [f"2015-03-{i:02}" for i in range(1, 31)]
PLAINLY = "look like numbers: write them plainly (1234.5) to have them read"
ISO = "look like dates: write them as ISO dates (2015-03-01) to have them read"
EITHER = "could have the day or the month first: write them as ISO dates (2015-03-01)"


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (
            [None, *NUMBERS, "-", "twelve"],
            "30 of 31 cells are numbers; row 33 holds 'twelve': correct or empty those cells "
            "to have it read as numbers",
        ),
        (
            ["$5", *NUMBERS],
            "30 of 31 cells are numbers; row 1 holds '$5': correct or empty those cells "
            "to have it read as numbers",
        ),
        (
            ["soon", *DATES],
            "30 of 31 cells are dates; row 1 holds 'soon': correct or empty those cells "
            "to have it read as dates",
        ),
        (
            ["soon", *(f"{cell}%" for cell in NUMBERS)],
            "30 of 31 cells are numbers; row 1 holds 'soon': correct or empty those cells "
            "to have it read as numbers",
        ),
        (
            ["soon", *(f"{cell}%" for cell in NUMBERS), *(f"${cell}" for cell in NUMBERS)],
            "60 of 61 cells are numbers; row 1 holds 'soon': correct or empty those cells, "
            "and write those like '1%' plainly (1234.5), to have it read as numbers",
        ),
        (
            ["soon", *(f"2,{100 + i}" for i in range(30))],
            "30 of 31 cells are numbers; row 1 holds 'soon': correct or empty those cells, "
            "and write those like '2,100' plainly (1234.5), to have it read as numbers",
        ),
        (
            ["soon", *(f"{i}.3.2015" for i in range(1, 31))],
            "30 of 31 cells are dates; row 1 holds 'soon': correct or empty those cells "
            "to have it read as dates",
        ),
        (
            ["soon", *(f"{i}/3/2015" for i in range(1, 13)), *(f"{i}/4/2015" for i in range(1, 13))],
            "24 of 25 cells are dates; row 1 holds 'soon': correct or empty those cells, "
            "and write those like '1/3/2015' as ISO dates (2015-03-01), to have it read as dates",
        ),
        (["7", "$3,041.75", "-$.5"], f"cells like '$3,041.75' {PLAINLY}"),
        (["19%", None, "7.5"], f"cells like '19%' {PLAINLY}"),
        (["$5", "€7"], f"cells like '$5' {PLAINLY}"),
        (["03/04/2015", "1/12/2015 10:30"], f"cells like '03/04/2015' {EITHER}"),
        (["1.234,56 €", "€ 7"], f"cells like '1.234,56 €' {PLAINLY}"),
        (["2,350", "1,125"], f"cells like '2,350' {PLAINLY}"),
        (["01/31/2015", "12/1/2015"], f"cells like '01/31/2015' {ISO}"),
        (["31/01/2015 10:30", "1/12/2015 09:00"], f"cells like '31/01/2015 10:30' {ISO}"),
        (["31.01.2015", "1.12.2015"], f"cells like '31.01.2015' {ISO}"),
        (["Mar 01, 2015", "December 24, 2015"], f"cells like 'Mar 01, 2015' {ISO}"),
        (["1 Mar 2015", "24-Dec-2015"], f"cells like '1 Mar 2015' {ISO}"),
    ],
)
def test_what_was_meant_is_said(cells, words):
    assert said(cells) == words


@pytest.mark.parametrize(
    "cells",
    [
        ["a", "b"],
        [None, None],
        ["-", "n.a."],
        NUMBERS,  # text in a frame: so the user wants it
        [*NUMBERS, "many", "few"],
        ["1.2.3", "1.10.2"],
        ["192.168.1.1", "10.0.0.7"],
        ["1,2,3", "4,5,6"],
        ["555-1234", "555-9876"],
        ["01/31/2015", "31/01/2015"],
        ["99.99.2015", "98.98.2015"],
        ["12 High St", "7 Low Rd"],
    ],
)
def test_texts_are_texts(cells):
    assert said(cells) == ""


def fit(target="y", **columns):
    table = Table("t.csv", pa.table(columns))
    return Encoding.fit(table, target=target, rows=np.arange(table.n_rows))


def test_the_reason_stands_in_the_notes_and_in_the_refusal():
    n = 400
    y = [i / 10 for i in range(n)]
    age = ["twelve", *(str(i) for i in range(n - 1))]
    stray = "399 of 400 cells are numbers; row 1 holds 'twelve': correct or empty those cells"
    assert f"'age' ignored: {stray} to have it read as numbers" in fit(age=age, x=y, y=y).notes
    assert (
        fit(age=[*age[:-1], None], y=y)
        .notes[1]
        .startswith("'age': only whether it is missing is used: 398 of 399 cells")
    )
    assert fit(c=["?!", *("5%", "7%") * 8], y=y[:17]).notes[1:] == [
        "'c': 1 text seen once shares the slot for unseen ones"
    ]
    rooms = fit(rooms=["many", "many", *(str(i % 7) for i in range(n - 2))], y=y)
    assert rooms.describe()[0]["became"] == "one-hot"
    assert rooms.notes[1].startswith("'rooms': 398 of 400 cells are numbers; row 1 holds 'many': correct or")
    many = fit(many=["no", "no", *(str(i % 70) for i in range(n - 2))], y=y).notes[1]
    assert many.startswith("'many': 398 of 400 cells are numbers; row 1 holds 'no': ")
    assert many.endswith("; 71 categories, a learned embedding")
    with pytest.raises(
        DataError, match=r"^t.csv: no column is left to predict 'y' from \('d' ignored: cells like"
    ):
        fit(d=[f"Mar {1 + i % 28:02}, {1900 + i}" for i in range(n)], y=y)


def test_a_target_that_is_nearly_numbers():
    x = [i / 7 for i in range(400)]
    few = fit(x=x, y=["unknown", "unknown", *(str(i % 5) for i in range(398))])
    assert few.task == "classification"
    assert few.notes[0].endswith(
        "; 398 of 400 cells are numbers; row 1 holds 'unknown': correct those cells "
        "to have it read as numbers"
    )
    with pytest.raises(DataError) as caught:
        fit(x=x, y=["twelve", *(str(i) for i in range(399))])
    assert str(caught.value) == (
        "t.csv: target 'y' has 400 distinct values in 400 rows, too many to be classes; "
        "399 of 400 cells are numbers; row 1 holds 'twelve': correct those cells to have it read as numbers"
    )


def test_what_is_said_to_be_numbers_is_read_as_numbers_once_mended(tmp_path):
    path = tmp_path / "a.csv"
    numbers = [*NUMBERS, "+1", "-.5", "7.", "1e5", "2.5E-3", "007"]
    path.write_text("\n".join(["x", *numbers, "twelve"]) + "\n")
    assert misread(*codes_of(read_csv(path).column("x"))).startswith("36 of 37 cells are numbers; row 37 ")
    path.write_text("\n".join(["x", *numbers, "-"]) + "\n")
    assert read_csv(path).column("x").to_pylist() == [*map(float, numbers), None]


@pytest.mark.parametrize(
    ("cells", "others", "words"),
    [
        (["03/04/2015", "05/06/2015"], ["05/06/2015"] * 2, EITHER),
        (["$5", "€7"], ["x", "y"], PLAINLY),
        (["5%", "7"], ["x", "y"], PLAINLY),
        (['"€2,350"', '"€1,125"'], ["x", "y"], PLAINLY),
        (["03/04/2015", "05/06/2015"], ["13/06/2015"] * 2, ""),
        (["$5", "$7"], ["x", "y"], ""),
    ],
)
def test_what_is_not_read_from_a_file_is_said(tmp_path, cells, others, words):
    path = tmp_path / "a.csv"
    rows = (f"{cells[i % 2]},{others[i % 2]},{i / 7}" for i in range(20))
    path.write_text("\n".join(["a,b,y", *rows]) + "\n")
    table = read_csv(path)
    notes = Encoding.fit(table, target="y", rows=np.arange(20)).notes
    found = [note for note in notes if note.startswith("'a'") and "cells like" in note]
    assert [words in note for note in found] == ([True] if words else [])
