"""The compiled searches against loops over NumPy arrays."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from downslope.study import bruteforce

PARAMS = {"kernel": np.zeros((4, 3), np.float32), "bias": np.ones(9, np.float32)}
START, UNRAVEL = ravel_pytree(PARAMS)
BOX = bruteforce.box(PARAMS)


def bowl(w):
    return jnp.sum((w - 0.3) ** 2)


def candidates(kind, radius=2.0, axes=(0, 5, 11)):
    if kind == "random":
        return bruteforce.random_candidate(START, BOX, radius, jax.random.key(3))
    return bruteforce.grid_candidate(START, BOX, radius, jnp.asarray(axes, jnp.int32))


def test_the_box_is_as_wide_as_usual_initial_weights():
    widths = UNRAVEL(BOX)
    np.testing.assert_allclose(widths["kernel"], 0.5)  # 1/√4, four inputs
    np.testing.assert_allclose(widths["bias"], 1 / 3)  # 1/√9, nine biases


@pytest.mark.parametrize("kind", ["random", "grid"])
@pytest.mark.parametrize("tries", [1, 26, 27])
def test_a_search_finds_the_best_of_its_tries(kind, tries):
    candidate = candidates(kind)
    look = jax.jit(lambda stop: bruteforce.search(bowl, candidate, bruteforce.nothing_yet(), 0, stop))
    best = look(np.int32(tries))
    losses = [float(bowl(candidate(index))) for index in range(tries)]
    assert int(best.index) == int(np.argmin(losses))
    assert float(best.loss) == pytest.approx(min(losses), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [1, 31, 32, 33, 64, 99])
def test_a_search_in_two_parts_is_the_search(cut):
    candidate = candidates("random")
    whole = bruteforce.search(bowl, candidate, bruteforce.nothing_yet(), 0, 100)
    part = bruteforce.search(bowl, candidate, bruteforce.nothing_yet(), 0, cut)
    parts = bruteforce.search(bowl, candidate, part, cut, 100)
    assert (int(parts.index), float(parts.loss)) == (int(whole.index), float(whole.loss))


def test_no_tries_change_nothing():
    best = bruteforce.Best(jnp.float32(0.5), jnp.int32(7))
    after = bruteforce.search(bowl, candidates("random"), best, 10, 10)
    assert (float(after.loss), int(after.index)) == (0.5, 7)


def test_losses_that_are_no_numbers_are_never_best():
    candidate = candidates("random")
    worse = lambda w: jnp.where(w[-1] > 0, jnp.nan, bowl(w))  # noqa: E731
    best = bruteforce.search(worse, candidate, bruteforce.nothing_yet(), 0, 200)
    losses = np.array([float(worse(candidate(index))) for index in range(200)])
    assert np.isnan(losses).any()
    assert int(best.index) == int(np.nanargmin(losses))
    none = bruteforce.search(lambda w: jnp.nan * w[0], candidate, bruteforce.nothing_yet(), 0, 40)
    assert (float(none.loss), int(none.index)) == (np.inf, 0)


def test_random_tries_fill_the_box_around_the_start():
    candidate = candidates("random", radius=2.0)
    points = jax.vmap(candidate)(jnp.arange(4000))
    np.testing.assert_array_equal(points[0], START)
    offsets = np.asarray((points[1:] - START) / BOX)
    assert np.abs(offsets).max() <= 2.0 + 1e-5
    np.testing.assert_allclose(offsets.mean(axis=0), 0.0, atol=0.1)
    np.testing.assert_allclose(offsets.std(axis=0), 2 / np.sqrt(3), rtol=0.05)


def test_the_grid_is_every_point_once_in_the_order_of_nested_loops():
    axes = (0, 5, 11)
    points = np.asarray(jax.vmap(candidates("grid", 2.0, axes))(jnp.arange(27)))
    expected = []
    for step in itertools.product((-1, 0, 1), repeat=3):
        point = np.array(START)
        point[list(axes)] += 2.0 * np.asarray(BOX)[list(axes)] * step
        expected.append(point)
    np.testing.assert_allclose(points, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("n_weights", "tries", "covered"), [(1000, 27, 3), (1000, 80, 3), (1000, 81, 4), (2, 1000, 2), (50, 1, 1)]
)
def test_a_grid_covers_as_many_weights_as_its_tries_allow(n_weights, tries, covered):
    axes = bruteforce.grid_axes(n_weights, tries, seed=0)
    assert len(axes) == len(set(axes.tolist())) == covered
    assert axes.min() >= 0
    assert axes.max() < n_weights


def test_which_weights_a_grid_covers_depends_on_the_seed_alone():
    draws = [bruteforce.grid_axes(10_000, 2187, seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_a_whole_grid_is_out_of_reach():
    assert bruteforce.tries_of_whole_grid(25_738) == pytest.approx(25_738 * np.log10(3))
