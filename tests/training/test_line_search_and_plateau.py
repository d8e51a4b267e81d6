"""Line search and plateau where they are used: in `ds.train` and in `ds.minimize`."""

import itertools
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import downslope as ds
from downslope.errors import OptionError
from downslope.stepsize import linesearch, plateau, schedule

CURVATURE = jnp.array([1.0, 10.0, 100.0])


def valley(x):
    return 0.5 * jnp.sum(CURVATURE * (x - 1) ** 2)


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def test_public_names():
    assert ds.backtracking is linesearch.backtracking
    assert ds.LineSearch is linesearch.LineSearch
    assert ds.reduce_on_plateau is plateau.reduce_on_plateau
    assert ds.Plateau is plateau.Plateau
    assert ds.Schedule is schedule.Schedule
    assert ds.schedule_by_name is schedule.schedule_by_name
    assert {"backtracking", "reduce_on_plateau", "schedule_by_name"} <= set(ds.__all__) & set(dir(ds))


def test_every_public_name_is_there():
    for name in ds.__all__:
        assert getattr(ds, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'backtrack'"):
        ds.backtrack  # noqa: B018


def test_minimize_measures_its_steps():
    result = ds.minimize(
        valley, jnp.zeros(3), rule=ds.gradient_descent(), step_size=ds.backtracking(), steps=200
    )
    np.testing.assert_allclose(result.params, 1.0, atol=0.05)  # κ = 100
    losses = [*result.losses.tolist(), result.loss]
    assert all(after <= before for before, after in itertools.pairwise(losses))  # never uphill
    assert result.loss < 1e-5 * losses[0]


@pytest.mark.parametrize("initial", [1e-6, 1.0, 1e4])
def test_the_first_step_size_hardly_matters(initial):
    result = ds.minimize(
        valley, jnp.zeros(3), rule=ds.gradient_descent(), step_size=ds.backtracking(initial), steps=200
    )
    assert result.loss < 1e-3


def test_lbfgs_with_a_line_search_solves_rosenbrock():
    search = ds.backtracking(max_step_size=1.0)
    result = ds.minimize(rosenbrock, jnp.array([-1.2, 1.0]), rule=ds.lbfgs(), step_size=search, steps=60)
    np.testing.assert_allclose(result.params, 1.0, atol=1e-3)
    plain = ds.minimize(
        rosenbrock, jnp.array([-1.2, 1.0]), rule=ds.gradient_descent(), step_size=search, steps=60
    )
    assert result.loss < 1e-3 * plain.loss


def test_no_step_is_taken_where_none_goes_down(identical):
    """A rule that climbs: no step size is good enough, and the params stay as they are."""
    uphill = lambda grads, state, params, **_: (-grads, state)  # noqa: E731
    climbing = ds.Rule("climbing", lambda params: (), uphill, learning_rate=1.0)
    result = ds.minimize(valley, jnp.zeros(3), rule=climbing, step_size=ds.backtracking(), steps=5)
    assert identical(result.params, jnp.zeros(3))
    assert result.loss == float(valley(jnp.zeros(3)))


def test_minimize_measures_on_each_batch_of_rows():
    generator = np.random.default_rng(0)
    inputs = generator.normal(0, 1, (90, 3)).astype(np.float32)
    targets = inputs @ np.array([1.0, -2.0, 3.0], np.float32)

    def loss(params, x, y):
        return (x @ params - y) ** 2

    result = ds.minimize(
        loss,
        jnp.zeros(3),
        rule=ds.sgd(),
        step_size=ds.backtracking(decrease=0.1),
        data=(inputs, targets),
        batch_size=32,  # the last has 26: padded
        epochs=20,
    )
    np.testing.assert_allclose(result.params, [1, -2, 3], atol=1e-3)


TRAIN = {"hidden": (8,), "dropout": 0.0, "batch_size": 32, "out": False, "quiet": True}


def test_train_measures_its_steps():
    losses = {}
    for rate in (1e-4, 100.0):
        run = ds.train(
            "wine", optimizer="sgd", schedule="line-search", learning_rate=rate, epochs=30, **TRAIN
        )
        losses[rate] = run.summary["metrics"]["test"]["loss"]
        assert run.summary["schedule"] == "line-search"
        assert np.isfinite(run.history["train_loss"].to_numpy()).all()
    assert max(losses.values()) < 0.4  # from a rate a thousand times too small, or too large
    fixed = ds.train("wine", optimizer="sgd", schedule="constant", learning_rate=1e-4, epochs=30, **TRAIN)
    assert fixed.summary["metrics"]["test"]["loss"] > 0.8


def test_a_full_batch_never_goes_uphill():
    run = ds.train(
        "wine",
        optimizer="gradient-descent",
        schedule="line-search",
        learning_rate=10.0,
        epochs=25,
        **{**TRAIN, "batch_size": "full"},
    )
    losses = run.history["train_loss"].to_numpy()
    assert np.all(np.diff(losses) <= 1e-6)
    assert losses[-1] < 0.3 * losses[0]


def test_train_lowers_its_rate_on_a_plateau_without_compiling_again():
    """Labels that nothing predicts: the validation loss stands still at once."""
    generator = np.random.default_rng(0)
    X, y = generator.normal(0, 1, (200, 3)), generator.integers(0, 2, 200)
    events = []
    traces = []

    def apply(params, inputs):
        traces.append(inputs.shape)
        return inputs @ params

    run = ds.train(
        (lambda key, example: jnp.zeros((3, 2)), apply),
        X,
        y,
        optimizer="sgd",
        learning_rate=0.5,
        schedule="plateau",
        epochs=30,
        batch_size=32,
        early_stopping=False,
        out=False,
        quiet=True,
        listeners=[lambda event: (events.append(event), traces.append(event.kind))],
    )
    told = [event.message for event in events if event.kind == "plateau"]
    assert len(told) >= 2
    assert told[0].endswith("learning rate lowered to 0.05")
    assert told[1].endswith("learning rate lowered to 0.005")
    detector = ds.reduce_on_plateau(patience=3)  # the rule itself, fed with what the history says
    state, expected = detector.init(), []
    for loss in run.history["validation_loss"].to_pylist():
        state = detector.update(state, loss)
        expected.append(0.5 * state.multiplier)
    rates = run.history["learning_rate"].to_numpy()
    assert rates[0] == 0.5
    np.testing.assert_allclose(rates[1:], expected[:-1], rtol=1e-6)
    compiled = traces.index("compiled")
    assert not [seen for seen in traces[compiled:] if isinstance(seen, tuple) and seen[0] == 32]


@pytest.mark.slow
def test_a_plateau_is_remembered_by_a_checkpoint(tmp_path):
    """Cut in two by Ctrl-C: the second half goes on with the rate that the first had come to."""
    generator = np.random.default_rng(0)
    X, y = generator.normal(0, 1, (120, 3)), generator.integers(0, 2, 120)
    options = {
        "optimizer": "sgd",
        "learning_rate": 0.5,
        "schedule": "plateau",
        "epochs": 30,
        "batch_size": 32,
    }
    options |= {
        "early_stopping": False,
        "quiet": True,
        "hidden": (4,),
        "dropout": 0.0,
        "checkpoint_every": 0.0,
    }
    whole = ds.train(X, y, out=False, **options)

    def stop(event):
        if event.kind == "plateau":
            os.kill(os.getpid(), signal.SIGINT)

    half = ds.train(X, y, out=tmp_path / "run", listeners=[stop], **options)
    assert half.summary["stopped_because"] == "interrupted"
    assert half.summary["epochs"] < 30
    again = ds.train(X, y, resume=tmp_path / "run", quiet=True)
    rates = [run.history["learning_rate"].to_pylist() for run in (whole, again)]
    assert rates[0] == rates[1]
    assert min(rates[0]) < 0.06
    losses = [run.history["train_loss"].to_pylist() for run in (whole, again)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), "fast"])
