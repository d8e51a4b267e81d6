"""Dates that are not ISO: read where they have one meaning, against `datetime.strptime`."""

import datetime
import random

import pyarrow as pa
import pytest

from downslope.data.delimited import read_csv
from downslope.data.written_dates import written_dates

FORMS = [
    ("%d/%m/%Y", "day first"),
    ("%d-%m-%Y %H:%M", "day first"),
    ("%d.%m.%Y", "day first"),
    ("%d.%m.%Y, %H:%M:%S", "day first"),
    ("%m/%d/%Y", "month first"),
    ("%m-%d-%Y", "month first"),
    ("%m/%d/%Y %I:%M %p", "month first"),
    ("%m/%d/%Y %I:%M:%S%p", "month first"),
    ("%Y/%m/%d", ""),
    ("%Y.%m.%dT%H:%M:%S.%f", ""),
    ("%Y-%m-%d %I:%M %p", ""),
    ("%b %d, %Y", ""),
    ("%B %d %Y %H:%M", ""),
    ("%d %b %Y", ""),
    ("%d-%b-%Y %H:%M:%S", ""),
    ("%d %B %Y,%I:%M %p", ""),
]


def column(cells):
    return pa.chunked_array([pa.array(cells, pa.string())])


def meanings(cells, order=""):
    return {first: dates.to_pylist() for first, dates in written_dates(column(cells), order).items()}


@pytest.mark.parametrize(("form", "order"), FORMS)
def test_every_form_is_read_as_python_reads_it(form, order):
    draw = random.Random(0)
    start = datetime.datetime(1890, 1, 1)
    moments = [start + datetime.timedelta(seconds=draw.randrange(200 * 31_556_952)) for _ in range(3000)]
    cells = [moment.strftime(form) for moment in moments]
    timed = any(sign in form for sign in ("%H", "%I"))
    expected = [datetime.datetime.strptime(cell, form) for cell in cells]
    expected = expected if timed else [moment.date() for moment in expected]
    assert meanings(["-", *cells, None]) == {order: [None, *expected, None]}
    shouted = [cell.upper() for cell in cells]
    assert meanings(shouted) == {order: expected}
    kind = "timestamp[us]" if timed else "date32[day]"
    assert str(written_dates(column(cells))[order].type) == kind


DAY = datetime.date(2015, 4, 3)


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["3/4/2015"], {"day first": [DAY], "month first": [datetime.date(2015, 3, 4)]}),
        (["3.4.2015"], {"day first": [DAY]}),
        (["3/4/2015", "13/4/2015"], {"day first": [DAY, datetime.date(2015, 4, 13)]}),
        (["4/3/2015", "4/13/2015"], {"month first": [DAY, datetime.date(2015, 4, 13)]}),
        (["04.03.2015", "04.13.2015"], {"month first": [DAY, datetime.date(2015, 4, 13)]}),
        (["13/4/2015", "4/13/2015"], {}),
        (["31.02.2015"], {}),
        (["29/2/2015"], {}),
        (["29/2/2016"], {"day first": [datetime.date(2016, 2, 29)]}),
        (["0/4/2015"], {}),
        (["13/0/2015"], {}),
        (["2015/4/31"], {}),
        (["3/4/15"], {}),
        (["3/4.2015"], {}),
        (["13/4/2015", "13.4.2015"], {}),
        (["13/4/2015", "2015/4/13"], {}),
        (["13/4/2015", "soon"], {}),
        (["13/4/2015 24:00"], {}),
        (["13/4/2015 12:60"], {}),
        (["13/4/2015 13:00 PM"], {}),
        (["13/4/2015 0:30 AM"], {}),
        (["13/4/2015 3:30 PM", "13/4/2015 3:30"], {}),
        (["Apr 3, 2015", "april 3 2015"], {"": [DAY, DAY]}),
        (["3 Apr. 2015", "03-APR-2015"], {"": [DAY, DAY]}),
        (["3 Sept 2015"], {"": [datetime.date(2015, 9, 3)]}),
        (["Apx 3, 2015"], {}),
        (["1.10.2"], {}),
        ([None], {}),
    ],
)
def test_what_is_no_date_or_could_be_two(cells, found):
    assert meanings(cells) == found


