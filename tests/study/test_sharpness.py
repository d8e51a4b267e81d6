"""Minimum, saddle, not settled: on functions whose slope and curvature are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from downslope.gradient.backprop import Batch
from downslope.study.sharpness import explained, sharpness

ROWS = Batch((), (), jnp.ones((1, 1)))


def rosenbrock(at):
    return (1 - at[0]) ** 2 + 100 * (at[1] - at[0] ** 2) ** 2


def himmelblau(at):
    return (at[0] ** 2 + at[1] - 11) ** 2 + (at[0] + at[1] ** 2 - 7) ** 2


def cubic_saddle(at):
    return 1 + at[0] ** 2 - 3 * at[1] ** 2 + at[0] * at[1]


# name: (function, point, verdict, smallest, largest); None: by the whole Hessian
PLACES = {
    "bowl": (lambda at: 2 + at[0] ** 2 + 5 * at[1] ** 2, [0, 0], "minimum", 2, 10),
    "bowl of height 0": (lambda at: at[0] ** 2 + 5 * at[1] ** 2, [0, 0], "minimum", 2, 10),
    "slope of a bowl": (lambda at: 2 + at[0] ** 2 + 5 * at[1] ** 2, [1, 0], "not settled", 2, 10),
    "all but down": (lambda at: 2 + at[0] ** 2 + 5 * at[1] ** 2, [0.01, 0], "minimum", 2, 10),
    "saddle": (cubic_saddle, [0, 0], "saddle", None, None),
    "beside a saddle": (cubic_saddle, [0, 0.5], "not settled", None, None),
    "hill": (lambda at: 4 - at[0] ** 2 - 2 * at[1] ** 2, [0, 0], "maximum", -4, -2),
    "gutter": (lambda at: 1 + (at[0] + at[1]) ** 2, [0.5, -0.5], "flat minimum", 0, 4),
    "plain": (lambda at: 3 + 0 * at[0], [1, 1], "flat", 0, 0),
    "Rosenbrock's end": (rosenbrock, [1, 1], "minimum", 501 - np.sqrt(250601), 501 + np.sqrt(250601)),
    "Rosenbrock's start": (rosenbrock, [-1.2, 1], "not settled", None, None),
    "Himmelblau's end": (himmelblau, [3, 2], "minimum", None, None),
    "Himmelblau's top": (himmelblau, [-0.270845, -0.923039], "maximum", None, None),
    "Himmelblau's pass": (himmelblau, [0.0866775, 2.88425], "saddle", None, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("place", PLACES)
def test_places_that_are_known(place, dtype):
    function, point, verdict, smallest, largest = PLACES[place]
    with jax.enable_x64(dtype == "float64"):
        at = jnp.asarray(point, dtype)
        found = sharpness(lambda at, state, batch: function(at), at, (), ROWS)
        hessian = np.asarray(jax.hessian(function)(at), np.float64)
        slope = float(jnp.linalg.norm(jax.grad(function)(at)))
    true = np.linalg.eigvalsh(hessian) if smallest is None else (smallest, largest)
    assert found.verdict == verdict, explained(found)
    tolerance = 1e-3 * max(abs(true[0]), abs(true[1]), 1e-6)
    assert found.smallest == pytest.approx(true[0], rel=1e-3, abs=1e-3 * tolerance + 1e-9)
    assert found.largest == pytest.approx(true[1], rel=1e-3, abs=1e-9)
    assert found.gradient_norm == pytest.approx(slope, rel=1e-4, abs=1e-12)
    assert verdict.split()[-1] in explained(found).lower()


def test_what_a_step_would_gain():
    """On a parabola along the gradient, one best step reaches the bottom exactly."""
    found = sharpness(lambda at, state, batch: 7 + 3 * at[0] ** 2, jnp.array([2.0, 0.0]), (), ROWS)
    assert found.to_gain == pytest.approx(12.0, rel=1e-5)
    downhill = sharpness(lambda at, state, batch: -(at[0] ** 2), jnp.array([1.0, 0.0]), (), ROWS)
    assert downhill.to_gain == np.inf
    assert "bends downwards" in explained(downhill)


def test_a_loss_that_is_no_number():
    found = sharpness(lambda at, state, batch: jnp.log(at[0]), jnp.array([-1.0]), (), ROWS)
    assert found.verdict == "not settled"
    assert "nan" in explained(found)
