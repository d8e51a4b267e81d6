"""Averages against a list of all params, averaged in the obvious way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from downslope.errors import OptionError
from downslope.rules import adam, chain, lookahead, schedule_free_sgd, sgd, with_ema, with_swa

START = jnp.array([1.0, -2.0])


def descend(rule, steps, step_size=0.3):
    """Return the params after each step (a list) and the last state."""
    x, state, visited = START, rule.init(START), []
    for t in range(steps):
        d, state = rule.direction(x + 0.5 * jnp.cos(t), state, x, step_size=step_size)
        x = x - step_size * d
        visited.append(np.asarray(x))
    return visited, state


def test_training_is_not_touched():
    plain, _ = descend(adam(), 5)
    for rule in (with_ema(adam()), with_swa(adam(), 2)):
        np.testing.assert_array_equal(descend(rule, 5)[0], plain)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_ema_weighs_newer_params_more(steps):
    rule = with_ema(sgd(), decay=0.8)
    visited, state = descend(rule, steps)
    weights = 0.8 ** np.arange(steps)[::-1]
    assert rule.evaluated is not None
    np.testing.assert_allclose(
        rule.evaluated(jnp.asarray(visited[-1]), state), np.average(visited, 0, weights), rtol=1e-5
    )


@pytest.mark.parametrize(("start", "every"), [(1, 1), (3, 1), (2, 3)])
def test_swa_is_the_plain_mean_from_its_start(start, every):
    rule = with_swa(sgd(), start, every)
    visited, state = descend(rule, 9)
    assert rule.evaluated is not None
    np.testing.assert_allclose(
        rule.evaluated(jnp.asarray(visited[-1]), state), np.mean(visited[start - 1 :: every], 0), rtol=1e-5
    )


@pytest.mark.parametrize("rule", [with_ema(sgd()), with_swa(sgd(), 5)])
def test_before_the_first_average_the_params_are_evaluated(rule):
    np.testing.assert_array_equal(rule.evaluated(START, rule.init(START)), START)


def test_averages_of_half_params_are_kept_in_float32():
    params = jnp.ones(2, jnp.bfloat16)
    rule = with_ema(sgd())
    assert rule.init(params).average.dtype == jnp.float32
    assert jax.eval_shape(rule.evaluated, params, rule.init(params)).dtype == jnp.bfloat16


def test_lookahead_goes_half_way_back():
    visited, _ = descend(lookahead(sgd(), every=3, slow_step_size=0.5), 3)
    fast, _ = descend(sgd(), 3)
    np.testing.assert_allclose(visited[2], (np.asarray(START) + fast[2]) / 2, rtol=1e-5)
    np.testing.assert_array_equal(visited[:2], fast[:2])


def test_lookahead_survives_steps_of_size_zero():
    visited, state = descend(lookahead(sgd(), every=2), 4, step_size=0.0)
    np.testing.assert_array_equal(visited, [START] * 4)
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(state))


def test_averaging_twice_is_refused():
    for rule in (schedule_free_sgd(), with_ema(sgd()), chain(sgd(), schedule_free_sgd())):
        with pytest.raises(OptionError, match="averages its weights already"):
            with_swa(rule, 1)


def test_lookahead_keeps_the_evaluation_of_its_rule():
    assert lookahead(sgd()).evaluated is None
    rule = lookahead(with_ema(sgd(), 0.5))
    visited, state = descend(rule, 2)
    assert rule.evaluated is not None
    mean = np.average(visited, 0, [0.5, 1])
    np.testing.assert_allclose(rule.evaluated(jnp.asarray(visited[-1]), state), mean, rtol=1e-5)


def test_options_are_checked():
    with pytest.raises(OptionError, match="decay must be a number in"):
        with_ema(sgd(), 1.0)
    with pytest.raises(OptionError, match="start must be a whole number in"):
        with_swa(sgd(), 0)
    with pytest.raises(OptionError, match="slow_step_size must be a number in"):
        lookahead(sgd(), slow_step_size=2.0)
