"""The main job through the library: what goes in, what comes out, what is left on disk."""

import errno
import importlib
import json
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import optax
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as reference

import downslope as ds
from downslope.errors import DataError, InputError, NonFiniteError, OptionError, RunFolderError
from downslope.training import loop
from downslope.workflow.resume import resumed_job

SMALL = {"hidden": (8,), "epochs": 4, "batch_size": 16, "learning_rate": 0.01, "quiet": True}
IN_MEMORY = {**SMALL, "out": False}

# The list of the design.
SUMMARY = """
task target n_params optimizer learning_rate batch_size precision steps epochs stopped_because metrics seconds
devices versions
"""
METRICS = {
    "classification": {"loss", "accuracy", "log_loss"},
    "regression": {"loss", "rmse", "mae", "r2"},
}
FILES = {
    "config.json",
    "summary.json",
    "history.parquet",
    "layers.parquet",
    "events.jsonl",
    "encoding.json",
    "model.safetensors",
    "model.json",
    "checkpoints",
    "path",
    "report.html",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- what data may be


def test_every_kind_of_data_gives_the_same_network(table, csv, identical, here):
    columns = table()
    kept = {name: cells for name, cells in columns.items() if name != "price"}
    arrow = pa.table(kept)
    pq.write_table(arrow, here / "things.parquet")
    runs = [
        ds.train(data, target="kind", **IN_MEMORY)
        for data in (
            str(csv(columns=kept)),
            csv("things.tsv", kept, delimiter="\t"),
            "things.parquet",
            arrow,
            pd.DataFrame(kept),
            pl.DataFrame(kept),
        )
    ]
    for run in runs[1:]:
        assert identical(run.params, runs[0].params)
    predicted = runs[0].predict(arrow)
    assert all((run.predict(pd.DataFrame(kept)) == predicted).all() for run in runs)


def test_arrays():
    generator = np.random.default_rng(0)
    X = generator.normal(0, 1, (100, 3))
    y = X @ [1.0, 2.0, -1.0]
    run = ds.train(X, y, **IN_MEMORY)
    assert run.summary["task"] == "regression"
    assert run.predict(X[:7]).shape == (7,)
    assert run.predict(X[:7]).dtype == np.float64
    labels = np.where(y > 0, "up", "down")
    run = ds.train(X, labels, **IN_MEMORY)
    assert run.classes == ["down", "up"]
    assert set(run.predict(X)) <= {"down", "up"}
    assert run.evaluate(X, labels)["accuracy"] > 0.5


def test_an_array_of_more_columns_is_refused(tmp_path):
    """Its columns have no names that could tell which of them were trained on."""
    X = np.random.default_rng(0).normal(0, 1, (100, 3))
    y = X @ [1.0, 2.0, -1.0]
    run = ds.train(X, y, **{**SMALL, "out": tmp_path / "run"})
    said = "the arrays: has 6 columns, but the rows of the training had 3; give the same columns"
    for one in (run, ds.Run.load(tmp_path / "run")):
        with pytest.raises(DataError, match=said):
            one.predict(np.c_[X, X])
        with pytest.raises(DataError, match=said):
            one.evaluate(np.c_[X, X], y)
        assert one.evaluate(X, y)["r2"] == one.evaluate(X.tolist(), y)["r2"]
    within = ds.train(np.c_[X, y], target="x4", **IN_MEMORY)  # the target may be among them, or not
    assert (within.predict(np.c_[X, y]) == within.predict(X)).all()
    with pytest.raises(DataError, match="has 5 columns, but the rows of the training had 4"):
        within.predict(np.c_[X, y, y])


@pytest.mark.parametrize("name", ["iris", "diabetes"])
def test_bundled(name):
    run = ds.train(name, **{**IN_MEMORY, "epochs": 30})
    metrics = run.summary["metrics"]["test"]
    assert metrics["accuracy"] > 0.8 if name == "iris" else metrics["r2"] > 0.2


# ---- what it learns is right


def test_regression_is_in_the_users_units(finished):
    run = ds.Run.load(finished["regression"])
    frame = pd.read_csv(finished["data"])
    predicted, actual = run.predict(frame), frame["price"].to_numpy()
    found = run.evaluate(frame)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(actual, predicted), rel=1e-5)
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(actual, predicted), rel=1e-5)
    assert found["r2"] == pytest.approx(reference.r2_score(actual, predicted), rel=1e-5)
    assert 50 < np.median(predicted) < 400  # not standardised
    # The loss is that of the standardised target: its scale is the training rows' own.
    encoding = json.loads((finished["regression"] / "encoding.json").read_text())
    assert found["loss"] == pytest.approx((found["rmse"] / encoding["target"]["std"]) ** 2, rel=1e-4)


