"""The range test reads known curves right, and always says something."""

import numpy as np
import pytest

import downslope as ds
from downslope.tuning.range_test import read_curve, smooth

RATES = np.geomspace(1e-6, 1e2, 200)


def curve(edge, noise=0.0):
    """A loss that falls by gradient descent on a parabola of curvature 2 / edge until the rate is `edge`."""
    x, losses = 1.0, []
    for rate in RATES:
        losses.append(x**2)
        x *= 1 - 2 * rate / edge
        if abs(x) > 100:
            break
    return RATES[: len(losses)], np.asarray(losses) + np.random.default_rng(0).normal(0, noise, len(losses))


@pytest.mark.parametrize("edge", [1e-2, 1e-1, 1.0])
def test_suggestions_lie_below_the_edge_of_stability(edge):
    found = read_curve(*curve(edge), centre=1e-3)
    assert set(found.suggestions) == {"valley", "steepest", "minimum/10"}
    assert all(edge / 1000 < rate < edge for rate in found.suggestions.values()), found.suggestions
    assert found.confidence in ("good", "fair")


def test_a_flat_or_broken_curve_falls_back():
    flat = read_curve(RATES, np.ones(200), centre=0.02)
    rising = read_curve(RATES, np.linspace(1, 2, 200), centre=0.02)
    noise = read_curve(RATES, np.random.default_rng(0).normal(1, 1, 200), centre=0.02)
    empty = read_curve(RATES[:0], np.zeros(0), centre=0.02)
    for found in (flat, rising, empty):
        assert found.suggestions == {"the rule's own": 0.02}
    for found in (flat, rising, noise, empty):
        assert found.confidence == "poor"
        assert found.note


def test_smoothing_is_an_average():
    losses = np.random.default_rng(0).normal(3, 1, 500)
    assert abs(smooth(losses)[-1] - 3) < 0.8
    assert smooth(losses)[3] == pytest.approx(losses[:4].mean())


def test_on_a_table(finished):
    curve = ds.find_learning_rate(finished["data"], target="price", drop=("kind",), hidden=(8,))
    assert len(curve.learning_rates) == len(curve.losses) == len(curve.smoothed) <= 200
    assert (np.diff(curve.learning_rates) > 0).all()
    assert 1e-5 < curve.suggestion < 1
    again = ds.find_learning_rate(finished["data"], target="price", drop=("kind",), hidden=(8,))
    assert again.suggestions == curve.suggestions
    assert [trace.name for trace in curve.figure().data][:2] == ["each batch", "running average"]


def test_a_network_of_ones_own_keeps_its_weights():
    from flax import nnx

    X = np.random.default_rng(0).normal(0, 1, (60, 3)).astype(np.float32)
    network = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    before = np.array(network.kernel[...])
    curve = ds.find_learning_rate(network, X, X @ [1.0, 2.0, 3.0], steps=60)
    assert (np.asarray(network.kernel[...]) == before).all()
    assert curve.suggestion > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 5}, "--steps must be a whole number of at least 10"),
        ({"smallest": -1.0}, "--smallest must be a number above 0"),
        ({"smallest": 1.0, "largest": 0.1}, "must be below"),
        ({"learning_rate": 0.1}, "leave out learning_rate"),
        ({"schedule": "cosine"}, "leave out schedule"),
        ({"labels": [0, 1]}, "takes a network first"),
    ],
)
def test_refusals(options, said):
    with pytest.raises(ds.OptionError, match=said):
        ds.find_learning_rate("iris", **options)
