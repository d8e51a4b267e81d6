"""Slope and curvature of finished runs, and of runs while they train, against the whole Hessian."""

import json
import shutil

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import downslope as ds
from downslope.workflow.reopen import reopen

pytestmark = pytest.mark.slow

SMALL = {"hidden": (4,), "epochs": 3, "batch_size": 32, "learning_rate": 0.01, "quiet": True}


def whole_spectrum(folder, **given):
    """Every eigenvalue, and the gradient's norm, of the mean loss of the run's training rows, in float64."""
    opened = reopen(folder, **given)
    trained, rows = opened.trained, opened.rows
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), trained.params))

        def loss(at):
            outputs, _ = trained.model.apply(
                unravel(at), trained.model_state, rows.inputs, key=None, train=False
            )
            return np.asarray(rows.weights, np.float64) @ trained.loss.per_example(outputs, rows.targets)

        total = rows.weights.sum(dtype=np.float64)
        values = np.linalg.eigvalsh(jax.jit(jax.hessian(loss))(flat) / total)
        return values, np.linalg.norm(jax.jit(jax.grad(loss))(flat) / total), float(loss(flat) / total)


@pytest.fixture(scope="module")
def weighted(tmp_path_factory):
    """A run whose classes do not count alike, with batch normalisation."""
    folder = tmp_path_factory.mktemp("weighted")
    ds.train("iris", class_weight={"setosa": 3.0}, batch_norm=True, out=folder / "iris", **SMALL)
    return folder / "iris"


@pytest.mark.parametrize("which", ["weighted", "regression"])
def test_equals_the_whole_hessian(which, weighted, finished, tmp_path):
    folder = shutil.copytree(weighted if which == "weighted" else finished["regression"], tmp_path / "run")
    found = ds.sharpness(folder, quiet=True)
    values, slope, loss = whole_spectrum(folder)
    assert found["smallest"] == pytest.approx(values[0], rel=1e-3, abs=1e-5 * values[-1])
    assert found["largest"] == pytest.approx(values[-1], rel=1e-3)
    assert found["gradient_norm"] == pytest.approx(slope, rel=1e-3)
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["loss"] == pytest.approx(ds.Run.load(folder).summary["metrics"]["train"]["loss"], rel=1e-5)
    assert found["converged"]
    assert json.loads((folder / "sharpness.json").read_text()) == found
    assert found["explained"] in (folder / "report.html").read_text().replace("&#39;", "'")


def test_step_size_is_that_of_the_kept_epoch(finished, tmp_path):
    folder = shutil.copytree(finished["classification"], tmp_path / "run")
    found, run = ds.sharpness(folder, quiet=True), ds.Run.load(folder)
    row = run.history.to_pylist()[run.summary["best_epoch"] - 1]
    assert found["step_size"] == row["learning_rate"]
    assert found["two_over_step_size"] == 2 / row["learning_rate"]
    assert "adamw has one of its own" in found["limit"]


def test_part_of_the_rows(finished, tmp_path):
    folder = shutil.copytree(finished["classification"], tmp_path / "run")
    found = ds.sharpness(folder, rows=10, quiet=True)
    values, *_ = whole_spectrum(folder, most_rows=10)
    assert found["rows"].startswith("10 of ")
    assert found["largest"] == pytest.approx(values[-1], rel=1e-3)


def test_a_run_that_is_nowhere():
    run = ds.train("iris", out=False, **SMALL)
    with pytest.raises(ds.RunFolderError, match="not written to disk"):
        ds.sharpness(run)


def test_own_networks_and_data_in_memory(tmp_path):
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(60, 3)).astype(np.float32), generator.integers(0, 2, 60)

    def init(key, example):
        return {"w": 0.1 * jax.random.normal(key, (3, 2))}

    network = init, lambda params, inputs: inputs @ params["w"]
    run = ds.train(X, y, model=network, out=tmp_path / "run", epochs=2, quiet=True)
    found = ds.sharpness(run, X, y, model=network, quiet=True)
    assert found["loss"] == pytest.approx(run.summary["metrics"]["train"]["loss"], rel=1e-5)
    with pytest.raises(ds.OptionError, match="your own"):
        ds.sharpness(run)
    with pytest.raises(ds.OptionError, match="in memory"):
        ds.sharpness(run, model=network)
    with pytest.raises(ds.RunFolderError, match="not the data it was trained on"):
        ds.sharpness(run, X + 1, y, model=network)


def test_own_losses_and_weights_are_handed_over_again(tmp_path):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(60, 3))
    y, weight = X[:, 0] + generator.normal(size=60), generator.uniform(size=60)

    def loss(outputs, targets):
        return abs(outputs[:, 0] - targets) ** 1.5

    own = {"loss": loss, "sample_weight": weight}
    run = ds.train(X, y, out=tmp_path / "run", **own, **SMALL)
    found = ds.sharpness(run, X, y, **own, quiet=True)
    assert found["loss"] == pytest.approx(run.summary["metrics"]["train"]["loss"], rel=1e-5)
    around = ds.landscape(run, data=X, y=y, **own, resolution=3, quiet=True)
    assert around["loss"] == pytest.approx(found["loss"], rel=1e-5)
    for name in own:
        with pytest.raises(ds.OptionError, match=f"its {name} was your own.* again: {name}=…"):
            ds.sharpness(run, X, y, **{**own, name: None})
    with pytest.raises(ds.OptionError, match="its model was mlp, none of your own; leave it out"):
        ds.sharpness(run, X, y, **own, model=loss)


def test_a_weight_column_may_be_called_own(csv, table, tmp_path):
    rows = table()
    rows["own"] = [1.0 + (row % 3) for row in range(len(rows["kind"]))]
    run = ds.train(csv("own.csv", rows), target="kind", sample_weight="own", out=tmp_path / "run", **SMALL)
    found = ds.sharpness(run, quiet=True)
    assert found["loss"] == pytest.approx(run.summary["metrics"]["train"]["loss"], rel=1e-5)
    assert ds.train(resume=tmp_path / "run", quiet=True).summary["epochs"] == 3


def test_watching_changes_nothing_and_sees_what_is_there(tmp_path, identical):
    watched = ds.train(
        "iris", watch_sharpness=True, out=tmp_path / "run", **{**SMALL, "early_stopping": False}
    )
    unwatched = ds.train("iris", out=False, **{**SMALL, "early_stopping": False})
    assert identical(watched.params, unwatched.params)
    seen = watched.history["sharpness"].to_pylist()
    assert len(seen) == 3
    assert unwatched.history["sharpness"].to_pylist() == [None] * 3
    values, *_ = whole_spectrum(tmp_path / "run")
    assert seen[watched.summary["best_epoch"] - 1] == pytest.approx(values[-1], rel=0.02)
    assert 'id="sharpness"' in (tmp_path / "run" / "report.html").read_text()
