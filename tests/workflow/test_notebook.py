"""Runs and paths as they are shown in a notebook."""

import re
import shutil
from html.parser import HTMLParser

import jax
import jax.numpy as jnp
import numpy as np
import plotly.graph_objects as go
import pytest

import downslope as ds


@pytest.fixture
def run(finished):
    return ds.Run.load(finished["classification"])


def test_the_loss_of_a_run(run):
    drawn = run.plot()
    assert isinstance(drawn, go.Figure)
    by_name = {trace.name: trace for trace in drawn.data}
    np.testing.assert_allclose(by_name["training"].y, run.history["train_loss"].to_pylist(), rtol=1e-5)
    np.testing.assert_allclose(by_name["validation"].y, run.history["validation_loss"].to_pylist(), rtol=1e-5)


@pytest.mark.parametrize("what", ["learning_rate", "gradient_norm", "validation_metric", "seconds"])
def test_any_column_of_a_run(run, what):
    drawn = run.plot(what)
    np.testing.assert_allclose(drawn.data[0].y, run.history[what].to_pylist(), rtol=1e-5)
    assert list(drawn.data[0].x) == run.history["epoch"].to_pylist()


def test_the_ground_of_a_run(finished, tmp_path):
    run = ds.Run.load(shutil.copytree(finished["classification"], tmp_path / "run"))
    with pytest.raises(ds.OptionError, match="not measured yet; first: downslope landscape"):
        run.plot("landscape")
    found = ds.landscape(run, resolution=5, quiet=True)
    assert np.shape(run.plot("landscape").data[0].z) == (5, 5)
    assert isinstance(run.plot("surface").data[0], go.Surface)
    assert list(run.plot("landscape").data[0].x) == pytest.approx(found["planes"][0]["x"], rel=1e-5)


def test_what_is_not_there_is_said(run):
    with pytest.raises(ds.OptionError, match="Did you mean 'learning_rate'"):
        run.plot("learning rate")
    with pytest.raises(ds.OptionError, match="'sharpness' was not recorded"):
        run.plot("sharpness")


def test_a_run_without_a_folder():
    run = ds.train("iris", epochs=2, hidden=(4,), out=False, quiet=True)
    assert isinstance(run.plot(), go.Figure)
    assert "<table>" in run._repr_html_()


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)

    def handle_data(self, data):
        self.text += data + " "


def test_a_run_is_a_table_with_its_curve(run):
    page = Tags(run._repr_html_())
    assert {"table", "svg", "polyline"} <= set(page.seen)
    assert "script" not in page.seen
    for split, metrics in run.summary["metrics"].items():
        assert split in page.text
        assert f"{metrics['loss']:.3g}"[:4] in page.text
    points = re.findall(r'points="([^"]*)"', run._repr_html_())
    assert [len(line.split()) for line in points] == [4, 4]


def test_hostile_names_are_text(run):
    summary = {**run.summary, "target": "<script>alert(1)</script>", "stopped_because": "<img src=x>"}
    page = Tags(type(run)(run._trained, summary, run.history, None)._repr_html_())
    assert not {"script", "img"} & set(page.seen)
    assert "<script>alert(1)</script>" in page.text


# ---- paths of minimize


def valley(params):
    return (1 - params["x"]) ** 2 + 100 * (params["y"] - params["x"] ** 2) ** 2


START = {"x": jnp.array(-1.0), "y": jnp.array(1.0)}


def test_the_path_is_every_step():
    result = ds.minimize(valley, START, rule=ds.gradient_descent(), step_size=1e-3, steps=40)
    at, step = START, jax.jit(lambda at: jax.tree.map(lambda p, g: p - 1e-3 * g, at, jax.grad(valley)(at)))
    for place in range(41):
        np.testing.assert_allclose(result.path["x"][place], at["x"], rtol=2e-5)
        np.testing.assert_allclose(result.path["y"][place], at["y"], rtol=2e-5)
        at = step(at)
    assert result.path_steps.tolist() == list(range(41))
    assert result.path["x"][-1] == result.params["x"]


def test_long_paths_are_thinned_and_end_at_the_end():
    result = ds.minimize(valley, START, step_size=1e-3, steps=4999)
    assert len(result.path_steps) == len(result.path["x"]) == 1 + -(-4999 // 3)
    assert result.path_steps[[0, 1, -1]].tolist() == [0, 3, 4999]
    assert result.path["y"][-1] == result.params["y"]
    again = ds.minimize(valley, START, step_size=1e-3, steps=30)
    np.testing.assert_allclose(result.path["x"][:10], again.path["x"][:30:3], rtol=1e-5)


def test_batches_have_paths_too():
    x = np.linspace(-1, 1, 10, dtype=np.float32)
    result = ds.minimize(lambda w, x: (w * x - 2 * x) ** 2, jnp.array(0.0), data=(x,), batch_size=3, epochs=4)
    assert len(result.path) == 4 * 4 + 1
    assert result.path[-1] == result.params
    assert isinstance(result.plot_path(), go.Figure)


def test_a_loss_that_breaks_keeps_the_path_up_to_there():
    with pytest.raises(ds.NonFiniteError) as caught:
        ds.minimize(jnp.sqrt, jnp.array(4.0), rule=ds.gradient_descent(), step_size=1.0, steps=40)
    result = caught.value.result
    assert 5 < result.steps < 40
    assert len(result.path) == result.steps + 1
    assert result.path[-1] == result.params


def test_paths_of_one_two_and_more_params():
    one = ds.minimize(
        lambda x: (x - 1) ** 2, jnp.array(4.0), rule=ds.gradient_descent(), step_size=0.4, steps=9
    )
    curve, path = one.plot_path().data
    np.testing.assert_allclose(path.y, (np.asarray(one.path) - 1) ** 2, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(curve.y, (np.asarray(curve.x) - 1) ** 2, rtol=1e-3, atol=1e-5)

    two = ds.minimize(valley, START, step_size=0.02, steps=50)
    drawn = two.plot_path()
    ground, path = drawn.data[0], drawn.data[1]
    assert list(path.x) == pytest.approx(two.path["x"].tolist())
    assert list(path.y) == pytest.approx(two.path["y"].tolist())
    assert (drawn.layout.xaxis.title.text, drawn.layout.yaxis.title.text) == ("x", "y")
    loss = float(ground.text[10][20])
    assert loss == pytest.approx(float(valley({"x": ground.x[20], "y": ground.y[10]})), rel=0.01)

    scales = jnp.arange(1.0, 8.0)
    more = ds.minimize(
        lambda p: jnp.sum(scales * p**2), jnp.ones(7), rule=ds.momentum(), step_size=0.02, steps=30
    )
    drawn = more.plot_path()
    assert "principal direction 1" in drawn.layout.xaxis.title.text
    kept = next(trace for trace in drawn.data if trace.name == "end")
    assert (kept.x[0], kept.y[0]) == (0, 0)
    straight = ds.minimize(
        lambda p: jnp.sum(p**2), jnp.ones(3), rule=ds.gradient_descent(), step_size=0.1, steps=5
    ).plot_path()
    assert "100 %" in straight.layout.xaxis.title.text.replace("\N{NO-BREAK SPACE}", " ")


def test_too_many_params_for_a_path():
    result = ds.minimize(lambda w: jnp.sum(w**2), jnp.ones(10_001), steps=3)
    assert result.path is None
    with pytest.raises(ds.OptionError, match="more than 10,000 params is not recorded"):
        result.plot_path()
