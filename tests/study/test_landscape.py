"""Planes, coordinates, grids and lines, against NumPy's plain linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as some
from jax.flatten_util import ravel_pytree

from downslope.errors import OptionError
from downslope.gradient.backprop import Batch
from downslope.study.landscape import (
    POINTS_AT_ONCE,
    axis,
    barrier,
    checked_resolution,
    coordinates,
    line_through,
    losses_on,
    principal_plane,
    random_plane,
    span,
)


def tree(generator, scale=1.0):
    return {
        "kernel": jnp.asarray(scale * generator.normal(size=(5, 4)), jnp.float32),
        "bias": jnp.asarray(scale * generator.normal(size=4), jnp.float32),
    }


def test_principal_directions_are_singular_vectors():
    generator = np.random.default_rng(0)
    centre = tree(generator)
    path = [tree(generator) for _ in range(9)]
    plane = principal_plane(path, centre)
    away = np.stack([ravel_pytree(point)[0] - ravel_pytree(centre)[0] for point in path])
    _, values, right = np.linalg.svd(away.astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(plane.explained, values[:2] ** 2 / np.sum(values**2), rtol=1e-5)
    overlaps = np.abs(np.asarray(plane.directions) @ right[:2].T)
    np.testing.assert_allclose(overlaps, np.eye(2), atol=1e-4)


def test_a_path_in_a_plane_is_found_again():
    generator = np.random.default_rng(1)
    centre, one, two = (tree(generator) for _ in range(3))
    steps = generator.normal(size=(6, 2))
    path = [jax.tree.map(lambda c, a, b: c + x * a + y * b, centre, one, two) for x, y in steps]  # noqa: B023
    plane = principal_plane(path, centre)
    assert sum(plane.explained) == pytest.approx(1.0, abs=1e-6)
    places = coordinates(plane, [*path, centre], centre)
    assert places[-1].tolist() == [0.0, 0.0]
    assert (places[0] >= 0).all()
    flat = np.asarray(ravel_pytree(centre)[0])
    for place, point in zip(places, path, strict=False):
        np.testing.assert_allclose(
            flat + place @ np.asarray(plane.directions), ravel_pytree(point)[0], atol=2e-5
        )


def test_a_straight_path_has_no_plane():
    centre = tree(np.random.default_rng(2))
    straight = [jax.tree.map(lambda leaf: leaf * share, centre) for share in (0.0, 0.4, 0.9)]  # noqa: B023
    assert principal_plane(straight, centre) is None
    assert principal_plane([centre, centre], centre) is None


def test_random_directions_have_the_filters_lengths():
    generator = np.random.default_rng(3)
    centre = {**tree(generator), "image": jnp.asarray(generator.normal(size=(3, 3, 2, 5)), jnp.float32)}
    _, unravel = ravel_pytree(centre)
    plane = random_plane(centre, seed=4)
    for direction in plane.directions:
        drawn = unravel(direction)
        assert not drawn["bias"].any()
        for name in ("kernel", "image"):
            columns = (np.reshape(own[name], (-1, own[name].shape[-1])) for own in (drawn, centre))
            lengths = [np.linalg.norm(own, axis=0) for own in columns]
            np.testing.assert_allclose(*lengths, rtol=1e-5)
    assert not np.array_equal(*plane.directions)
    assert np.array_equal(plane.directions, random_plane(centre, seed=4).directions)
    assert not np.array_equal(plane.directions, random_plane(centre, seed=5).directions)
    only_vectors = random_plane({"x": jnp.array([3.0, 4.0])}).directions
    np.testing.assert_allclose(np.linalg.norm(only_vectors, axis=1), 5.0, rtol=1e-5)


@settings(max_examples=200, deadline=None)
@given(some.floats(-1e6, 0), some.floats(0, 1e6), some.integers(3, 301))
def test_every_axis_goes_through_zero(low, high, resolution):
    if high - low < 1e-3:
        return
    values = axis(low, high, resolution)
    assert len(values) == resolution
    assert np.count_nonzero(values == 0.0) == 1
    assert (np.diff(values) > 0).all()
    step = (high - low) / (resolution - 1)
    assert abs(values[0] - low) <= 0.51 * step
    assert abs(values[-1] - high) <= 0.51 * step


def test_a_span_holds_all_and_zero():
    low, high = span(np.array([1.0, 3.0]), least=1.0)
    assert low < 0 < 3 < high
    low, high = span(np.array([0.0]), least=2.0)
    assert high - low >= 2.0


@pytest.mark.parametrize("n", [1, POINTS_AT_ONCE - 1, POINTS_AT_ONCE, 2 * POINTS_AT_ONCE + 3])
def test_losses_are_those_of_the_moved_weights(n):
    generator = np.random.default_rng(n)
    centre = tree(generator)
    state, towards = {"mean": jnp.zeros(3)}, {"mean": jnp.ones(3)}

    def loss(params, state, batch):
        values = jnp.sum((batch.inputs @ params["kernel"] + params["bias"]) ** 2, axis=1) + jnp.sum(
            state["mean"]
        )
        return jnp.sum(values * batch.weights) / jnp.sum(batch.weights)

    inputs = jnp.asarray(generator.normal(size=(2, 6, 5)), jnp.float32)
    batches = Batch(inputs, (), jnp.asarray(generator.uniform(size=(2, 6)), jnp.float32))
    whole = Batch(inputs.reshape(12, 5), (), batches.weights.reshape(12))
    plane, points = random_plane(centre), generator.normal(size=(n, 2))
    told = []
    found = losses_on(loss, plane, centre, state, batches, points, towards=towards, listen=told.append)
    flat, unravel = ravel_pytree(centre)
    for value, point in zip(found, points, strict=True):
        moved = unravel(flat + jnp.asarray(point, jnp.float32) @ plane.directions)
        own = {"mean": jnp.full(3, point[0])}
        assert value == pytest.approx(float(loss(moved, own, whole)), rel=1e-4)
    assert told[-1] == n


def test_a_line_holds_both_ends_exactly():
    for resolution in (3, 51, 301):
        shares = line_through(resolution)
        assert {0.0, 1.0} <= set(shares.tolist())
        assert shares[0] < 0 or resolution == 3
        assert np.count_nonzero((shares >= 0) & (shares <= 1)) == resolution


def test_a_barrier_is_the_height_above_the_chord():
    shares = np.linspace(-0.5, 1.5, 201)
    ridge = 3 + 2 * shares + np.where(np.abs(shares - 0.5) < 0.2, 4 * (0.2 - np.abs(shares - 0.5)), 0)
    assert barrier(shares, ridge) == pytest.approx(0.8)
    assert barrier(shares, (shares - 0.5) ** 2) == pytest.approx(0.0, abs=1e-12)
    assert barrier(np.array([0.0, 0.5, 1.0]), np.array([1.0, np.nan, 1.0])) == np.inf


@pytest.mark.parametrize("resolution", [2, 302, -1, 5.0, True, None])
def test_resolutions_out_of_range(resolution):
    with pytest.raises(OptionError, match="--resolution must be a whole number from 3 to 301"):
        checked_resolution(resolution)
