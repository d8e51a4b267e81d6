"""Predictions: one per row, in order, whatever the rows are like."""

import json
import shutil

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import downslope as ds
from downslope.errors import DataError, OptionError, RunFolderError


@pytest.fixture(scope="module")
def runs(finished):
    return {task: ds.Run.load(finished[task]) for task in ("classification", "regression")}


@pytest.fixture(scope="module")
def frame(finished):
    return pd.read_csv(finished["data"])


def close(found, expected):
    """Equal, up to the rounding of numbers."""
    if found.dtype.kind == "f":
        return np.allclose(found, expected, rtol=1e-5)
    return (found == expected).all()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_each_row_is_answered_for_itself_and_in_order(runs, frame, task):
    run = runs[task]
    whole = run.predict(frame)
    assert len(whole) == len(frame)
    order = np.random.default_rng(0).permutation(len(frame))
    shuffled = run.predict(frame.iloc[order])
    if task == "regression":
        np.testing.assert_allclose(shuffled, whole[order], rtol=1e-5)
    else:
        assert (shuffled == whole[order]).all()
        assert len(set(whole)) == 2
    for n in (1, 2, 33):
        part = run.predict(frame.iloc[:n])
        assert len(part) == n
        assert close(part, whole[:n])


def test_many_rows(runs, frame):
    """More than are evaluated at once."""
    many = pd.concat([frame] * 80, ignore_index=True)
    assert len(many) > 8192
    whole, once = runs["regression"].predict(many), runs["regression"].predict(frame)
    np.testing.assert_allclose(whole, np.tile(once, 80), rtol=1e-5)


def test_rows_with_missing_cells_and_unseen_categories(runs, frame):
    strange = frame.astype({"new": object}).copy()
    strange.loc[0, "colour"] = "ultraviolet"
    strange.loc[1, "colour"] = None
    strange.loc[2, "width"] = None
    strange.loc[3, ["width", "height", "colour", "new"]] = None
    for run in runs.values():
        found, before = run.predict(strange), run.predict(frame)
        assert len(found) == len(frame)
        assert close(found[4:], before[4:])
    numbers = runs["regression"].predict(strange)
    assert np.isfinite(numbers).all()
    before = runs["regression"].predict(frame)
    assert (numbers[:1] != before[:1]).all()  # an unseen colour is not the colour that it replaced
    assert (numbers[2:4] != before[2:4]).all()


def test_rows_of_nothing_but_missing_cells(runs):
    columns = {"width": [None] * 3, "height": [None] * 3, "colour": [None] * 3, "new": [None] * 3}
    found = runs["regression"].predict(pa.table(columns))
    assert np.isfinite(found).all()
    assert len(set(found)) == 1


def test_columns_may_come_in_any_order_and_with_others(runs, frame):
    other = frame[["new", "colour", "width", "height"]].assign(note="x", price="not a number", kind="?")
    for run in runs.values():
        assert close(run.predict(other), run.predict(frame))


def test_every_kind_of_data(runs, frame, finished):
    expected = runs["regression"].predict(finished["data"])
    for data in (str(finished["data"]), frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)):
        np.testing.assert_allclose(runs["regression"].predict(data), expected, rtol=1e-6)


def test_a_lacking_column_is_named(runs, frame):
    with pytest.raises(DataError, match="the data frame: lacks the column 'width'"):
        runs["regression"].predict(frame.drop(columns="width"))
    with pytest.raises(DataError, match=r"lacks the column 'height'.*'heigth'"):
        runs["regression"].predict(frame.rename(columns={"height": "heigth"}))


def test_text_where_numbers_are_needed(runs, frame):
    with pytest.raises(DataError, match="width"):
        runs["regression"].predict(frame.assign(width="wide"))


def test_evaluate_needs_the_target(runs, frame):
    with pytest.raises(DataError, match="no column 'kind'"):
        runs["classification"].evaluate(frame.drop(columns="kind"))
    with pytest.raises(DataError, match="none of the classes in training: 'cheap', 'dear'"):
        runs["classification"].evaluate(frame.assign(kind="free"))
    with pytest.raises(DataError, match="target 'price' is missing in 120 rows"):
        runs["regression"].evaluate(frame.assign(price=np.nan))


def test_a_regression_has_no_probabilities(runs, frame):
    with pytest.raises(OptionError, match="--proba is for classification"):
        runs["regression"].predict_proba(frame)
    assert runs["regression"].classes == []


@pytest.fixture
def copied(finished, tmp_path):
    shutil.copytree(finished["classification"], tmp_path / "run")
    return tmp_path / "run"


def edited(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


EDITS = {
    "a column less": ("encoding.json", lambda c: c["columns"].pop()),
    "a class more": ("encoding.json", lambda c: c["target"]["classes"].append("free")),
    "no target": ("encoding.json", lambda c: c.pop("target")),
    "columns of another kind": ("encoding.json", lambda c: c.update(columns={})),
    "another format": ("encoding.json", lambda c: c.update(format=99)),
    "wider": ("model.json", lambda c: c["architecture"].update(hidden=[9])),
    "deeper": ("model.json", lambda c: c["architecture"].update(hidden=[8, 8])),
    "much wider": ("model.json", lambda c: c["architecture"].update(hidden=[10**9])),
    "another model": ("model.json", lambda c: c["architecture"].update(model="resnet")),
    "no model": ("model.json", lambda c: c["architecture"].update(model=None)),
    "another activation": ("model.json", lambda c: c["architecture"].update(activation="os.system")),
    "no architecture": ("model.json", lambda c: c.update(architecture=3)),
    "an unknown loss": ("model.json", lambda c: c.update(loss="nothing")),
    "a loss that is no name": ("model.json", lambda c: c.update(loss=[])),
    "a loss of the other task": ("model.json", lambda c: c.update(loss="squared-error")),
    "more inputs": ("model.json", lambda c: c["architecture"]["columns"].update(n_dense=99)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_files_that_do_not_fit_each_other_are_refused(copied, edit, finished):
    name, change = EDITS[edit]
    edited(copied / name, change)
    with pytest.raises(RunFolderError, match="damaged") as caught:
        ds.Run.load(copied).predict(finished["data"])
    assert str(copied) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(copied, finished):
    shutil.copy(finished["regression"] / "model.safetensors", copied / "model.safetensors")
    with pytest.raises(RunFolderError, match=r"model\.safetensors: damaged \('params/output"):
        ds.Run.load(copied)