def test_some_cells_may_lack_the_time():
    found = meanings(["13/4/2015", "13/4/2015 12:05 AM", "13/4/2015 12:05 PM"])
    assert found["day first"] == [
        datetime.datetime(2015, 4, 13, hour, minute) for hour, minute in ((0, 0), (0, 5), (12, 5))
    ]


def test_a_known_order_is_the_only_one():
    assert meanings(["3/4/2015"], "day first") == {"day first": [DAY]}
    assert meanings(["4/3/2015"], "month first") == {"month first": [DAY]}
    assert meanings(["4.3.2015"], "month first") == {"month first": [DAY]}
    assert meanings(["13/4/2015"], "month first") == {}
    assert meanings(["3 Apr 2015"], "month first") == {"": [DAY]}


def test_what_comes_late_decides_too():
    assert list(meanings(["3/4/2015"] * 5000 + ["4/13/2015"])) == ["month first"]
    assert meanings(["13/4/2015"] * 5000 + ["4/13/2015"]) == {}
    assert list(meanings([None] * 5000 + ["3 Apr 2015"])) == [""]


def read(folder, content, **options):
    path = folder / "a.csv"
    path.write_text(content)
    table = read_csv(path, **options)
    columns = {name: table.columns[name].to_pylist() for name in table.column_names}
    return columns, dict(table.orders), table.notes


def test_the_order_is_kept_and_said(tmp_path):
    columns, orders, notes = read(tmp_path, "sold,due\n3/4/2015,1 Mar 2015\n13/02/2015,NA\n-,2 Mar 2015\n")
    assert columns["sold"] == [DAY, datetime.date(2015, 2, 13), None]
    assert columns["due"][::2] == [datetime.date(2015, 3, 1), datetime.date(2015, 3, 2)]
    assert orders == {"sold": "day first"}
    assert notes == ("'sold': dates with the day first (13/02/2015 is 2015-02-13)",)
    assert read(tmp_path, "a,b\n3/4/2015,x\n13/02/2015,y\n", text={"a"})[0]["a"] == ["3/4/2015", "13/02/2015"]


def test_another_column_shows_the_order(tmp_path):
    columns, orders, notes = read(tmp_path, "sold,due,at\n3/4/2015,13/02/2015,x\n4/4/2015,1/1/2015,y\n")
    assert columns["sold"] == [DAY, datetime.date(2015, 4, 4)]
    assert orders == {"sold": "day first", "due": "day first"}
    assert notes == (
        "'due': dates with the day first (13/02/2015 is 2015-02-13)",
        "'sold': dates with the day first, as in 'due' (3/4/2015 is 2015-04-03)",
    )
    columns, orders, _ = read(tmp_path, "a,b,c\n3/4/2015,13/02/2015,02/13/2015\n")
    assert columns["a"] == ["3/4/2015"]
    assert orders == {"b": "day first", "c": "month first"}
    assert read(tmp_path, "a,b\n3/4/2015,3/5/2015\n")[0] == {"a": ["3/4/2015"], "b": ["3/5/2015"]}


@pytest.mark.parametrize("other", ["13.02.2015", "1.2.2015", "13-02-2015", "02-13-2015", "13 Feb 2015"])
def test_dates_with_another_sign_show_no_order(tmp_path, other):
    columns, orders, _ = read(tmp_path, f"a,b,c\n3/4/2015,{other},x\n4/4/2015,{other},y\n")
    assert columns["a"] == ["3/4/2015", "4/4/2015"]
    assert "a" not in orders


def test_each_sign_has_its_own_order(tmp_path):
    columns, orders, notes = read(tmp_path, "a,b,c,d\n3/4/2015,13/02/2015,3-4-2015,02-13-2015\n")
    assert columns["a"] == [DAY]
    assert columns["c"] == [datetime.date(2015, 3, 4)]
    assert orders == {"a": "day first", "b": "day first", "c": "month first", "d": "month first"}
    assert notes[1] == "'a': dates with the day first, as in 'b' (3/4/2015 is 2015-04-03)"
    assert notes[3] == "'c': dates with the month first, as in 'd' (3-4-2015 is 2015-03-04)"
