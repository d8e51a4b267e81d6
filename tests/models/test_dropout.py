"""The random numbers of dropout are independent of each other, of the place, of the step."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from downslope.models.dropout import Dropout, kept

SIDE = 1000


def mask(seed=0, rate=0.3, shape=(SIDE, SIDE)):
    return np.asarray(kept(jax.random.key(seed), shape, rate))


@pytest.mark.parametrize("rate", [0.0, 1e-4, 0.1, 0.5, 0.9, 1 - 1e-12])
def test_it_silences_its_share(rate):
    silenced = SIDE**2 - mask(3, rate).sum()
    assert abs(silenced - rate * SIDE**2) <= 4 * np.sqrt(rate * (1 - rate)) * SIDE + 1


def test_no_unit_and_no_row_is_silenced_more_often_than_another():
    for axis in (0, 1):
        counts = mask().sum(axis=axis)
        expected = np.sqrt(SIDE * 0.3 * 0.7)
        assert counts.std() == pytest.approx(expected, rel=0.1)
        assert abs(counts - 0.7 * SIDE).max() < 5 * expected


@pytest.mark.parametrize("shift", [(0, 1), (0, 2), (0, 256), (1, 0), (1, 1), (16, 0), (512, 512)])
def test_places_are_independent_of_places_near_and_far(shift):
    bits = mask() - 0.7
    moved = np.roll(bits, shift, axis=(0, 1))
    assert abs((bits * moved).mean()) < 4 * 0.21 / SIDE


def test_keys_that_differ_in_a_bit_draw_masks_that_have_nothing_in_common():
    keys = [jnp.asarray(words, jnp.uint32) for words in ([0, 0], [0, 1], [1, 0], [1, 1], [0, 1 << 31])]
    masks = [np.asarray(kept(jax.random.wrap_key_data(key), (SIDE, SIDE), 0.3)) - 0.7 for key in keys]
    for one, other in combinations(masks, 2):
        assert abs((one * other).mean()) < 4 * 0.21 / SIDE
        assert abs((one[:, 1:] * other[:, :-1]).mean()) < 4 * 0.21 / SIDE


def test_the_masks_of_successive_steps_are_those_of_independent_draws():
    keys = jax.vmap(lambda step: jax.random.fold_in(jax.random.key(0), step))(np.arange(400))
    masks = np.asarray(jax.vmap(lambda key: kept(key, (500,), 0.5))(keys)) - 0.5  # (steps, units)
    together = masks.T @ masks / 400  # (units, units)
    off = together[~np.eye(500, dtype=bool)]
    assert off.std() == pytest.approx(0.25 / np.sqrt(400), rel=0.05)
    assert abs(off).max() < 6 * 0.25 / np.sqrt(400)


def test_it_is_flax_dropout_in_all_but_its_numbers():
    ours, theirs = (layer(0.5, rngs=nnx.Rngs(0)) for layer in (Dropout, nnx.Dropout))
    inputs = jnp.linspace(1.0, 2.0, 64, dtype=jnp.bfloat16).reshape(4, 16)
    for layer in (ours, theirs):
        answers = layer(inputs)
        assert answers.dtype == inputs.dtype
        stayed = answers != 0
        np.testing.assert_array_equal(answers[stayed], (inputs * 2)[stayed])
        still = nnx.view(layer, deterministic=True)
        np.testing.assert_array_equal(still(inputs), inputs)
    first, second = ours(inputs), ours(inputs)
    assert (first != second).any()  # each call draws its own