def test_bad_step_sizes_are_refused(bad):
    with pytest.raises(OptionError):
        ds.minimize(valley, jnp.zeros(3), step_size=bad)


def test_the_search_state_is_carried_in_float16_too():
    """A line search and a loss scale together: both are in the state, and the descent goes down."""
    run = ds.train(
        "wine",
        optimizer="sgd",
        schedule="line-search",
        precision="float16",
        epochs=20,
        learning_rate=1.0,
        **TRAIN,
    )
    losses = run.history["train_loss"].to_numpy()
    assert losses[-1] < 0.5 * losses[0]
    assert jax.tree.leaves(run.params)[0].dtype == np.float32


@pytest.mark.parametrize(
    "rule",
    [
        ds.adafactor(),
        ds.prodigy(),
        ds.schedule_free_sgd(),
        ds.lookahead(ds.sgd()),
        ds.chain(ds.prodigy(), ds.sgd()),
        ds.with_groups(ds.sgd(), [ds.Group("x", rule=ds.schedule_free_adamw())]),
        ds.muon(other=ds.adafactor()),
    ],
    ids=lambda rule: rule.name,
)
def test_a_rule_that_must_know_its_step_size_is_refused(rule):
    with pytest.raises(OptionError, match="must know its step size beforehand"):
        ds.minimize(lambda p: p["x"] ** 2, {"x": jnp.ones([])}, rule=rule, step_size=ds.backtracking())
