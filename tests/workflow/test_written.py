"""Prices, per cent and dates in their usual spelling, from the file to the prediction and back."""

import gzip

import numpy as np
import pandas as pd
import pytest

import downslope as ds
from downslope.errors import DataError

DAYS = pd.Timestamp("2015-01-01") + pd.to_timedelta(np.arange(120) * 17, unit="D")
PRICES = 900 + 400 * np.abs(np.sin(np.arange(120)))


def write(path, sold, price, rate, rows=range(120)):
    """Write rows without a header; which of them are the same numbers in every spelling."""
    lines = [f"{sold(DAYS[i])};{price(PRICES[i])};{rate(i % 13 / 4)}" for i in rows]
    text = "\n".join(lines) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def plain(folder, name, **how):
    return write(folder / name, lambda day: day.date(), lambda price: f"{price:.2f}", str, **how)


def american(folder, name, **how):
    def sold(day):
        return day.strftime("%m/%d/%Y")

    return write(folder / name, sold, lambda price: f"${price:,.2f}", lambda rate: f"{rate} %", **how)


OPTIONS = {"target": "column_2", "header": False, "epochs": 2, "learning_rate": 0.01, "quiet": True}


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_spelling_changes_nothing(tmp_path, name):
    spelt = american(tmp_path, name)
    found = ds.train(spelt, out=tmp_path / "run", test=american(tmp_path, f"test-{name}"), **OPTIONS)
    expected = ds.train(plain(tmp_path, "plain.csv"), out=False, test=tmp_path / "plain.csv", **OPTIONS)
    assert found.summary["task"] == "regression"
    run = ds.Run.load(tmp_path / "run")
    values = expected.predict(tmp_path / "plain.csv")
    np.testing.assert_array_equal(run.predict(spelt), values)
    assert run.evaluate(spelt) == expected.evaluate(tmp_path / "plain.csv")
    one = american(tmp_path, name, rows=[14])  # 08/27/2015 shows its order
    np.testing.assert_allclose(run.predict(one), values[14:15], rtol=1e-6)
    open_to_both = next(i for i, day in enumerate(DAYS) if day.day < 13 and day.day != day.month)
    one = american(tmp_path, name, rows=[open_to_both])
    np.testing.assert_allclose(run.predict(one), values[[open_to_both]], rtol=1e-6)
    wrong = write(tmp_path / "wrong.csv", lambda day: day.strftime("%d/%m/%Y"), str, lambda rate: f"{rate}%")
    with pytest.raises(DataError, match=r"'column_1' should hold dates with the month first, but row 2"):
        run.predict(wrong)
