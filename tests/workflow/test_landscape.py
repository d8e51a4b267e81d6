"""The ground around finished runs: what is drawn is what was measured."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import downslope as ds
from downslope.runs.folder import read_weights
from downslope.runs.path import snapshots
from downslope.workflow.landscape import recorded_path
from downslope.workflow.reopen import reopen

SMALL = {"hidden": (8,), "batch_size": 16, "learning_rate": 0.01, "quiet": True}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs on iris: two that differ in their steps alone, one of another seed; read only."""
    folder = tmp_path_factory.mktemp("made")
    ds.train("iris", epochs=6, out=folder / "one", **SMALL)
    ds.train(
        "iris",
        epochs=6,
        optimizer="sgd",
        schedule="constant",
        out=folder / "two",
        **{**SMALL, "learning_rate": 0.1},
    )
    ds.train("iris", epochs=2, seed=1, out=folder / "other", **SMALL)
    return folder


@pytest.fixture
def runs(made, tmp_path):
    return shutil.copytree(made, tmp_path / "runs")


def flat(tree):
    return np.asarray(ravel_pytree(tree)[0])


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [5, 8])
def test_centre_is_the_runs_loss_and_the_path_ends_at_its_weights(runs, resolution):
    folder = runs / "one"
    found = ds.landscape(folder, resolution=resolution, quiet=True)
    run = ds.Run.load(folder)
    recorded = run.summary["metrics"]["train"]["loss"]
    assert found["loss"] == pytest.approx(recorded, rel=1e-5)
    assert [plane["kind"] for plane in found["planes"]] == ["principal", "random"]
    for plane in found["planes"]:
        assert np.shape(plane["loss"]) == (resolution, resolution)
        centre = plane["loss"][plane["y"].index(0.0)][plane["x"].index(0.0)]
        assert centre == pytest.approx(recorded, rel=1e-5)
    path = found["planes"][0]["path"]
    kept = path["step"].index(found["step"])
    assert (path["x"][kept], path["y"][kept]) == (0.0, 0.0)
    assert path["loss"][kept] == pytest.approx(recorded, rel=1e-5)
    assert path["loss_on_plane"][kept] == pytest.approx(recorded, rel=1e-5)
    last = run.history.to_pylist()[-1]
    assert path["step"] == sorted(path["step"])
    assert (path["step"][0], path["step"][-1]) == (0, last["step"])
    assert json.loads((folder / "landscape.json").read_text()) == found


def test_the_path_is_that_of_the_weights(runs, identical):
    """Trained again epoch by epoch: the weights at each end are the snapshots, bit for bit."""
    taken = {snapshot.step: read_weights(snapshot.file) for snapshot in snapshots(runs / "two")}
    history = ds.Run.load(runs / "two").history.to_pylist()
    assert len(taken) == 6 * 3 + 1  # few epochs: three times in each, and the start
    same = {**SMALL, "learning_rate": 0.1, "optimizer": "sgd", "schedule": "constant", "out": False}
    for epochs in (1, 4, 6):
        again = ds.train("iris", epochs=epochs, validation_fraction=0.1, early_stopping=False, **same)
        if again.summary["best_epoch"] == epochs:
            kept = read_weights_like(taken[history[epochs - 1]["step"]], again.params)
            assert identical(kept, again.params)
            break
    else:
        pytest.fail("no epoch was its run's best")


def read_weights_like(arrays, params):
    from downslope import pytrees

    leaves = [arrays[name] for name in pytrees.paths(params)]
    return __import__("jax").tree.unflatten(__import__("jax").tree.structure(params), leaves)


def test_variance_explained_is_that_of_the_snapshots(runs):
    found = ds.landscape(runs / "one", resolution=3, quiet=True)["planes"][0]
    _, path, _ = recorded_path(reopen(runs / "one"))
    away = np.stack([flat(point) for point in path]) - flat(ds.Run.load(runs / "one").params)
    values = np.linalg.svd(away.astype(np.float64), compute_uv=False) ** 2
    np.testing.assert_allclose(found["explained"], values[:2] / values.sum(), rtol=1e-4)
    # what lies on the plane lies there at its own distance
    lengths = np.hypot(found["path"]["x"], found["path"]["y"])
    assert (lengths <= np.linalg.norm(away, axis=1) * (1 + 1e-4)).all()
    held = np.sum(lengths**2) / np.sum(away.astype(np.float64) ** 2)
    assert held == pytest.approx(sum(found["explained"]), rel=1e-3)


def test_without_a_path_there_are_random_directions(runs):
    shutil.rmtree(runs / "one" / "path")
    found = ds.landscape(runs / "one", resolution=3, quiet=True)
    assert [plane["kind"] for plane in found["planes"]] == ["random"]
    assert "no path of the weights was recorded" in found["no_path"]
    assert "no path of the weights was recorded" in (runs / "one" / "report.html").read_text()


def test_snapshots_of_another_network_are_refused(runs):
    shutil.rmtree(runs / "one" / "path")
    ds.train("iris", epochs=2, out=runs / "wide", **{**SMALL, "hidden": (9,)})
    shutil.copytree(runs / "wide" / "path", runs / "one" / "path")
    with pytest.raises(ds.RunFolderError, match="not this network's weights"):
        ds.landscape(runs / "one", resolution=3, quiet=True)


