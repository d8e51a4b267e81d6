"""Losses where floating point is thin, as properties, by callables, and as lessons for a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import special

import downslope as ds
from downslope import losses
from downslope.errors import DataError, OptionError
from downslope.losses import LOSSES, from_function, parse_loss

CLASSES = 4


def log_softmax(z):
    return z - special.logsumexp(z, axis=-1, keepdims=True)


def other_best(z, y):
    return np.array([np.delete(row, label).max() for row, label in zip(z, y, strict=True)])


def of_class(values, y):
    return values[np.arange(len(y)), y]


def log_cosh(e):
    return np.logaddexp(e, -e) - np.log(2)


# typed name → float64 formula of (outputs, targets), each written so that it is exact for large numbers
OF_CLASSES = {
    "softmax-cross-entropy": lambda z, y: -of_class(log_softmax(z), y),
    "label-smoothing:0.3": lambda z, y: (
        -0.7 * of_class(log_softmax(z), y) - 0.3 * log_softmax(z).mean(axis=1)
    ),
    "focal:1.5": lambda z, y: -(of_class(-np.expm1(log_softmax(z)), y) ** 1.5) * of_class(log_softmax(z), y),
    "focal:0": lambda z, y: -of_class(log_softmax(z), y),
    "hinge": lambda z, y: np.maximum(0, 1 + other_best(z, y) - of_class(z, y)),
    "kl": lambda z, y: -of_class(log_softmax(z), y),
}
OF_NUMBERS = {
    "quantile:0.9": lambda p, y: np.maximum(0.9 * (y - p), -0.1 * (y - p)),
    "quantile:0.01": lambda p, y: np.maximum(0.01 * (y - p), -0.99 * (y - p)),
    "log-cosh": lambda p, y: log_cosh(p - y),
    "huber:0.25": lambda p, y: np.where(
        np.abs(p - y) <= 0.25, (p - y) ** 2 / 2, 0.25 * (np.abs(p - y) - 0.125)
    ),
}


def cases(size, seed=0, rows=40):
    generator = np.random.default_rng(seed)
    logits = size * generator.normal(0, 1, (rows, CLASSES))
    return logits, generator.integers(0, CLASSES, rows), size * generator.normal(0, 1, rows)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e-6, 30.0, 1e6])
@pytest.mark.parametrize("name", [*OF_CLASSES, *OF_NUMBERS])
def test_values_and_slopes_from_tiny_to_huge_outputs(name, size):
    """In float32, against float64: to rounding of the largest logit, never merely finite."""
    logits, labels, numbers = cases(size)
    outputs, targets = (logits, labels) if name in OF_CLASSES else (logits[:, :1], numbers)
    formula = OF_CLASSES.get(name) or (lambda z, y: OF_NUMBERS[name](z[:, 0], y))
    single = np.asarray(outputs, np.float32), targets.astype(np.int32 if name in OF_CLASSES else np.float32)
    loss = parse_loss(name)
    expected = formula(
        *(np.asarray(array, np.float64 if array.dtype.kind == "f" else None) for array in single)
    )
    found = loss.per_example(*map(jnp.asarray, single))
    np.testing.assert_allclose(found, expected, rtol=3e-6, atol=1e-6 * (1 + size))

    slope = jax.grad(lambda z: jnp.sum(loss.per_example(z, jnp.asarray(single[1]))))(jnp.asarray(single[0]))
    with jax.enable_x64(True):
        wide = [
            jnp.asarray(np.asarray(array, np.float64 if array.dtype.kind == "f" else None))
            for array in single
        ]
        exact = np.asarray(jax.grad(lambda z: jnp.sum(loss.per_example(z, wide[1])))(wide[0]))
    assert np.isfinite(slope).all()
    assert np.any(exact)
    np.testing.assert_allclose(slope, exact, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["softmax-cross-entropy", "label-smoothing", "focal", "hinge", "kl"])
@settings(max_examples=25, deadline=None, derandomize=True)
@given(shift=st.floats(-1e3, 1e3), seed=st.integers(0, 10**6))
def test_only_differences_of_logits_count(name, shift, seed):
    logits, labels, _ = cases(3.0, seed, rows=6)
    with jax.enable_x64(True):
        loss = LOSSES[name]()
        here = loss.per_example(jnp.asarray(logits), jnp.asarray(labels))
        there = loss.per_example(jnp.asarray(logits + shift), jnp.asarray(labels))
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-9)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), level=st.floats(0.01, 0.99), size=st.floats(1e-3, 1e3))
def test_between_losses(seed, level, size):
    """What ties the losses to one another, whatever the numbers."""
    logits, labels, numbers = cases(size, seed, rows=6)
    with jax.enable_x64(True):
        z, y, targets = jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(numbers)

        def of(name, *args):
            return np.asarray(
                LOSSES[name](*args).per_example(z, y if LOSSES[name]().task[0] == "c" else targets)
            )

        absolute, squared = of("absolute-error"), of("squared-error")
        np.testing.assert_allclose(of("quantile", 0.5), absolute / 2, rtol=1e-12)
        np.testing.assert_allclose(of("quantile", level) + of("quantile", 1 - level), absolute, rtol=1e-9)
        assert np.all(of("log-cosh") <= np.minimum(absolute, squared / 2) + 1e-12)
        assert np.all(of("log-cosh") >= absolute - np.log(2) - 1e-12)
        np.testing.assert_allclose(of("huber", 1e9), squared / 2, rtol=1e-12)
        cross = of("softmax-cross-entropy")
        np.testing.assert_allclose(of("label-smoothing", 0.0), cross, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(of("focal", 0.0), cross, rtol=1e-9, atol=1e-12)
        assert np.all(of("focal", 2.0) <= cross + 1e-12)
        assert np.all(of("hinge") >= (np.asarray(z).argmax(axis=1) != np.asarray(y)) - 1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), sharpness=st.floats(0.01, 10))
def test_kl_is_least_at_the_distribution_itself(seed, sharpness):
    generator = np.random.default_rng(seed)
    wanted = generator.dirichlet(np.full(CLASSES, sharpness), 5)
    with jax.enable_x64(True):
        kl = losses.kl_divergence()
        at_home = kl.per_example(jnp.log(jnp.maximum(wanted, 1e-300)), jnp.asarray(wanted))
        np.testing.assert_allclose(at_home, 0, atol=1e-9)
        elsewhere = kl.per_example(jnp.asarray(generator.normal(0, 2, (5, CLASSES))), jnp.asarray(wanted))
        assert np.all(np.asarray(elsewhere) > 0)


@pytest.mark.parametrize("focus", [0.5, 1.0, 2.0])
def test_the_slope_of_focal_is_finite_where_nothing_is_left_to_learn(focus):
    """At p = 1 the factor (1 − p)^γ has, for γ < 1, an infinite slope of its own."""
    sure = jnp.array([[100.0, 0.0], [40.0, 0.0], [17.0, 0.0]], jnp.float32)
    loss = losses.focal(focus)
    slope = jax.grad(lambda z: jnp.sum(loss.per_example(z, jnp.zeros(3, jnp.int32))))(sure)
    assert np.isfinite(slope).all()
    assert np.max(np.abs(slope)) < 1e-3


def test_poisson_at_the_ends():
    """No overflow before float32's own, and the right slopes exp(z) − y."""
    z = np.array([[-100.0], [-1.0], [0.0], [5.0], [80.0]], np.float32)
    y = np.array([0.0, 2.0, 1.0, 150.0, 1e30], np.float32)
    loss = losses.poisson()
    expected = np.exp(z[:, 0].astype(np.float64)) - y.astype(np.float64) * z[:, 0]
    np.testing.assert_allclose(
        loss.per_example(jnp.asarray(z), jnp.asarray(y)), expected, rtol=1e-5, atol=1e-30
    )
    slope = jax.grad(lambda at: jnp.sum(loss.per_example(at, jnp.asarray(y))))(jnp.asarray(z))
    np.testing.assert_allclose(slope[:, 0], np.exp(z[:, 0].astype(np.float64)) - y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("typed", ["quantile:0.9", "huber:2.5", "focal:0.5", "label-smoothing:0.25"])
def test_a_loss_is_spelled_as_it_is_typed(typed):
    loss = parse_loss(typed)
    assert loss.spelled == typed
    (number,) = loss.options.values()
    assert number == float(typed.partition(":")[2])
    assert parse_loss(loss.spelled).options == loss.options


def test_the_number_after_the_colon_counts():
    high = parse_loss("quantile:0.9").per_example(jnp.zeros((1, 1)), jnp.ones(1))
    low = parse_loss("quantile:0.1").per_example(jnp.zeros((1, 1)), jnp.ones(1))
    np.testing.assert_allclose([high[0], low[0]], [0.9, 0.1], rtol=1e-6)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("quantile:", None),
        ("quantile:0", "level must be between 0 and 1, got 0"),
        ("quantile:1.5", "level must be between 0 and 1"),
        ("quantile:nan", "level must be between 0 and 1, got nan"),
        ("quantile:-0.1", "level must be between 0 and 1"),
        ("quantile:0.5:0.6", "'0.5:0.6' is not a number"),
        ("huber:nan", "delta must be positive"),
        ("focal:nan", "focus must be at least 0"),
        ("label-smoothing:-0.1", "smoothing must be at least 0 and below 1"),
        ("poisson:1", "poisson takes no number; leave out ':1'"),
        ("kl:0.5", "kl takes no number"),
        ("Quantile:0.5", r"unknown loss 'Quantile'\. Did you mean 'quantile'"),
        ("", "unknown loss ''"),
    ],
)
def test_parsing(typed, said):
    if said is None:
        assert parse_loss(typed).spelled == "quantile:0.5"  # nothing after the colon is the default
        return
    with pytest.raises(OptionError, match=said):
        parse_loss(typed)


