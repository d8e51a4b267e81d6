"""The formulas against counting, the compiled searches against loops, the text that names dimensions."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from downslope.errors import OptionError
from downslope.study import dimensions as bowls


def value(points, dimensions, seed):
    """f in float64, from H itself."""
    root, minimum = (np.asarray(part, np.float64) for part in bowls.problem(dimensions, seed))
    away = points - minimum
    return 0.5 * np.einsum("...i,ij,...j->...", away, root.T @ root, away)


def grid(dimensions):
    k = bowls.points_per_axis(dimensions)
    centres = (2 * np.arange(k) + 1) / k - 1
    return np.array(list(itertools.product(centres, repeat=dimensions)))


@pytest.mark.parametrize("dimensions", [1, 2, 7, 40])
def test_the_bowl_is_well_posed(dimensions):
    root, minimum = bowls.problem(dimensions, 3)
    eigenvalues = np.linalg.eigvalsh(root.astype(np.float64).T @ root)
    expected = 10 ** ((np.arange(dimensions) + 0.5) / dimensions)
    np.testing.assert_allclose(eigenvalues, expected, rtol=1e-4)
    assert set(np.abs(minimum)) == {0.5}
    assert value(np.zeros(dimensions), dimensions, 3) > bowls.TARGET  # there is something to do
    again = bowls.problem(dimensions, 3)
    assert (root == again[0]).all()


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_formula_for_random_search_is_the_share_of_the_box_that_is_low(dimensions):
    tries = 400_000
    points = np.random.default_rng(dimensions).uniform(-1, 1, (tries, dimensions))
    share = np.mean(value(points, dimensions, 5) <= bowls.TARGET)
    expected = math.log(2) / 10 ** bowls.log10_random_search(dimensions)
    assert share == pytest.approx(expected, rel=5 / math.sqrt(tries * expected))


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_random_search_takes_as_long_as_the_formula_says(dimensions):
    """The tries until the first hit are geometric: their mean is 1/p, with a deviation of 1/p."""
    seeds = range(64 if dimensions < 4 else 24)
    (found,) = (r for r in bowls.measure(dimensions, seeds) if r.method == "random-search")
    losses = [count for count in found.losses if count is not None]
    mean = 10**found.formula / math.log(2)
    assert len(losses) == len(seeds)
    assert np.mean(losses) == pytest.approx(mean, rel=4 / math.sqrt(len(seeds)))


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_grid_search_is_a_walk_over_a_grid_that_holds_a_low_point(dimensions, seed):
    points = grid(dimensions)
    low = value(points, dimensions, seed) <= bowls.TARGET
    assert low.any()
    root, minimum = bowls.problem(dimensions, seed)
    found = bowls._grid(root, minimum, jax.random.key(0), jnp.int32(10**6))
    assert int(found) == 1 + int(np.argmax(low))


def test_the_formula_for_grid_search_is_half_the_grid():
    for dimensions in (1, 2, 3):
        assert 10 ** bowls.log10_grid_search(dimensions) == pytest.approx(len(grid(dimensions)) / 2)


@pytest.mark.parametrize("dimensions", [1, 2, 16, 100])
def test_descent_is_counted_as_a_plain_loop_counts(dimensions):
    root, minimum = (np.asarray(part, np.float64) for part in bowls.problem(dimensions, 1))
    w, steps = np.zeros(dimensions), 0
    while value(w, dimensions, 1) > bowls.TARGET:
        w, steps = w - root.T @ (root @ (w - minimum)) / 10, steps + 1
    (found, *_) = bowls.measure(dimensions, [1], budget=1)
    assert found.method == "descent"
    assert found.losses == [3 * steps]


def test_a_search_that_runs_out_of_budget_says_so():
    results = {row.method: row for row in bowls.measure(4, range(3), budget=60)}
    search = results["random-search"]
    assert search.tried
    assert search.losses == [None] * 3
    assert not search.measured
    assert search.log10 == search.formula == bowls.log10_random_search(4)
    hopeless = results["grid-search"]
    assert (hopeless.tried, hopeless.losses, hopeless.log10) == (False, [], bowls.log10_grid_search(4))


def test_the_budget_is_kept_to_the_last_try():
    root, minimum = bowls.problem(4, 0)
    key = jax.random.key(0)
    first = int(bowls._random(root, minimum, key, jnp.int32(10**6)))
    assert first > 1
    assert int(bowls._random(root, minimum, key, jnp.int32(first))) == first
    assert int(bowls._random(root, minimum, key, jnp.int32(first - 1))) == 0


def test_measuring_stops_when_it_is_told_to():
    results = bowls.measure(2, range(3), stop=lambda: True)
    assert [row.tried for row in results] == [True, False, False]


def test_what_cannot_be_run_is_still_computed():
    rows = {row.method: row for row in bowls.measure(256, [0])}
    assert rows["random-search"].log10 > 300
    assert rows["grid-search"].log10 > rows["random-search"].log10
    assert rows["descent"].log10 < 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1", [1]),
        ("1,2,4,…,1024", [2**power for power in range(11)]),
        ("1, 2, 4, ..., 20", [1, 2, 4, 8, 16, 20]),
        ("10,20,…,50", [10, 20, 40, 50]),
        ("3,5,...,11", [3, 5, 7, 9, 11]),
        ("2,3,9", [2, 3, 9]),
    ],
)
def test_dots_go_on_as_the_numbers_before_them(text, found):
    assert bowls.dimensions_from(text) == found


@pytest.mark.parametrize(
    "text",
    ["", ",", "0", "-1", "1.5", "two", "4,2", "2,2", "…,8", "1,…,8", "1,2,…", "1,2,…,4,…,9", "9999999"],
)
def test_other_text_is_refused(text):
    with pytest.raises(OptionError, match="--dimensions"):
        bowls.dimensions_from(text)