def test_units_do_not_matter(table):
    """Millions instead of ones: the same network, and predictions a million times as large."""
    columns = table()
    del columns["kind"]
    large = {**columns, "price": [1e6 * price for price in columns["price"]]}
    small_run, large_run = (ds.train(pa.table(c), target="price", **IN_MEMORY) for c in (columns, large))
    small, big = (run.summary["metrics"]["test"] for run in (small_run, large_run))
    assert big["rmse"] == pytest.approx(1e6 * small["rmse"], rel=1e-4)
    assert big["r2"] == pytest.approx(small["r2"], abs=1e-5)
    rows = pa.table(columns)
    np.testing.assert_allclose(large_run.predict(rows), 1e6 * small_run.predict(rows), rtol=1e-4)


def test_classification_metrics(finished):
    run = ds.Run.load(finished["classification"])
    frame = pd.read_csv(finished["data"])
    shares, found = run.predict_proba(frame), run.evaluate(frame)
    assert run.classes == ["cheap", "dear"]
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert (run.predict(frame) == np.array(run.classes)[shares.argmax(axis=1)]).all()
    codes = (frame["kind"] == "dear").to_numpy().astype(int)
    assert found["accuracy"] == pytest.approx(np.mean(shares.argmax(axis=1) == codes))
    assert found["log_loss"] == pytest.approx(reference.log_loss(codes, shares.astype("f4")), rel=1e-5)
    assert found["loss"] == pytest.approx(found["log_loss"], rel=1e-5)


def test_a_table_that_can_be_learned_is_learned(table):
    run = ds.train(
        pa.table({k: v for k, v in table(400).items() if k != "kind"}),
        target="price",
        **{**IN_MEMORY, "epochs": 60, "hidden": (32,), "dropout": 0.0},
    )
    assert run.summary["metrics"]["test"]["r2"] > 0.9


def test_the_test_rows_give_the_metrics_of_the_summary(table, csv, tmp_path):
    """A file of its own to test on: evaluated again from disk, it says the same."""
    train, test = csv("train.csv", table(120)), csv("test.csv", table(40, seed=9))
    run = ds.train(train, target="kind", drop=["price"], test=str(test), out=tmp_path / "run", **SMALL)
    assert run.summary["rows"]["test"] == 40
    again = ds.Run.load(tmp_path / "run").evaluate(test)
    assert again == pytest.approx(run.summary["metrics"]["test"], rel=1e-6)
    found = ds.Run.load(tmp_path / "run").predict(test)
    kinds = table(40, seed=9)["kind"]
    assert np.mean(found == kinds) == pytest.approx(again["accuracy"])


def test_held_out_rows_give_the_metrics_of_the_summary(table):
    """The split is a function of the seed: the test rows are found again and measured."""
    from downslope.data.source import read
    from downslope.data.split import split
    from downslope.data.target import class_codes

    frame = pd.DataFrame({k: v for k, v in table().items() if k != "price"})
    run = ds.train(frame, target="kind", seed=5, **IN_MEMORY)
    parts = split(len(frame), seed=5, classes=class_codes(read(frame), "kind"))
    for name in ("train", "validation", "test"):
        rows = getattr(parts, name)
        assert run.summary["rows"][name] == len(rows)
        found = run.evaluate(frame.iloc[rows])
        assert found == pytest.approx(run.summary["metrics"][name], rel=1e-5)


# ---- seeds


def test_the_seed_decides_everything(table, identical, without_seconds):
    rows = pa.table(table())
    options = {**IN_MEMORY, "dropout": 0.3, "drop": ("price",)}
    first, again, other = (ds.train(rows, target="kind", seed=seed, **options) for seed in (3, 3, 4))
    assert identical(first.params, again.params)
    assert without_seconds(first.history.to_pylist()) == without_seconds(again.history.to_pylist())
    assert first.summary["metrics"] == again.summary["metrics"]
    assert not identical(first.params, other.params)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (
            {"hidden": (8,), "learning_rate": 0.01},
            [
                {"hidden": (9,)},
                {"activation": "tanh"},
                {"batch_norm": True},
                {"dropout": 0.4},
                {"ramps": 4},
            ],
        ),
        (
            {"model": "linear", "learning_rate": 0.01},
            [
                {"loss": "binary-cross-entropy"},
                {"optimizer": "lamb"},
                {"weight_decay": 0.5},
                {"learning_rate": 0.02},
                {"schedule": "constant"},
                {"batch_size": "full"},
                {"epochs": 3},
                {"seed": 1},
                {"validation_fraction": 0.3},
                {"drop": ("width",)},
            ],
        ),
    ],
    ids=["network", "descent"],
)
def test_every_option_reaches_the_weights(table, identical, base, changes):
    """Whatever is changed, something else comes out; else the option is not connected."""
    rows = pa.table({k: v for k, v in table().items() if k != "price"})
    base = {"target": "kind", "epochs": 4, "batch_size": 16, "out": False, "quiet": True, **base}
    plain = ds.train(rows, **base)
    for change in changes:
        assert not identical(ds.train(rows, **{**base, **change}).params, plain.params), change


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gradient-descent", "sgd", "momentum", "nesterov", "adam", "adamw", "lamb"])
def test_every_rule_trains(name, table):
    rows = pa.table({k: v for k, v in table().items() if k != "price"})
    run = ds.train(rows, target="kind", optimizer=name, out=False, quiet=True, model="linear", epochs=15)
    assert run.summary["optimizer"] == name
    losses = run.history["train_loss"].to_pylist()
    assert losses[-1] < losses[0]
    if name == "gradient-descent":
        assert run.summary["batch_size"] == run.summary["rows"]["train"]