def cauchy(outputs, targets):
    return jnp.log1p((outputs[:, 0] - targets) ** 2)


def margin(outputs, targets):
    return jax.nn.relu(1.0 - outputs[jnp.arange(len(targets)), targets] + jnp.mean(outputs, axis=1))


@pytest.mark.parametrize(("function", "task"), [(cauchy, "regression"), (margin, "classification")])
def test_a_callable_is_a_loss(function, task):
    loss = from_function(function, task)
    assert (loss.name, loss.task) == (function.__name__, task)
    outputs = np.random.default_rng(0).normal(0, 1, (5, 3)).astype(np.float32)
    targets = np.array([0, 1, 2, 0, 1], np.int32 if task == "classification" else np.float32)
    np.testing.assert_array_equal(loss.per_example(outputs, targets), function(outputs, targets))
    predicted = loss.predict(outputs)
    expected = special.softmax(outputs, axis=1) if task == "classification" else outputs[:, 0]
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)


def test_a_callable_trains_and_its_run_can_be_read(tmp_path):
    """Cauchy's loss hardly hears the wild targets that pull the mean away."""
    generator = np.random.default_rng(0)
    X = generator.normal(0, 1, (400, 1))
    y = 3 * X[:, 0]
    y[::10] += 60
    options = {"model": "linear", "epochs": 40, "learning_rate": 0.05, "batch_size": 32, "quiet": True}
    options |= {"test_fraction": 0.0, "validation_fraction": 0.0}
    robust = ds.train(X, y, loss=cauchy, out=tmp_path / "robust", **options)
    pulled = ds.train(X, y, out=False, **options)
    truth = 3 * X[:, 0]
    errors = {
        name: np.median(np.abs(run.predict(X) - truth))
        for name, run in (("robust", robust), ("mean", pulled))
    }
    assert errors["mean"] > 3
    assert errors["robust"] < 0.5 * errors["mean"]
    assert robust.summary["loss"] == "cauchy"
    np.testing.assert_array_equal(ds.Run.load(tmp_path / "robust").predict(X), robust.predict(X))


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_quantile_regression_learns_the_quantile(level):
    """Noise that is wider to the right: the share of targets below the line is the level, everywhere."""
    generator = np.random.default_rng(0)
    x = generator.uniform(-2, 2, 3000)
    y = x + (1 + 0.5 * np.abs(x)) * generator.exponential(1, 3000)
    run = ds.train(
        x[:, None],
        y,
        loss=f"quantile:{level}",
        hidden=(16,),
        dropout=0.0,
        ramps=0,
        epochs=15,
        batch_size=128,
        learning_rate=0.02,
        optimizer="adam",
        validation_fraction=0.0,
        out=False,
        quiet=True,
    )
    below = y < run.predict(x[:, None])
    assert np.mean(below) == pytest.approx(level, abs=0.03)
    for half in (x < 0, x >= 0):
        assert np.mean(below[half]) == pytest.approx(level, abs=0.05)


