"""Every cost function against its textbook formula in float64 NumPy, and against scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from sklearn import metrics as reference

from downslope import losses
from downslope.errors import OptionError
from downslope.losses import LOSSES, loss_by_name

GENERATOR = np.random.default_rng(0)
ROWS, CLASSES = 200, 5
LOGITS = GENERATOR.normal(0, 3, (ROWS, CLASSES))
LABELS = GENERATOR.integers(0, CLASSES, ROWS)
ONE_LOGIT = GENERATOR.normal(0, 3, (ROWS, 1))
YES_OR_NO = GENERATOR.integers(0, 2, ROWS)
PREDICTED = GENERATOR.normal(0, 3, (ROWS, 1))
ACTUAL = GENERATOR.normal(0, 3, ROWS)
COUNTS = GENERATOR.poisson(3, ROWS).astype(float)
ERROR = PREDICTED[:, 0] - ACTUAL


def cross_entropy(logits, labels):
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(shares[np.arange(len(labels)), labels])


def binary(logit, labels):
    positive = 1 / (1 + np.exp(-logit[:, 0]))
    return -labels * np.log(positive) - (1 - labels) * np.log(1 - positive)


def huber(error, delta=1.0):
    return np.where(np.abs(error) <= delta, error**2 / 2, delta * (np.abs(error) - delta / 2))


def pinball(error, level):
    return np.where(error < 0, -level * error, (1 - level) * error)


def smoothed(logits, labels, amount):
    shares = special.softmax(logits, axis=1)
    wanted = (1 - amount) * np.eye(CLASSES)[labels] + amount / CLASSES
    return -np.sum(wanted * np.log(shares), axis=1)


def focal(logits, labels, focus):
    share = special.softmax(logits, axis=1)[np.arange(len(labels)), labels]
    return -((1 - share) ** focus) * np.log(share)


def hinge(logits, labels):
    rows = []
    for row, label in zip(logits, labels, strict=True):
        others = np.delete(row, label)
        rows.append(max(0.0, 1 + others.max() - row[label]))
    return np.array(rows)


# name as typed → outputs, targets, what a textbook says of each row
TABLE = {
    "squared-error": (PREDICTED, ACTUAL, ERROR**2),
    "absolute-error": (PREDICTED, ACTUAL, np.abs(ERROR)),
    "huber": (PREDICTED, ACTUAL, huber(ERROR)),
    "softmax-cross-entropy": (LOGITS, LABELS, cross_entropy(LOGITS, LABELS)),
    "binary-cross-entropy": (ONE_LOGIT, YES_OR_NO, binary(ONE_LOGIT, YES_OR_NO)),
    "log-cosh": (PREDICTED, ACTUAL, np.log(np.cosh(ERROR))),
    "quantile": (PREDICTED, ACTUAL, pinball(ERROR, 0.5)),
    "quantile:0.9": (PREDICTED, ACTUAL, pinball(ERROR, 0.9)),
    "huber:2.5": (PREDICTED, ACTUAL, huber(ERROR, 2.5)),
    "poisson": (PREDICTED, COUNTS, np.exp(PREDICTED[:, 0]) - COUNTS * PREDICTED[:, 0]),
    "label-smoothing": (LOGITS, LABELS, smoothed(LOGITS, LABELS, 0.1)),
    "focal": (LOGITS, LABELS, focal(LOGITS, LABELS, 2.0)),
    "focal:0": (LOGITS, LABELS, cross_entropy(LOGITS, LABELS)),
    "hinge": (LOGITS, LABELS, hinge(LOGITS, LABELS)),
    "kl": (LOGITS, LABELS, cross_entropy(LOGITS, LABELS)),
}


def made(typed):
    name, _, number = typed.partition(":")
    return LOSSES[name](float(number)) if number else LOSSES[name]()


def test_the_table_has_every_loss():
    assert {typed.partition(":")[0] for typed in TABLE} == set(LOSSES)


@pytest.mark.parametrize("name", TABLE)
def test_formula(name):
    outputs, targets, expected = TABLE[name]
    with jax.enable_x64(True):
        found = made(name).per_example(jnp.asarray(outputs), jnp.asarray(targets))
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    single = made(name).per_example(
        jnp.asarray(outputs, jnp.float32),
        jnp.asarray(targets, jnp.int32 if targets.dtype.kind == "i" else jnp.float32),
    )
    assert single.dtype == jnp.float32
    assert single.shape == (ROWS,)
    np.testing.assert_allclose(single, expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", TABLE)
def test_gradient_against_central_differences(name):
    outputs, targets, _ = TABLE[name]
    small = 1e-5
    with jax.enable_x64(True):
        loss = made(name)

        def total(at):
            return jnp.sum(loss.per_example(at, jnp.asarray(targets)))

        gradient = np.asarray(jax.grad(total)(jnp.asarray(outputs)))
        numeric = np.zeros_like(outputs)
        for column in range(outputs.shape[1]):
            step = np.zeros_like(outputs)
            step[:, column] = small
            above, below = (
                loss.per_example(jnp.asarray(outputs + sign * step), jnp.asarray(targets)) for sign in (1, -1)
            )
            numeric[:, column] = (np.asarray(above) - np.asarray(below)) / (2 * small)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("size", [1e2, 1e4])
@pytest.mark.parametrize("name", [name for name in TABLE if name != "poisson"])
def test_extreme_outputs_stay_finite(name, size):
    outputs, targets, _ = TABLE[name]
    loss = made(name)
    extreme = jnp.asarray(np.sign(outputs) * size, jnp.float32)
    labels = jnp.asarray(targets, jnp.int32 if targets.dtype.kind == "i" else jnp.float32)
    values = loss.per_example(extreme, labels)
    gradient = jax.grad(lambda at: jnp.sum(loss.per_example(at, labels)))(extreme)
    assert np.isfinite(values).all()
    assert (np.asarray(values) >= -1e-6).all()
    assert np.isfinite(gradient).all()
    assert np.isfinite(loss.predict(extreme)).all()


def test_extreme_cross_entropy_is_the_distance_of_the_logits():
    logits = jnp.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]], jnp.float32)
    found = losses.softmax_cross_entropy().per_example(logits, jnp.array([0, 1]))
    np.testing.assert_allclose(found, [0.0, 2e4])
    one = jnp.array([[1e4], [1e4], [-1e4]], jnp.float32)
    found = losses.binary_cross_entropy().per_example(one, jnp.array([1, 0, 0]))
    np.testing.assert_allclose(found, [0.0, 1e4, 0.0])


def test_against_scikit_learn():
    shares = losses.softmax_cross_entropy().predict(jnp.asarray(LOGITS, jnp.float32))
    mean = losses.softmax_cross_entropy().per_example(jnp.asarray(LOGITS), jnp.asarray(LABELS)).mean()
    expected = reference.log_loss(LABELS, special.softmax(LOGITS, axis=1))
    np.testing.assert_allclose(mean, expected, rtol=1e-5)
    np.testing.assert_allclose(shares, special.softmax(LOGITS, axis=1), atol=1e-6)
    mean = losses.squared_error().per_example(jnp.asarray(PREDICTED), jnp.asarray(ACTUAL)).mean()
    np.testing.assert_allclose(mean, reference.mean_squared_error(ACTUAL, PREDICTED[:, 0]), rtol=1e-5)
    mean = losses.absolute_error().per_example(jnp.asarray(PREDICTED), jnp.asarray(ACTUAL)).mean()
    np.testing.assert_allclose(mean, reference.mean_absolute_error(ACTUAL, PREDICTED[:, 0]), rtol=1e-5)
    mean = losses.quantile(0.9).per_example(jnp.asarray(PREDICTED), jnp.asarray(ACTUAL)).mean()
    pinballs = reference.mean_pinball_loss(ACTUAL, PREDICTED[:, 0], alpha=0.9)
    np.testing.assert_allclose(mean, pinballs, rtol=1e-5)


def test_poisson_is_the_likelihood_up_to_a_constant():
    found = losses.poisson().per_example(jnp.asarray(PREDICTED), jnp.asarray(COUNTS))
    constant = special.gammaln(COUNTS + 1)
    expected = -stats.poisson.logpmf(COUNTS, np.exp(PREDICTED[:, 0])) - constant
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert not losses.poisson().standardise


def test_kl_of_distributions():
    wanted = GENERATOR.dirichlet(np.ones(CLASSES), ROWS)
    wanted[0] = np.eye(CLASSES)[1]  # a zero in a distribution is no NaN
    found = losses.kl_divergence().per_example(jnp.asarray(LOGITS), jnp.asarray(wanted))
    expected = special.rel_entr(wanted, special.softmax(LOGITS, axis=1)).sum(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_predictions(name):
    loss = made(name)
    n_outputs = loss.n_outputs(2)
    predicted = np.asarray(loss.predict(jnp.asarray(GENERATOR.normal(0, 2, (7, n_outputs)), jnp.float32)))
    if loss.task == "regression":
        assert n_outputs == 1
        assert predicted.shape == (7,)
    else:
        assert predicted.shape == (7, 2)
        np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-6)
        assert loss.n_outputs(3) == (1 if loss.one_logit else 3)


def test_one_logit_is_two_logits_with_the_first_at_zero():
    two = np.concatenate([np.zeros_like(ONE_LOGIT), ONE_LOGIT], axis=1)
    one_loss, two_loss = losses.binary_cross_entropy(), losses.softmax_cross_entropy()
    np.testing.assert_allclose(
        one_loss.predict(jnp.asarray(ONE_LOGIT)), two_loss.predict(jnp.asarray(two)), atol=1e-6
    )
    labels = jnp.asarray(YES_OR_NO)
    np.testing.assert_allclose(
        one_loss.per_example(jnp.asarray(ONE_LOGIT), labels),
        two_loss.per_example(jnp.asarray(two), labels),
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("name", "task", "classes", "said"),
    [
        ("hubr", "regression", 0, "Did you mean 'huber'"),
        ("squared-error", "classification", 3, "is for regression, but this is classification"),
        ("softmax-cross-entropy", "regression", 0, "is for classification, but this is regression"),
        ("binary-cross-entropy", "classification", 3, "is for two classes, but the target has 3"),
        ("huber:0", "regression", 0, "positive"),
        ("huber:x", "regression", 0, "'x' is not a number"),
        ("quantile:1", "regression", 0, "between 0 and 1"),
        ("label-smoothing:1", "classification", 2, "below 1"),
        ("focal:-1", "classification", 2, "at least 0"),
        ("squared-error:3", "regression", 0, "takes no number"),
    ],
)
def test_unfit_losses_are_refused(name, task, classes, said):
    with pytest.raises(OptionError, match=said):
        loss_by_name(name, task, classes)


@pytest.mark.parametrize("name", LOSSES)
def test_by_name(name):
    loss = loss_by_name(name, made(name).task, 2)
    assert loss.name == name