def test_rules_of_ones_own(table, identical):
    rows = pa.table({k: v for k, v in table().items() if k != "price"})
    by_name = ds.train(rows, target="kind", optimizer="momentum", **IN_MEMORY)
    made = ds.train(rows, target="kind", optimizer=ds.momentum(), **IN_MEMORY)
    assert identical(by_name.params, made.params)
    theirs = ds.train(rows, target="kind", optimizer=optax.adam(0.01), **{**IN_MEMORY, "learning_rate": 1.0})
    assert theirs.summary["optimizer"] == "optax"
    assert theirs.history.num_rows == 4
    with pytest.raises(OptionError, match="--learning-rate: an Optax transformation has a learning"):
        ds.train(rows, target="kind", optimizer=optax.adam(0.01), **IN_MEMORY)
    with pytest.raises(OptionError, match="--weight-decay goes with an optimizer's name"):
        ds.train(rows, target="kind", optimizer=ds.adam(), weight_decay=0.1, **IN_MEMORY)


def test_what_guessing_reaches():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)).astype(np.float32)
    labels, noise = (rng.random(200) < 0.2).astype(int), rng.normal(5, 3, 200)
    run = ds.train(x, labels, **IN_MEMORY)
    guessing = run.summary["guessing"]
    assert guessing["split"] == "test"
    assert guessing["accuracy"] == pytest.approx(0.8, abs=0.03)  # splits are stratified
    assert guessing["log_loss"] == pytest.approx(-0.2 * np.log(0.2) - 0.8 * np.log(0.8), abs=0.02)
    assert ds.train(x, labels, class_weight="balanced", **IN_MEMORY).summary["guessing"] == {}
    run = ds.train(x, noise, **IN_MEMORY)
    assert run.summary["guessing"]["rmse"] == pytest.approx(noise.std(), rel=0.2)
    assert run.summary["guessing"]["r2"] <= 0


# ---- the run folder


@pytest.fixture(params=["classification", "regression"])
def finished_run(request, finished):
    return request.param, finished[request.param]


def test_the_summary_has_every_key(finished_run):
    task, folder = finished_run
    summary = json.loads((folder / "summary.json").read_text())
    assert set(SUMMARY.split()) <= set(summary)
    assert summary["task"] == task
    assert summary["target"] == {"classification": "kind", "regression": "price"}[task]
    assert set(summary["metrics"]) == {"train", "validation", "test"}
    assert all(set(values) == METRICS[task] for values in summary["metrics"].values())
    assert all(np.isfinite(value) for values in summary["metrics"].values() for value in values.values())
    assert set(summary["seconds"]) == {"read", "compile", "tune", "train", "total"}
    assert all(seconds >= 0 for seconds in summary["seconds"].values())
    assert summary["seconds"]["total"] >= summary["seconds"]["train"]
    assert {"downslope", "jax", "flax", "python"} <= set(summary["versions"])
    assert summary["versions"]["downslope"] == "0.1.0"
    assert summary["devices"]
    assert summary["precision"] == "float32"
    assert (summary["epochs"], summary["batch_size"], summary["learning_rate"]) == (4, 16, 0.01)
    assert summary["steps"] == 4 * -(-summary["rows"]["train"] // 16)
    assert summary["stopped_because"]
    assert sum(summary["rows"].values()) == 120
    assert (summary["rows"]["test"], summary["rows"]["validation"]) == (24, 12)
    weights = ds.Run.load(folder).params
    assert summary["n_params"] == ds.Run.load(folder).summary["n_params"] == _count(weights)


def _count(tree):
    if isinstance(tree, dict):
        return sum(_count(branch) for branch in tree.values())
    return int(np.asarray(tree).size)


def test_the_files_are_those_of_the_design(finished_run):
    _, folder = finished_run
    names = {path.name for path in folder.iterdir()}
    assert names >= FILES
    assert names - FILES <= {"evaluation.json"}  # what the report draws
    history = pq.read_table(folder / "history.parquet")
    assert history["epoch"].to_pylist() == [1, 2, 3, 4]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in events] == ["compiled", "checkpoint", "finished"]
    config = json.loads((folder / "config.json").read_text())
    assert config["hidden"] == [8]
    assert config["optimizer"]["name"] == "adamw"
    assert all(config[name] is not None for name in ("loss", "schedule", "dropout", "epochs", "task"))


