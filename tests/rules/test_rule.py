"""The contract itself: chain, and to and from Optax."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from downslope.errors import OptionError
from downslope.rules import (
    Rule,
    adam,
    as_rule,
    chain,
    clip_by_global_norm,
    from_optax,
    lamb,
    lbfgs,
    momentum,
    muon,
    schedule_free_sgd,
    sgd,
    with_groups,
)
from downslope.rules.leafwise import each_leaf, one_minus_power

PARAMS = {"kernel": jnp.array([[3.0, 4.0]]), "bias": jnp.array([12.0])}
OWN = Rule("adam", lambda params: (), lambda grads, state, params, **_: (grads, state), learning_rate=0.1)


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


def test_chain_refuses_none():
    with pytest.raises(OptionError, match="at least one rule"):
        chain()


LINKS = {
    "clip": (optax.clip(1.0), sgd()),
    "clip by norm": (optax.clip_by_global_norm(1.0), adam()),
    "two": (optax.zero_nans(), optax.clip(1.0), sgd()),
    "centralize": (optax.centralize(), sgd()),
    "after": (adam(), optax.add_decayed_weights(1e-4)),
    "an optimizer of Optax": (optax.clip(1.0), optax.sgd(1.0)),
    "before and after": (optax.clip(10.0), sgd(), optax.clip(1.0)),
    "alone": (optax.scale_by_adam(),),
    "warmed up": (optax.sgd(optax.linear_schedule(0.0, 1.0, 2)),),
}


@pytest.mark.parametrize("name", LINKS)
def test_chain_goes_downhill_with_optax_links(name):
    """Against Optax's own chain of the same, whose last is a minus sign where it is no optimizer."""
    rule = chain(*LINKS[name])
    params = {"kernel": jnp.array([[2.0, -3.0], [0.5, 1.0]])}
    as_optax = [link.as_optax(1.0) if isinstance(link, Rule) else link for link in LINKS[name]]
    signs = [optax.scale(-1.0) if isinstance(link, Rule) else optax.identity() for link in LINKS[name]]
    links = [part for pair in zip(as_optax, signs, strict=True) for part in pair]  # directions all the way
    is_optimizer = name in ("an optimizer of Optax", "warmed up")
    expected = optax.chain(*links, optax.identity() if is_optimizer else optax.scale(-1.0))
    state, their_state = rule.init(params), expected.init(params)
    for _ in range(3):
        grads = jax.tree.map(lambda p: 2 * p, params)
        direction, state = rule.direction(grads, state, params, step_size=1.0, step=0, loss=None)
        updates, their_state = expected.update(grads, their_state, params)
        np.testing.assert_allclose(direction["kernel"], -updates["kernel"], rtol=1e-6)


def test_a_chain_is_called_after_its_last_whole_rule():
    rule = chain(adam(), optax.add_decayed_weights(1e-4))
    assert (rule.name, rule.learning_rate) == ("adam", adam().learning_rate)
    averaging = chain(schedule_free_sgd(), optax.clip(1.0))
    state = averaging.init(PARAMS)
    assert averaging.evaluated(PARAMS, state) is not None


@pytest.mark.parametrize("rule", [adam(b1=0.5), lamb(), muon(other=sgd())], ids=lambda rule: rule.name)
def test_a_rule_is_pickled_by_its_name(rule, identical):
    again = pickle.loads(pickle.dumps(rule))
    assert (again.name, again.learning_rate) == (rule.name, rule.learning_rate)
    directions = [
        r.direction(PARAMS, r.init(PARAMS), PARAMS, step_size=0.1, step=0)[0] for r in (rule, again)
    ]
    assert identical(*directions)


@pytest.mark.parametrize(
    "rule", [chain(sgd(), adam()), OWN, with_groups(sgd(), [])], ids=["chain", "own", "groups"]
)
def test_what_no_name_describes_is_not_pickled(rule):
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(rule)
    assert copy.deepcopy(rule) is copy.copy(rule) is rule  # as scikit-learn's clone copies


@pytest.mark.parametrize("leaf", [np.arange(3), np.ones(2, np.complex64)], ids=["whole", "complex"])
def test_what_is_not_floating_point_is_refused(leaf):
    with pytest.raises(OptionError, match="a rule steps in floating-point arrays"):
        adam().init({"w": leaf})


@pytest.mark.parametrize("rate", ["0.1", -0.1, 0.0, None])
def test_as_optax_refuses_what_is_no_rate(rate):
    with pytest.raises(OptionError, match=r"learning_rate must be a number in \(0, inf\)"):
        adam().as_optax(rate)


def test_as_rule():
    rule = adam()
    assert as_rule(rule) is rule
    assert as_rule(optax.adam(0.1)).learning_rate == 1.0
    with pytest.raises(OptionError, match=r"must be made by Downslope.*got str"):
        as_rule("adam")  # pyright: ignore[reportArgumentType]


def test_from_optax_hands_over_the_loss():
    rule = from_optax(optax.contrib.reduce_on_plateau())
    direction, _ = rule.direction(PARAMS, rule.init(PARAMS), PARAMS, loss=jnp.float32(1.0), step_size=0.1)
    np.testing.assert_allclose(direction["bias"], PARAMS["bias"])  # it only scales, so uphill is uphill


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
