"""The paths are those of the package's rules: against plain loops, and against Optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from downslope.errors import OptionError
from downslope.lab.paths import MOST_STARTS, MOST_STEPS, _compiled, descend
from downslope.lab.surfaces import SURFACES, heights_of, surface_by_name, surface_of_formula
from downslope.lab.valley import suggested_step_size
from downslope.lab.valley_table import verdict
from downslope.rules.registry import RULES

VALLEY = SURFACES["narrow-valley"]
CURVATURE = np.array([1.0, 60.0])


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
def test_the_stars_are_lowest_points(surface):
    for point in surface.minima:
        at = jnp.array(point)
        assert np.abs(jax.jit(jax.grad(surface.loss))(at)).max() < 0.02 * max(1, abs(float(surface.loss(at))))
        assert np.linalg.eigvalsh(jax.jit(jax.hessian(surface.loss))(at)).min() > 0
    depths = [float(surface.loss(jnp.array(point))) for point in surface.minima]
    assert max(depths) - min(depths) < 1e-3
    assert np.nanmin(heights_of(surface)[-1]) > min(depths) - 1e-3


def test_gradient_descent_is_the_plain_loop():
    point, points = np.array([-3.0, 1.0]), []
    for _ in range(51):
        points.append(point)
        point = point - 0.02 * CURVATURE * point
    (path,) = descend(VALLEY, "gradient-descent", 0.02, [(-3.0, 1.0)], steps=50)
    np.testing.assert_allclose(path.points, points, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(path.losses, 0.5 * (CURVATURE * np.array(points) ** 2).sum(axis=1), rtol=1e-3)


@pytest.mark.parametrize(
    ("rule", "reference"),
    [
        ("momentum", optax.sgd(0.01, momentum=0.9)),
        ("nesterov", optax.sgd(0.01, momentum=0.9, nesterov=True)),
        ("adam", optax.adam(0.01)),
        ("rmsprop", None),
        ("lion", optax.lion(0.01, weight_decay=0.0)),
    ],
)
def test_rules_walk_as_optax_does(rule, reference):
    if reference is None:
        reference = RULES[rule].factory().as_optax(0.01)
    surface = SURFACES["himmelblau"]
    point = jnp.array([-0.5, 1.0])
    state, points = reference.init(point), []

    @jax.jit
    def step(point, state):
        updates, state = reference.update(jax.grad(surface.loss)(point), state, point)
        return point + updates, state

    for _ in range(41):
        points.append(np.asarray(point))
        point, state = step(point, state)
    (path,) = descend(surface, rule, 0.01, [(-0.5, 1.0)], steps=40)
    np.testing.assert_allclose(path.points, points, rtol=2e-3, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_every_rule_goes_down_the_bowl(rule):
    surface = SURFACES["bowl"]
    paths = descend(surface, rule, suggested_step_size(rule, surface), [(-3, 2), (1, 1)], steps=400)
    for path, start in zip(paths, [(-3, 2), (1, 1)], strict=True):
        assert tuple(path.points[0]) == start
        assert len(path.points) == len(path.losses) == 401
        assert path.losses[-1] < path.losses[0]


def test_one_program_serves_all_step_sizes_starts_and_noises():
    surface = SURFACES["saddle"]
    for step_size, starts, noise, steps in [(0.1, [(1, 1)], 0, 10), (0.3, [(0, 2), (1, 0)], 2.0, 99)]:
        descend(surface, "adam", step_size, starts, noise=noise, steps=steps)
    assert _compiled(surface.loss, "adam")._cache_size() == 1


def test_too_large_a_step_overshoots_and_leaves():
    (path,) = descend(VALLEY, "gradient-descent", 0.034, [(-3.0, 1.0)], steps=300)
    moves = np.sign(path.points[:, 1])
    assert (moves[1:] == -moves[:-1]).all()  # from side to side
    assert path.left
    assert path.losses[-1] > path.losses[0]
    assert "too large" in verdict(path)
    (path,) = descend(VALLEY, "gradient-descent", 0.03, [(-3.0, 1.0)], steps=1000)
    assert not path.left
    assert "came to rest" in verdict(path)


def test_momentum_rolls_through_the_shallow_dip():
    curve = SURFACES["curve"]
    (plain,) = descend(curve, "gradient-descent", 0.05, [curve.start], steps=400)
    (rolling,) = descend(curve, "momentum", 0.05, [curve.start], steps=400)
    assert plain.points[-1, 0] > 1.5
    assert rolling.points[-1, 0] == pytest.approx(curve.minima[0][0], abs=0.05)


def test_noise_gets_out_of_a_hollow_and_is_repeated_by_its_seed():
    surface = SURFACES["many-minima"]
    start = [surface.start]
    (still,) = descend(surface, "gradient-descent", 0.05, start, steps=1000)
    (shaken,) = descend(surface, "gradient-descent", 0.05, start, steps=1000, noise=8.0, seed=3)
    (again,) = descend(surface, "gradient-descent", 0.05, start, steps=1000, noise=8.0, seed=3)
    (other,) = descend(surface, "gradient-descent", 0.05, start, steps=1000, noise=8.0, seed=4)
    assert shaken.losses.min() < still.losses.min() - 0.5
    np.testing.assert_array_equal(shaken.points, again.points)
    assert not np.array_equal(shaken.points, other.points)
    # the noise is in the slope, not in the height that is drawn
    heights = [float(surface.loss(jnp.asarray(point))) for point in shaken.points[:50]]
    np.testing.assert_allclose(shaken.losses[:50], heights, rtol=1e-5)


def test_the_noise_has_the_size_that_was_asked_for():
    flat = surface_of_formula("0*x + 0*y", 1000.0)
    (path,) = descend(flat, "gradient-descent", 1.0, [(0, 0)], steps=MOST_STEPS, noise=0.5)
    assert np.diff(path.points, axis=0).std() == pytest.approx(0.5, rel=0.08)


def test_a_path_ends_where_the_loss_has_no_value():
    surface = surface_of_formula("x + log(x + y + 2)", 5.0)
    (path,) = descend(surface, "gradient-descent", 0.3, [(2.0, 2.0)], steps=200)
    assert path.lost
    assert np.isfinite(path.losses).all()
    assert "no value" in verdict(path)
    (nowhere,) = descend(surface, "gradient-descent", 0.3, [(-4.0, -4.0)], steps=5)
    assert len(nowhere.points) == 0
    assert verdict(nowhere) == "the loss has no value at the start"


def test_a_downhill_without_end_is_said_to_be_one():
    (path,) = descend(surface_of_formula("x + y", 5.0), "gradient-descent", 1.0, [(0, 0)], steps=500)
    assert path.left
    assert "without end" in verdict(path)


@pytest.mark.parametrize(
    ("surface", "start", "step_size"),
    [
        (VALLEY, (1, 1), 5.0),
        (surface_of_formula("x^10", 5.0), (5,), 20.0),  # the loss of the first step is infinite
        (surface_of_formula("x^10 - x^9", 5.0), (-5,), 20.0),  # it is not a number
    ],
    ids=["higher", "infinite", "not a number"],
)
def test_a_first_step_out_of_the_picture_is_too_large(surface, start, step_size):
    (path,) = descend(surface, "gradient-descent", step_size, [start], steps=50)
    assert len(path.points) == 1
    assert not path.beyond <= path.losses[0]
    assert verdict(path) == "went out of the picture after 1 step: the steps are too large"


def test_a_first_step_out_of_the_picture_may_lead_down():
    (path,) = descend(surface_of_formula("9*x + y", 0.1), "gradient-descent", 20, [(0, 0)], steps=9)
    assert len(path.points) == 1
    assert verdict(path) == "went out of the picture after 1 step: it goes down there without end"


def test_as_many_starts_as_are_allowed():
    starts = [(x, 1.0) for x in range(MOST_STARTS)]
    paths = descend(SURFACES["bowl"], "sgd", 0.1, starts, steps=3)
    assert [tuple(path.points[0]) for path in paths] == starts


def test_there_is_no_other_surface():
    with pytest.raises(OptionError, match="Did you mean 'bowl'"):
        surface_by_name("bowls")