def test_the_folder_is_what_memory_was(table, tmp_path, identical):
    rows = pa.table({k: v for k, v in table().items() if k != "price"})
    run = ds.train(rows, target="kind", out=tmp_path / "run", **SMALL)
    loaded = ds.Run.load(tmp_path / "run")
    assert identical(loaded.params, run.params)
    assert loaded.summary == run.summary
    assert loaded.history.equals(run.history)
    assert (loaded.predict(rows) == run.predict(rows)).all()
    np.testing.assert_array_equal(loaded.predict_proba(rows), run.predict_proba(rows))
    assert repr(loaded) == repr(run)
    assert "test accuracy" in repr(run)


def test_no_file_can_run_code(finished_run):
    """JSON, lines of JSON, Parquet, safetensors, tensorstore's arrays, one page: none is a pickle."""
    _, folder = finished_run
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert not path.name.endswith((".pkl", ".pickle", ".py", ".joblib", ".npy", ".npz", ".pt"))
        assert not re.match(rb"\x80[\x02-\x05]", content), path
        if path.suffix == ".json":
            json.loads(content)
        elif path.suffix == ".jsonl":
            [json.loads(line) for line in content.splitlines()]
        elif path.suffix == ".parquet":
            assert content[:4] == content[-4:] == b"PAR1"
        elif path.suffix == ".safetensors":
            length = int.from_bytes(content[:8], "little")
            assert all("dtype" in entry for entry in json.loads(content[8 : 8 + length]).values())
        elif path.suffix == ".html":
            assert content.lstrip().lower().startswith(b"<!doctype html")
        else:
            assert "checkpoints" in path.parts, path


def test_loading_opens_no_pickle_and_runs_no_code(finished_run, monkeypatch):
    import builtins
    import pickle
    import subprocess

    def forbidden(*arguments, **options):
        raise AssertionError("code of a run folder was run")

    for module, name in (
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (builtins, "eval"),
        (subprocess, "Popen"),
    ):
        monkeypatch.setattr(module, name, forbidden)
    # `exec` cannot be forbidden: Python's own dataclasses and named tuples are made with it.
    task, folder = finished_run
    run = ds.Run.load(folder)
    assert run.summary["task"] == task


def test_a_moved_folder_still_predicts(finished, tmp_path, python):
    """Another place, another process, and the data gone."""
    import shutil

    shutil.copytree(finished["regression"], tmp_path / "moved")
    shutil.copy(finished["data"], tmp_path / "new.csv")
    expected = ds.Run.load(finished["regression"]).predict(finished["data"])
    printed = python(
        "import downslope as ds, json; print(json.dumps(ds.Run.load('moved').predict('new.csv').tolist()))",
        cwd=tmp_path,
    )
    np.testing.assert_allclose(json.loads(printed), expected, rtol=1e-6)


# ---- where it is written


def test_out_false_writes_nothing(here, table):
    ds.train(pa.table(table()), target="kind", **IN_MEMORY)
    assert list(here.iterdir()) == []


def test_folders_are_numbered(here, csv):
    data = csv("my things.csv")
    (here / "runs" / "my-things-7").mkdir(parents=True)
    run = ds.train(data, target="kind", **SMALL)
    assert run.folder == Path("runs/my-things-8")
    assert (here / "runs" / "my-things-8" / "summary.json").is_file()


def test_a_run_is_not_overwritten_unasked(finished, tmp_path, files):
    import shutil

    shutil.copytree(finished["classification"], tmp_path / "run")
    before = files(tmp_path / "run")
    options = {"target": "kind", "drop": ("price",), "out": tmp_path / "run"}
    with pytest.raises(RunFolderError, match="holds a run already; add --overwrite"):
        ds.train(finished["data"], **options, **SMALL)
    # What is refused for another reason leaves the old run alone too, even with overwrite.
    with pytest.raises(DataError):
        ds.train(finished["data"], **{**options, "target": "kinf"}, overwrite=True, **SMALL)
    assert files(tmp_path / "run") == before
    run = ds.train(finished["data"], **options, overwrite=True, **{**SMALL, "epochs": 2})
    assert ds.Run.load(tmp_path / "run").summary == run.summary
    assert run.summary["epochs"] == 2


@pytest.mark.parametrize("config", [None, '{"architectures": ["BertModel"]}'])
def test_overwrite_never_deletes_what_is_not_a_run(tmp_path, csv, files, config):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.tex").write_text("years of work")
    if config:
        (theirs / "config.json").write_text(config)
    before = files(theirs)
    with pytest.raises(RunFolderError, match="holds files that are not a run's"):
        ds.train(csv(), target="kind", out=theirs, overwrite=True, **SMALL)
    assert files(theirs) == before


# ---- how it ends


def test_test_rows_that_are_all_alike_have_no_r_squared(table, tmp_path):
    rows = pa.table({k: v for k, v in table().items() if k != "kind"})
    run = ds.train(rows, target="price", test=rows.slice(0, 1), out=tmp_path / "run", **SMALL)
    assert run.summary["metrics"]["test"]["r2"] is None
    assert run.summary["guessing"]["r2"] is None
    assert ds.Run.load(tmp_path / "run").summary == run.summary