def test_writing_down_the_path_changes_nothing(runs, identical):
    unwritten = ds.train("iris", epochs=6, out=False, **SMALL)
    assert identical(unwritten.params, ds.Run.load(runs / "one").params)


def test_an_interrupted_run_has_the_same_path(runs, tmp_path, files):
    def interrupt(event):
        if event.kind == "epoch" and event.epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)

    stopped = ds.train("iris", epochs=6, out=tmp_path / "again", listeners=[interrupt], **SMALL)
    assert stopped.summary["stopped_because"] == "interrupted"
    ds.train(resume=tmp_path / "again", quiet=True)
    assert files(tmp_path / "again" / "path") == files(runs / "one" / "path")


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_was_rolled_back_is_not_on_the_path(tmp_path, interrupted):
    """Far too bold steps: the guard goes back; the path ends where the run does."""
    heard = []

    def listen(event):
        heard.append(event.kind)
        if interrupted and heard.count("rolled-back") == 2 and event.kind == "rolled-back":
            os.kill(os.getpid(), signal.SIGINT)

    options = {**SMALL, "optimizer": "sgd", "learning_rate": 50.0}
    run = ds.train("iris", epochs=6, out=tmp_path / "bold", listeners=[listen], **options)
    assert heard.count("rolled-back") >= 2
    steps = [snapshot.step for snapshot in snapshots(tmp_path / "bold")]
    assert all(step <= run.summary["steps"] for step in steps)


# ---- the line between two runs


def train_loss(folder):
    return ds.Run.load(folder).summary["metrics"]["train"]["loss"]


def test_the_ends_of_a_line_are_both_runs_losses(runs):
    found = ds.landscape(runs / "one", runs / "two", resolution=11, quiet=True)
    assert found["same_rows"]
    np.testing.assert_allclose(found["ends"], [train_loss(runs / name) for name in ("one", "two")], rtol=1e-5)
    at = [found["loss"][found["share"].index(end)] for end in (0.0, 1.0)]
    assert at == found["ends"]
    weights = [flat(ds.Run.load(runs / name).params) for name in ("one", "two")]
    assert found["distance"] == pytest.approx(np.linalg.norm(weights[1] - weights[0]), rel=1e-5)
    inside = np.array(found["loss"])[(np.array(found["share"]) >= 0) & (np.array(found["share"]) <= 1)]
    chord = np.linspace(*found["ends"], len(inside))
    assert found["barrier"] == pytest.approx(np.max(inside - chord), abs=1e-9)
    assert found["explained"] in (runs / "one" / "report.html").read_text()


def test_a_run_is_in_one_valley_with_itself(runs):
    shutil.copytree(runs / "one", runs / "copy")
    found = ds.landscape(runs / "one", runs / "copy", resolution=5, quiet=True)
    assert found["one_valley"]
    assert found["barrier"] == pytest.approx(0.0, abs=1e-9)
    assert found["distance"] == 0.0


def test_other_rows_are_said(runs):
    found = ds.landscape(runs / "one", runs / "other", resolution=5, quiet=True)
    assert not found["same_rows"]
    assert found["ends"][0] == pytest.approx(train_loss(runs / "one"), rel=1e-5)
    assert found["ends"][1] != pytest.approx(train_loss(runs / "other"), rel=1e-5)


# ---- what cannot be used


def test_refusals(runs, finished, tmp_path):
    with pytest.raises(ds.RunFolderError, match="another network"):
        ds.landscape(runs / "one", finished["classification"])
    ds.train("wine", epochs=1, out=runs / "wine", **SMALL)
    with pytest.raises(ds.RunFolderError, match="another network|something else"):
        ds.landscape(runs / "one", runs / "wine")
    for wrong in ({"rows": 0}, {"rows": True}, {"seed": -1}, {"resolution": 2}):
        with pytest.raises(ds.OptionError, match="must be a whole number"):
            ds.landscape(runs / "one", **wrong)


def test_data_that_moved_or_changed(csv, table, tmp_path):
    data = csv()
    ds.train(data, target="kind", drop=("price",), out=tmp_path / "run", epochs=1, **SMALL)
    moved = data.rename(tmp_path / "elsewhere.csv")
    with pytest.raises(ds.RunFolderError, match=r"no longer at .*things\.csv; say where it is: --data FILE"):
        ds.landscape(tmp_path / "run", resolution=3)
    found = ds.landscape(tmp_path / "run", resolution=3, data=moved, quiet=True)
    assert found["loss"] == pytest.approx(found["recorded_loss"], rel=1e-5)
    csv(columns=table(n=121))
    with pytest.raises(ds.RunFolderError, match=r"things\.csv has changed since"):
        ds.landscape(tmp_path / "run", resolution=3)
    with pytest.raises(ds.RunFolderError, match=r"things\.csv is not the data it was trained on"):
        ds.landscape(tmp_path / "run", resolution=3, data=data)


def test_a_test_file_that_is_gone_is_not_needed(csv, table, tmp_path):
    data, test = csv("rows.csv"), csv("test.csv", table(n=40, seed=1))
    ds.train(data, target="kind", drop=("price",), test=str(test), out=tmp_path / "run", epochs=1, **SMALL)
    test.unlink()
    found = ds.landscape(tmp_path / "run", resolution=3, quiet=True)
    assert found["loss"] == pytest.approx(found["recorded_loss"], rel=1e-5)
