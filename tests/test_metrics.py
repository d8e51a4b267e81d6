"""Every metric against scikit-learn's, on random predictions."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies
from hypothesis.extra import numpy as arrays
from sklearn import calibration, metrics as reference

from downslope import metrics

VALUES = arrays.arrays(
    np.float64,
    strategies.integers(2, 40),
    elements=strategies.floats(-1e6, 1e6, allow_subnormal=False),
)


def random_shares(seed, rows=300, classes=4):
    generator = np.random.default_rng(seed)
    shares = generator.dirichlet(np.full(classes, 0.7), rows)
    # Labels that the shares know something about, and every class at least once.
    labels = np.array([generator.choice(classes, p=row) for row in shares])
    labels[:classes] = np.arange(classes)
    return shares, labels


@pytest.mark.parametrize("seed", range(5))
def test_classification(seed):
    shares, labels = random_shares(seed)
    found = metrics.classification(shares, labels)
    assert set(found) == {"accuracy", "log_loss"}
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, shares.argmax(axis=1)))
    assert found["log_loss"] == pytest.approx(reference.log_loss(labels, shares), rel=1e-12)


def test_a_share_of_zero_is_a_large_loss_and_not_an_infinite_one():
    found = metrics.classification(np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), np.array([1, 1]))
    assert np.isfinite(found["log_loss"])
    assert found["log_loss"] > 100


@given(VALUES, strategies.integers(0, 2**16))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_regression(actual, seed):
    predicted = actual + np.random.default_rng(seed).normal(0, 1 + np.abs(actual).mean(), len(actual))
    found = metrics.regression(predicted, actual)
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(actual, predicted))
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(actual, predicted))
    if np.var(actual) > 1e-6 * max(1, np.mean(actual**2)):
        expected = reference.r2_score(actual, predicted)
        assert found["r2"] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_regression_keeps_its_digits_far_from_zero():
    actual = 1e7 + np.arange(1000.0)
    found = metrics.regression((actual + 1).astype(np.float32), actual.astype(np.float32))
    assert found["rmse"] == pytest.approx(1.0, abs=0.1)
    assert found["r2"] == pytest.approx(reference.r2_score(actual, actual + 1), abs=1e-5)


def test_r2_of_a_constant_is_undefined():
    assert np.isnan(metrics.regression(np.array([1.0, 2.0]), np.array([3.0, 3.0]))["r2"])


@pytest.mark.parametrize("seed", range(5))
def test_confusion(seed):
    shares, labels = random_shares(seed)
    predicted = shares.argmax(axis=1)
    np.testing.assert_array_equal(
        metrics.confusion(predicted, labels, 4), reference.confusion_matrix(labels, predicted)
    )


def test_confusion_has_a_row_for_classes_that_do_not_occur():
    found = metrics.confusion(np.array([0, 0]), np.array([0, 1]), 3)
    np.testing.assert_array_equal(found, [[1, 0, 0], [1, 0, 0], [0, 0, 0]])


@given(
    strategies.lists(strategies.tuples(strategies.integers(0, 12), strategies.booleans()), min_size=2).filter(
        lambda rows: len({positive for _, positive in rows}) == 2
    )
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_roc_with_ties(rows):
    scores = np.array([score / 12 for score, _ in rows])
    positive = np.array([positive for _, positive in rows])
    found = metrics.roc(scores, positive)
    fpr, tpr, _ = reference.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(found["fpr"], fpr)
    np.testing.assert_allclose(found["tpr"], tpr)
    assert found["auc"] == pytest.approx(reference.roc_auc_score(positive, scores))


def test_roc_of_one_class_divides_by_nothing():
    found = metrics.roc(np.array([0.2, 0.7]), np.array([True, True]))
    assert np.isfinite(found["auc"])


def test_reliability_against_scikit_learn():
    shares, labels = random_shares(7, rows=2000, classes=2)
    found = metrics.reliability(shares, labels, bins=5)
    right = shares.argmax(axis=1) == labels
    accuracy, confidence = calibration.calibration_curve(right, shares.max(axis=1), n_bins=5)
    np.testing.assert_allclose(found["accuracy"], accuracy)
    np.testing.assert_allclose(found["confidence"], confidence)
    assert sum(found["count"]) == len(labels)