def test_a_path_that_cannot_be_written_ends_no_training(csv, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("downslope.workflow.snapshots.record", full)
    run = ds.train(csv(), target="kind", out=tmp_path / "run", **SMALL)
    assert run.summary["stopped_because"] == "all epochs done"
    assert not list((tmp_path / "run").glob("path/*"))


def test_a_run_that_goes_on_is_not_finished(csv, tmp_path):
    """Killed in a later sitting, it does not pass off what the earlier one came to."""

    def interrupt(event):
        if event.kind == "epoch" and event.epoch == 1:
            signal.raise_signal(signal.SIGINT)

    def crash(event):
        if event.kind == "epoch":
            raise SystemExit(9)

    options = {**SMALL, "epochs": 6}
    ds.train(csv(), target="kind", out=tmp_path / "run", listeners=[interrupt], **options)
    assert ds.Run.load(tmp_path / "run").summary["stopped_because"] == "interrupted"
    with pytest.raises(SystemExit):
        ds.train(resume=tmp_path / "run", quiet=True, listeners=[crash])
    with pytest.raises(RunFolderError, match="is not finished .*--resume"):
        ds.Run.load(tmp_path / "run")
    assert ds.train(resume=tmp_path / "run", quiet=True).summary["stopped_because"] == "all epochs done"


def test_a_run_that_is_over_is_not_begun_again_for_want_of_checkpoints(csv, tmp_path):
    ds.train(csv(), target="kind", out=tmp_path / "run", **SMALL)
    shutil.rmtree(tmp_path / "run/checkpoints")
    with pytest.raises(RunFolderError, match="no checkpoint to resume from; train with --overwrite"):
        ds.train(resume=tmp_path / "run", quiet=True)
    assert ds.Run.load(tmp_path / "run").summary["stopped_because"] == "all epochs done"


def test_interrupted_while_choosing_it_has_not_trained(csv, tmp_path):
    def interrupt(event):
        if event.kind == "tuning":
            signal.raise_signal(signal.SIGINT)

    options = {**SMALL, "learning_rate": "auto", "listeners": [interrupt]}
    run = ds.train(csv(), target="kind", out=tmp_path / "run", **options)
    assert run.summary["steps"] == 0
    assert run.summary["seconds"]["train"] < 0.5
    assert "no better than guessing" not in [finding["name"] for finding in run.summary["diagnosis"]]


def test_a_rate_that_is_too_large_is_an_error_with_a_finite_result(tmp_path, table):
    rows = pa.table({k: v for k, v in table().items() if k != "kind"})
    options = {**SMALL, "learning_rate": 1e30, "optimizer": "sgd", "guard": False}
    with pytest.raises(NonFiniteError, match=r"the loss became (nan|inf) at step \d+ \(epoch 1\)") as caught:
        ds.train(rows, target="price", out=tmp_path / "run", **options)
    run = caught.value.result
    assert np.isfinite(run.predict(rows)).all()
    assert "Try a learning rate of " in str(caught.value)
    loaded = ds.Run.load(tmp_path / "run")
    assert np.isfinite(loaded.predict(rows)).all()
    assert loaded.summary["stopped_because"] in str(caught.value)
    assert "non-finite" in (tmp_path / "run" / "events.jsonl").read_text()
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize("rate", [9e37, 1e25])
def test_without_validation_it_is_an_error_too(table, rate):
    """One step, whose effect no later step sees."""
    rows = pa.table({k: v for k, v in table().items() if k != "kind"})
    options = {**IN_MEMORY, "learning_rate": rate, "optimizer": "sgd", "epochs": 1, "batch_size": "full"}
    with pytest.raises(NonFiniteError):
        ds.train(rows, target="price", validation_fraction=0, test_fraction=0, **options)


def test_listeners_hear_everything(table):
    told = []
    rows = pa.table({k: v for k, v in table().items() if k != "price"})
    run = ds.train(rows, target="kind", listeners=[told.append], **IN_MEMORY)
    epochs = [event for event in told if event.kind == "epoch"]
    assert [event.values for event in epochs] == run.history.to_pylist()
    assert told[-1].kind == "finished"


def test_without_held_out_rows(table):
    rows = pa.table({k: v for k, v in table().items() if k != "price"})
    run = ds.train(rows, target="kind", test_fraction=0, validation_fraction=0, **IN_MEMORY)
    assert set(run.summary["metrics"]) == {"train"}
    assert run.summary["rows"] == {"train": 120}
    assert run.history["validation_loss"].null_count == 4


def test_a_time_limit(table):
    rows = pa.table({k: v for k, v in table().items() if k != "price"})
    run = ds.train(rows, target="kind", max_seconds=0.2, **{**IN_MEMORY, "epochs": 10**6})
    assert run.summary["stopped_because"] == "time limit of 0.2 s"
    assert run.summary["seconds"]["train"] < 5


def test_resume_in_the_library(table, csv, tmp_path, identical, monkeypatch, without_seconds):
    import signal
    import time

    monkeypatch.setattr(loop, "SECONDS_PER_STRETCH", 1e-9)
    data = csv()
    options = {"target": "kind", "drop": ("price",), **SMALL}
    whole = ds.train(data, out=tmp_path / "whole", **options)

    def ctrl_c(event):
        if event.kind == "epoch" and event.epoch == 2:
            time.sleep(2.0)
            signal.raise_signal(signal.SIGINT)

    part = ds.train(data, out=tmp_path / "part", listeners=[ctrl_c], **options)
    assert part.summary["stopped_because"] == "interrupted"
    began = time.monotonic()
    run = ds.train(resume=tmp_path / "part", quiet=True)
    second_sitting = time.monotonic() - began
    assert identical(run.params, whole.params)
    assert run.summary["metrics"] == whole.summary["metrics"]
    assert run.summary["seconds"]["total"] > second_sitting  # the first is part of the whole run
    assert without_seconds(run.history.to_pylist()) == without_seconds(whole.history.to_pylist())
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "part")]
    assert weights[0] == weights[1]
    with pytest.raises(OptionError, match="leave out epochs"):
        ds.train(resume=tmp_path / "part", epochs=9)