def test_counts_are_learned_on_their_own_scale():
    generator = np.random.default_rng(0)
    X = generator.normal(0, 1, (1500, 2))
    rate = np.exp(1 + 0.8 * X[:, 0] - 0.5 * X[:, 1])
    counts = generator.poisson(rate)
    run = ds.train(
        X,
        counts,
        task="regression",
        loss="poisson",
        model="linear",
        epochs=60,
        learning_rate=0.05,
        out=False,
        quiet=True,
    )
    predicted = run.predict(X)
    assert np.all(predicted > 0)
    assert np.median(np.abs(np.log(predicted / rate))) < 0.1
    with pytest.raises(DataError, match="poisson is for counts"):
        ds.train(X, counts - 1.0, task="regression", loss="poisson", out=False, quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["label-smoothing:0.2", "focal", "hinge", "kl"])
def test_every_loss_for_classes_learns(loss):
    options = {"epochs": 40, "learning_rate": 0.02, "batch_size": 32, "out": False, "quiet": True}
    run = ds.train("iris", loss=loss, hidden=(8,), seed=1, **options)  # seed 0 draws hard test rows
    assert run.summary["metrics"]["test"]["accuracy"] > 0.85  # of 30 rows
    assert run.summary["loss"] == loss.partition(":")[0]


