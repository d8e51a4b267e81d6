"""Files to predict are read with the signs and the order of day and month that training had."""

import datetime
import json

import numpy as np
import pyarrow as pa
import pytest

from downslope.data.delimited import read_csv
from downslope.data.encoding import Encoding
from downslope.data.memory import from_frame
from downslope.errors import DataError

DAYS = [datetime.date(2015, 1, 1) + datetime.timedelta(days=17 * i) for i in range(40)]
TRAINING = {
    "european": ("%d/%m/%Y", "day first"),
    "american": ("%m/%d/%Y", "month first"),
    "german": ("%d.%m.%Y", "day first"),
    "named": ("%b %d %Y", ""),
    "iso": ("%Y-%m-%d", ""),
}


def fit(folder, form):
    """Return the encoding of a file of dates and prices, saved and loaded."""
    path = folder / "train.csv"
    rows = (f'{day.strftime(form)},"${1000 + 7 * i:,}.50",{3 * i}%' for i, day in enumerate(DAYS))
    path.write_text("\n".join(["sold,price,rate", *rows]) + "\n")
    table = read_csv(path)
    encoding = Encoding.fit(table, target="price", rows=np.arange(table.n_rows))
    assert encoding.task == "regression"
    loaded = Encoding.from_json(json.loads(json.dumps(encoding.to_json())))
    assert loaded == encoding
    return loaded


def inputs(encoding, folder, cell, rate="7%"):
    path = folder / "new.csv"
    path.write_text(f'sold,rate,price\n"{cell}",{rate},"$2,000"\n')
    table = read_csv(path, **encoding.as_read)
    assert encoding.decode_target(encoding.encode_target(table)) == pytest.approx(2000)
    return encoding.encode_inputs(table).dense


def frame(cell):
    return from_frame(pa.table({"sold": [cell], "rate": [7], "price": [2000]}))


@pytest.mark.parametrize("kind", TRAINING)
def test_one_row_is_read_with_the_order_of_training(tmp_path, kind):
    form, order = TRAINING[kind]
    encoding = fit(tmp_path, form)
    expected = inputs(encoding, tmp_path, "2015-04-03")
    assert (inputs(encoding, tmp_path, "2015-03-04") != expected).any()
    cells = [datetime.date(2015, 4, 3).strftime(form), "2015-04-03", "Apr 3, 2015", "2015/4/3"]
    cells += [{"day first": "3/4/2015", "month first": "4/3/2015", "": "03.04.2015"}[order]]
    for cell in cells:
        np.testing.assert_array_equal(inputs(encoding, tmp_path, cell), expected)
        np.testing.assert_array_equal(encoding.encode_inputs(frame(cell)).dense, expected)


@pytest.mark.parametrize(
    ("kind", "cell", "what"),
    [
        ("european", "04/13/2015", "dates with the day first"),
        ("american", "13/04/2015", "dates with the month first"),
        ("american", "31.04.2015", "dates with the month first"),
        ("iso", "03/04/2015", "dates"),
        ("named", "03/04/2015", "dates"),
        ("european", "soon", "dates with the day first"),
    ],
)
def test_another_order_is_refused(tmp_path, kind, cell, what):
    encoding = fit(tmp_path, TRAINING[kind][0])
    message = f"column 'sold' should hold {what}, but row 1 holds '{cell}'"
    for call in (lambda: inputs(encoding, tmp_path, cell), lambda: encoding.encode_inputs(frame(cell))):
        with pytest.raises(DataError) as caught:
            call()
        assert message in str(caught.value)