def test_resume_needs_the_same_data(table, tmp_path, csv):
    columns = table()
    rows = pa.table(columns)
    ds.train(rows, target="kind", out=tmp_path / "run", **SMALL)
    with pytest.raises(OptionError, match="pass the same data again"):
        ds.train(resume=tmp_path / "run", quiet=True)
    assert ds.train(rows, resume=tmp_path / "run", quiet=True).summary["epochs"] == 4
    with pytest.raises(RunFolderError, match="has changed since the run began"):
        ds.train(pa.table({**columns, "new": columns["new"][::-1]}), resume=tmp_path / "run", quiet=True)
    data = csv()
    ds.train(data, target="kind", out=tmp_path / "file", **SMALL)
    data.write_text(data.read_text().replace("red", "rot"))
    with pytest.raises(RunFolderError, match="has changed since the run began"):
        ds.train(resume=tmp_path / "file", quiet=True)


def interrupt_after_epoch_2(event):
    if event.kind == "epoch" and event.epoch == 2:
        signal.raise_signal(signal.SIGINT)


def test_a_run_that_was_tested_on_a_frame_goes_on_with_the_same_rows(table, csv, tmp_path, identical):
    data, frame = csv(), pd.DataFrame(table(40, seed=9))
    options = {**SMALL, "target": "kind", "drop": ("price",), "test": frame}
    whole = ds.train(data, out=tmp_path / "whole", **options)
    ds.train(data, out=tmp_path / "part", listeners=[interrupt_after_epoch_2], **options)
    with pytest.raises(OptionError, match="test was your own; pass the same test again to resume"):
        ds.train(resume=tmp_path / "part", quiet=True)
    with pytest.raises(RunFolderError, match="what it was tested on has changed since the run began"):
        ds.train(resume=tmp_path / "part", test=frame[::-1], quiet=True)
    run = ds.train(resume=tmp_path / "part", test=frame, quiet=True)
    assert run.summary["rows"] == whole.summary["rows"] == {"train": 108, "validation": 12, "test": 40}
    assert run.summary["metrics"] == whole.summary["metrics"]
    assert identical(run.params, whole.params)
    found = ds.sharpness(tmp_path / "part", quiet=True)  # the training rows, found again without the frame
    assert found["rows"] == "all 108 training rows"
    assert found["loss"] == pytest.approx(run.summary["metrics"]["train"]["loss"], rel=1e-5)


def test_a_run_whose_files_have_moved_goes_on(table, csv, tmp_path, identical, command):
    data, test, options = csv("train.csv"), csv("test.csv", table(40, seed=9)), {"target": "kind", **SMALL}
    whole = ds.train(data, test=test, out=tmp_path / "whole", **options)
    part = tmp_path / "part"
    ds.train(data, test=test, out=part, listeners=[interrupt_after_epoch_2], **options)
    moved = [file.rename(tmp_path / f"moved-{file.name}") for file in (data, test)]
    told = command("train", "--resume", part).error
    assert told == f"{part}: its data is not at {data}; say where: downslope train --resume {part} DATA"
    told = command("train", moved[0], "--resume", part).error
    assert (
        told == f"{part}: its data is not at {test}; say where: downslope train --resume {part} --test FILE"
    )
    assert command("train", moved[0], "--resume", part, "--test", moved[1], "--quiet") == (0, "", "")
    assert identical(ds.Run.load(part).params, whole.params)


