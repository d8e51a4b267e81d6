"""The contract itself: chain, and to and from Optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from downslope.errors import OptionError
from downslope.rules import (
    adam,
    as_rule,
    chain,
    clip_by_global_norm,
    from_optax,
    lbfgs,
    momentum,
    schedule_free_sgd,
    sgd,
)
from downslope.rules.leafwise import each_leaf, one_minus_power

PARAMS = {"kernel": jnp.array([[3.0, 4.0]]), "bias": jnp.array([12.0])}


def test_chain_passes_each_direction_on():
    rule = chain(clip_by_global_norm(1.0), momentum(0.5))
    state = rule.init(PARAMS)
    first, state = rule.direction(PARAMS, state, PARAMS)
    second, _ = rule.direction(PARAMS, state, PARAMS)
    np.testing.assert_allclose(first["kernel"], np.array([[3.0, 4.0]]) / 13, rtol=1e-6)
    np.testing.assert_allclose(second["bias"], [1.5 * 12 / 13], rtol=1e-6)


def test_chain_is_named_after_its_last_and_records_all():
    rule = chain(clip_by_global_norm(2.0), schedule_free_sgd())
    assert (rule.name, rule.learning_rate, rule.schedule) == ("schedule-free-sgd", 1.0, "constant")
    assert [link["name"] for link in rule.hyperparameters["chain"]] == [
        "clip-by-global-norm",
        "schedule-free-sgd",
    ]
    state = rule.init(PARAMS)
    assert rule.evaluated is not None
    np.testing.assert_allclose(rule.evaluated(PARAMS, state)["bias"], PARAMS["bias"], rtol=1e-6)
    assert chain(clip_by_global_norm(2.0), adam()).evaluated is None


def test_chain_takes_optax_links_and_refuses_none():
    rule = chain(optax.clip(1.0), sgd())
    direction, _ = rule.direction(PARAMS, rule.init(PARAMS), PARAMS)
    np.testing.assert_allclose(direction["bias"], [-1.0])  # Optax's updates are added: they point down
    with pytest.raises(OptionError, match="at least one rule"):
        chain()


def test_as_rule():
    rule = adam()
    assert as_rule(rule) is rule
    assert as_rule(optax.adam(0.1)).learning_rate == 1.0
    with pytest.raises(OptionError, match=r"must be made by Downslope.*got str"):
        as_rule("adam")  # pyright: ignore[reportArgumentType]


def test_from_optax_hands_over_the_loss():
    rule = from_optax(optax.contrib.reduce_on_plateau())
    direction, _ = rule.direction(PARAMS, rule.init(PARAMS), PARAMS, loss=jnp.float32(1.0), step_size=0.1)
    np.testing.assert_allclose(direction["bias"], -PARAMS["bias"])


def test_as_optax_follows_a_schedule():
    transformation = sgd().as_optax(optax.linear_schedule(1.0, 0.0, 2))
    state, updates = transformation.init(PARAMS), []
    for _ in range(3):
        update, state = transformation.update(PARAMS, state, PARAMS)
        updates.append(float(update["bias"][0]))
    assert updates == [-12.0, -6.0, 0.0]


def test_as_optax_asks_for_the_params():
    transformation = adam().as_optax(0.1)
    with pytest.raises(OptionError, match="'adam' needs the params"):
        transformation.update(PARAMS, transformation.init(PARAMS))


def test_lbfgs_takes_newton_steps_on_a_quadratic():
    rule, curvature = lbfgs(), jnp.array([1.0, 10.0, 100.0])

    def step(carry, t):
        x, state = carry
        d, state = rule.direction(curvature * x, state, x)
        return (x - jnp.where(t == 0, 0.01, 1.0) * d, state), None

    x = jnp.ones(3)
    (x, _), _ = jax.lax.scan(step, (x, rule.init(x)), jnp.arange(25))
    np.testing.assert_allclose(x, 0, atol=1e-5)


def test_lbfgs_checks_its_memory():
    with pytest.raises(OptionError, match="memory must be a whole number in"):
        lbfgs(0)


def test_each_leaf_knows_its_outputs_without_leaves():
    assert each_leaf(lambda g, m, c: (g, m + c), {}, {}, {}, numbers=(1.0,)) == ({}, {})


def test_each_leaf_computes_in_float32_and_returns_the_direction_in_half():
    params = jnp.ones(2, jnp.bfloat16)
    d, m = each_leaf(lambda g: (g / 3, g / 3), params, params)
    assert (d.dtype, m.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(m, 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 10, 100_000])
@pytest.mark.parametrize("b", [0.0, 0.9, 0.999, 0.999999])
def test_one_minus_power_is_exact_in_float32(b, steps):
    exact = -np.expm1(steps * np.log(b)) if b else 1.0
    np.testing.assert_allclose(one_minus_power(b, jnp.int32(steps)), exact, rtol=3e-7)


def test_a_transformation_that_asks_for_more_than_there_is_is_refused():
    rule = from_optax(optax.lbfgs())
    params = jnp.ones(2)
    with pytest.raises(OptionError, match=r"asks for more than gradient, params and loss.*downslope\.lbfgs"):
        rule.direction(params, rule.init(params), params, loss=jnp.float32(1.0))