@pytest.mark.parametrize(
    ("cells", "row"),
    [
        (["13/04/2015", "", "04/13/2015", "13/04/2015"], 3),
        (["", "04/13/2015", "13/04/2015"], 2),
        (["13/04/2015"] * 3000 + ["soon", "13/04/2015"], 3001),
        (["13/04/2015", "-", "2015-04-13"], 3),
        (["2015-04-13", "2015-04-31"], 2),
        (["13/04/2015 10:30", "13/04/2015 10:60"], 2),
    ],
)
def test_the_first_wrong_row_is_named(tmp_path, cells, row):
    encoding = fit(tmp_path, "%d/%m/%Y")
    path = tmp_path / "new.csv"
    path.write_text("\n".join(["sold,rate", *(f"{cell},1%" for cell in cells)]) + "\n")
    with pytest.raises(DataError) as caught:
        encoding.encode_inputs(read_csv(path, **encoding.as_read))
    assert str(caught.value) == (
        f"{path}: column 'sold' should hold dates with the day first, but row {row} holds "
        f"'{cells[row - 1]}'; write all alike, such as 2015-03-01, "
        "and leave a cell empty where the date is unknown"
    )


def test_a_date_that_could_be_two_is_refused(tmp_path):
    encoding = fit(tmp_path, "%Y-%m-%d")
    columns = {"rate": [7, 7], "price": [2000, 2000]}
    with pytest.raises(DataError) as caught:
        encoding.encode_inputs(from_frame(pa.table({"sold": [None, "03/04/2015"], **columns})))
    assert str(caught.value).startswith(
        "the data frame: column 'sold' should hold dates, but row 2 holds '03/04/2015', which could have the "
        "day or the month first; write all alike, such as 2015-03-01, and"
    )


def test_another_sign_is_refused(tmp_path):
    encoding = fit(tmp_path, "%d/%m/%Y")
    np.testing.assert_array_equal(
        inputs(encoding, tmp_path, "13/04/2015", "7"), inputs(encoding, tmp_path, "13/04/2015")
    )
    with pytest.raises(DataError, match=r"'rate' should hold numbers, but row 1 holds '\$7'"):
        inputs(encoding, tmp_path, "13/04/2015", "$7")


def test_runs_saved_before_are_read(tmp_path):
    saved = fit(tmp_path, "%Y-%m-%d").to_json()
    del saved["signs"]
    for column in saved["columns"]:
        column.pop("order", None)
    assert Encoding.from_json(saved).signs == {}


@pytest.mark.parametrize("delimiter", [",", "\t", "|"])
@pytest.mark.parametrize("beside", ["1", "2,350"])
def test_commas_of_money_stay_what_they_were_in_training(tmp_path, delimiter, beside):
    def write(name, prices):
        lines = [f'"{price}"{delimiter}"{beside}"{delimiter}{i % 3 / 7}' for i, price in enumerate(prices)]
        (tmp_path / name).write_text("\n".join([delimiter.join(("price", "b", "c")), *lines]) + "\n")
        return tmp_path / name

    table = read_csv(write("train.csv", [f"${2350 + 7 * i:,}" for i in range(40)]))
    encoding = Encoding.fit(table, target="c", rows=np.arange(40))
    for cell in ("$2,350", "2,350", "2350", "$2350.0"):
        new = read_csv(write("new.csv", [cell]), **encoding.as_read)
        assert new.columns["price"].to_pylist() == [2350]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_points_of_money_that_training_had_none_of_are_refused(tmp_path, delimiter):
    def write(name, prices):
        lines = [f"{price}{delimiter}{i % 3 / 7}" for i, price in enumerate(prices)]
        (tmp_path / name).write_text("\n".join([delimiter.join(("price", "c")), *lines]) + "\n")
        return tmp_path / name

    for prices, read in (
        ([f"€{7 * i}" for i in range(40)], False),
        ([f"€{7 * i}.5" for i in range(40)], True),
    ):
        table = read_csv(write("train.csv", prices))
        encoding = Encoding.fit(table, target="c", rows=np.arange(40))
        new = read_csv(write("new.csv", ["€1.234", "€7"]), **encoding.as_read)
        if read:
            assert new.columns["price"].to_pylist() == [1.234, 7.0]
        else:
            with pytest.raises(DataError, match=r"'price' should hold numbers, but row 1 holds '€1\.234'"):
                encoding.encode_inputs(new)