def test_a_schedule_of_ones_own(tmp_path, identical):
    schedule = ds.schedule_by_name("step", warmup=0.0, drops=(0.25, 0.75))
    options = {**SMALL, "schedule": schedule}
    whole = ds.train("iris", out=tmp_path / "whole", **options)
    rates = whole.history["learning_rate"].to_pylist()
    np.testing.assert_allclose(rates, [0.01, 0.001, 0.001, 0.0001], rtol=1e-4)
    assert whole.summary["schedule"] == "own: schedule"
    ds.train("iris", out=tmp_path / "part", listeners=[interrupt_after_epoch_2], **options)
    with pytest.raises(OptionError, match="schedule was your own; pass the same schedule again to resume"):
        ds.train(resume=tmp_path / "part", quiet=True)
    assert identical(ds.train(resume=tmp_path / "part", schedule=schedule, quiet=True).params, whole.params)
    with pytest.raises(
        OptionError, match=r"schedule: a function \(step, total_steps\) -> .* this one fails: "
    ):
        ds.train("iris", **{**IN_MEMORY, "schedule": optax.constant_schedule(1.0)})
    with pytest.raises(OptionError, match="--schedule takes a name here: constant, linear"):
        ds.compare("iris", schedule=schedule)


def test_resume_needs_the_same_test_file_and_the_same_weights(table, csv, tmp_path):
    data, test = csv(), csv("test.csv", table(40, seed=9))
    weight = np.linspace(1, 2, 120)
    options = {**SMALL, "target": "kind", "drop": ("price",)}
    ds.train(data, test=test, sample_weight=weight, out=tmp_path / "run", **options)
    with pytest.raises(RunFolderError, match="sample_weight has changed since the run began"):
        ds.train(resume=tmp_path / "run", sample_weight=weight[::-1], quiet=True)
    with pytest.raises(RunFolderError, match="sample_weight is not what it was trained with"):
        ds.sharpness(tmp_path / "run", sample_weight=weight[::-1], quiet=True)
    assert ds.train(resume=tmp_path / "run", sample_weight=weight, quiet=True).summary["epochs"] == 4
    test.write_text(test.read_text().replace("red", "blue"))
    with pytest.raises(RunFolderError, match="what it was tested on has changed since the run began"):
        ds.train(resume=tmp_path / "run", sample_weight=weight, quiet=True)
    ds.train(data, out=tmp_path / "plain", **options)
    with pytest.raises(RunFolderError, match="what it was tested on has changed since the run began"):
        ds.train(resume=tmp_path / "plain", test=data, quiet=True)
    with pytest.raises(OptionError, match="sample_weight was None, none of your own; leave it out"):
        ds.train(resume=tmp_path / "plain", sample_weight="width", quiet=True)


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"epoch": 3}, "no argument 'epoch'. Did you mean 'epochs'"),
        ({"epochs": 0}, "--epochs must be a whole number of at least 1, got 0"),
        ({"epochs": 2.0}, "--epochs must be a whole number"),
        ({"epochs": True}, "--epochs must be a whole number"),
        ({"seed": -1}, "--seed must be a whole number of at least 0"),
        ({"seed": None}, "--seed must be a whole number of at least 0, got None"),
        ({"accumulate": None}, "--accumulate must be a whole number of at least 1, got None"),
        ({"test_fraction": None}, "--test-fraction must be a number at least 0 and below 1, got None"),
        ({"precision": None}, "--precision: unknown 'None'. Choose one of float32"),
        ({"activation": []}, "--activation: unknown '[]'. Choose one of"),
        ({"early_stopping": "no"}, "early_stopping must be True or False, got 'no'"),
        ({"batch_norm": "false"}, "batch_norm must be True or False, got 'false'"),
        ({"guard": None}, "guard must be True or False, got None"),
        ({"header": 5}, "header must be True or False, got 5"),
        ({"delimiter": 5}, "--delimiter must be one character, such as ';', got 5"),
        ({"seed": 2**64}, "--seed must be below"),
        ({"dropout": 1.0}, "--dropout must be a number at least 0 and below 1"),
        ({"dropout": float("nan")}, "--dropout"),
        ({"learning_rate": 0}, "--learning-rate must be a number above 0"),
        ({"learning_rate": 1e39}, "--learning-rate must be a number above 0"),
        ({"learning_rate": "fast"}, "--learning-rate must be a number above 0"),
        ({"batch_size": "half"}, "--batch-size must be a whole number of at least 1 or 'full'"),
        ({"hidden": (8, 0)}, "--hidden must be a whole number"),
        ({"model": "linear", "hidden": (8,)}, "--model linear has no hidden layers"),
        ({"model": "linear", "activation": "relu"}, "--model linear has no hidden layers"),
        ({"test": "x.csv", "test_fraction": 0.5}, "exclude each other"),
        ({"activation": "rely"}, "Did you mean 'relu'"),
        ({"optimizer": "adamx"}, "Did you mean 'adam"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"loss": "hubber"}, "Did you mean 'huber'"),
        ({"schedule": "line-search", "accumulate": 2}, "--schedule line-search measures whole batches"),
        ({"model": "linar"}, "Did you mean 'linear'"),
        ({"task": "regresion"}, "Did you mean 'regression'"),
        ({"delimiter": ";;"}, "--delimiter ';;' is not one punctuation character"),
    ],
    ids=str,
)
def test_options_that_no_data_could_make_right(options, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        ds.train("iris", **{"out": False, "quiet": True, **options})


def test_numpys_numbers_and_truth_values_are_options():
    options = {
        "early_stopping": np.False_,
        "layer_norm": np.True_,
        "seed": np.int64(3),
        "dropout": np.float32(0),
    }
    assert ds.train("iris", **IN_MEMORY | options).summary["epochs"] == 4


def test_a_damaged_config_is_refused_or_gone_on_with(finished, tmp_path):
    """Whatever stands in the place of any option; nothing is trained here."""
    shutil.copytree(finished["classification"], tmp_path / "run")
    path = tmp_path / "run/config.json"
    config = json.loads(path.read_text())
    rules = [{"name": "adamw", "hyperparameters": []}, {"name": [], "hyperparameters": {}}]
    refused = set()
    for name in config:
        for value in (None, 5, True, "x", [], [1], {}, {"a": 1}, *(rules if name == "optimizer" else ())):
            path.write_text(json.dumps({**config, name: value}))
            try:
                resumed_job(tmp_path / "run", None, None, {})
            except InputError as error:
                assert "\n" not in str(error)
                refused.add(name)
    assert refused >= set(
        "seed test_fraction accumulate delimiter activation sample_weight optimizer".split()
    )


@pytest.mark.slow
def test_hyperparameters_that_json_does_not_know_are_resumed_or_refused(tmp_path):
    """A function left at its default, a NumPy number, and a rule within a rule."""
    begun = {"epochs": 2, "learning_rate": 0.01, "quiet": True}
    muon = ds.train("iris", optimizer="muon", out=tmp_path / "muon", **begun)
    assert ds.train(resume=tmp_path / "muon", quiet=True).summary["metrics"] == muon.summary["metrics"]
    ds.train("iris", optimizer=ds.adamw(weight_decay=np.float32(0.25)), out=tmp_path / "decay", **begun)
    ds.train(resume=tmp_path / "decay", quiet=True)
    within = ds.muon(other=ds.lion())
    ds.train("iris", optimizer=within, out=tmp_path / "within", **begun)
    with pytest.raises(OptionError, match="pass the same optimizer again"):
        ds.train(resume=tmp_path / "within", quiet=True)
    ds.train(resume=tmp_path / "within", optimizer=within, quiet=True)


@pytest.mark.parametrize(
    "rule", [ds.sgd(), ds.chain(ds.clip_by_global_norm(1.0), ds.adamw())], ids=["sgd", "chain"]
)
def test_a_decay_that_cannot_be_steered_is_refused(rule):
    with pytest.raises(OptionError, match="--weight-decay auto goes with adamw, nadamw, lion, muon, not "):
        ds.train("iris", optimizer=rule, weight_decay="auto", out=False, quiet=True)


@pytest.mark.parametrize("options", [{"header": False}, {"delimiter": ";"}], ids=str)
def test_how_to_read_a_text_file_is_for_text_files(table, csv, options):
    frame, numbers = pd.DataFrame(table()), np.arange(60.0).reshape(30, 2)
    for data, more in (("iris", {}), (frame, {"target": "kind"}), (numbers, {"y": numbers[:, 0]})):
        with pytest.raises(
            OptionError, match="(--no-header|--delimiter) is for text files; the data is none"
        ):
            ds.train(data, **more, **options, **IN_MEMORY)


def test_how_to_read_a_text_file_may_be_of_the_test_file(table, csv):
    test = csv("test.csv", table(40, seed=9), delimiter=";")
    options = {**IN_MEMORY, "target": "kind", "drop": ("price",)}
    run = ds.train(pd.DataFrame(table()), test=test, delimiter=";", **options)
    assert run.summary["rows"]["test"] == 40


@pytest.mark.parametrize(
    ("data", "own", "told"),
    [
        (("iris",), {}, "downslope train --resume run"),
        (("iris",), {"optimizer": ds.adam(b1=0.8)}, "downslope train --resume run"),
        (
            ("iris",),
            {"optimizer": optax.adam(0.01), "learning_rate": None},
            "train(resume='run', optimizer=…)",
        ),
        (
            (np.eye(40, 3), np.arange(40.0)),
            {
                "optimizer": ds.chain(ds.clip_by_global_norm(1.0), ds.adam()),
                "loss": lambda p, t: (p[:, 0] - t) ** 2,
            },
            "train(data, resume='run', loss=…, optimizer=…)",
        ),
    ],
)
def test_ctrl_c_names_what_is_needed_to_go_on(data, own, told, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.import_module("downslope.workflow.train"), "descend", interrupted)
    with pytest.raises(KeyboardInterrupt) as raised:
        ds.train(*data, out="run", **{**SMALL, **own})
    assert str(raised.value) == f"go on with  {told}"