@pytest.mark.parametrize("level", [0.5, 8.0])
def test_counts_of_any_size_are_learned(level):
    """The logarithm of the rate begins at that of the mean count, not at 0."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(800, 2)).astype(np.float32)
    rate = np.exp(level + 0.5 * x[:, 0])
    options = {"model": "linear", "epochs": 40, "out": False, "quiet": True, "task": "regression"}
    run = ds.train(x, generator.poisson(rate).astype(float), loss="poisson", **options)
    assert np.median(np.abs(run.predict(x) / rate - 1)) < 0.1


def test_a_probability_near_0_keeps_its_digits():
    """−log(1 − σ(20)) is 20 and not that of the smallest number."""
    loss = losses.binary_cross_entropy()
    outputs, labels = jnp.array([[20.0], [-20.0], [0.3]]), jnp.array([0, 1, 1])
    shares = np.asarray(loss.predict(outputs))
    np.testing.assert_allclose(
        -np.log(of_class(shares, labels)), loss.per_example(outputs, labels), rtol=1e-5
    )
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-6)


def huber(outputs, targets):
    """A loss of one's own that has the name of one of Downslope's."""
    return jnp.abs(outputs[:, 0] - targets) ** 3


def test_a_loss_of_ones_own_may_be_called_as_one_of_ours(tmp_path):
    x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
    data, out = (x, x[:, 0] ** 2), tmp_path / "run"
    ds.train(*data, loss=huber, epochs=1, out=out, quiet=True)
    assert '"loss": "own: huber"' in (out / "config.json").read_text()
    with pytest.raises(OptionError, match="loss was your own; pass the same loss again"):
        ds.train(*data, resume=out)
