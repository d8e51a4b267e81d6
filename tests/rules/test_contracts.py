"""What every rule promises, checked for all of them at once.

One program per rule runs three steps on a tree with every awkward leaf, so that the many promises cost
one compilation. Dtype promotion is strict: a rule that mixed dtypes by accident would not compile.
"""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from downslope.errors import OptionError
from downslope.rules import RULES, Rule, rule_by_name

NAMES = list(RULES)
every_rule = pytest.mark.parametrize("name", NAMES)


def awkward_params():
    """All dtypes and ranks of leaves, empty ones included, in a tree that is nested."""
    return {
        "body": {
            "kernel": jnp.linspace(-1.0, 1.0, 12).reshape(3, 4),
            "bias": jnp.zeros(4),
            "none": None,
        },
        "half": [jnp.linspace(0.5, 2.0, 6, dtype=jnp.float16).reshape(2, 3), jnp.ones(3, jnp.float16)],
        "brain": (jnp.linspace(0.5, 2.0, 6, dtype=jnp.bfloat16).reshape(3, 2), jnp.ones((), jnp.bfloat16)),
        "filters": jnp.linspace(-1.0, 1.0, 16).reshape(2, 2, 2, 2),
        "scalar": jnp.float32(0.7),
        "empty": jnp.zeros((0,)),
        "empty matrix": jnp.zeros((0, 3)),
    }


def gradient(params):
    return jax.tree.map(lambda x: x - jnp.asarray(0.25, x.dtype), params)


def descend(rule, params, step_size, *, scan):
    """Three steps, unrolled or scanned; return params, state and the last direction."""

    def step(carry, t):
        x, state = carry
        context = {"step": t, "step_size": step_size, "loss": jnp.float32(1.0), "key": jax.random.key(0)}
        d, state = rule.direction(gradient(x), state, x, **context)
        return (jax.tree.map(lambda x, d: x - jnp.asarray(step_size, d.dtype) * d, x, d), state), d

    carry = params, rule.init(params)
    if scan:
        carry, directions = jax.lax.scan(step, carry, jnp.arange(3))
        return *carry, jax.tree.map(lambda d: d[-1], directions)
    for t in range(3):
        carry, d = step(carry, jnp.int32(t))
    return *carry, d


def descend_in_optax(rule, params, step_size):
    transformation = optax.chain(optax.scale(1.0), rule.as_optax(step_size))
    state = transformation.init(params)
    for _ in range(3):
        updates, state = transformation.update(gradient(params), state, params, value=jnp.float32(1.0))
        params = optax.apply_updates(params, updates)
    return params


@pytest.fixture
def outcome(name, quick_jit):
    return run_everything(name, quick_jit)


@functools.cache
def run_everything(name, jit):
    """Run every use of a rule in one program; return the results by use, and how often it was traced."""
    rule, traces = rule_by_name(name), []

    def program(params, step_size):
        traces.append(name)
        batch = jax.tree.map(lambda x: jnp.stack([x, x + jnp.asarray(1.0, x.dtype)]), params)
        unrolled = descend(rule, params, step_size, scan=False)
        still = jax.tree.map(jnp.zeros_like, params)
        state = rule.init(params)
        for _ in range(2):
            stopped, state = rule.direction(still, state, params, step_size=step_size)
        return {
            "unrolled": unrolled,
            "scanned": descend(rule, params, step_size, scan=True),
            "vmapped": jax.vmap(lambda x: descend(rule, x, step_size, scan=False))(batch),
            "still": (stopped, state),
            "optax": descend_in_optax(rule, params, step_size),
            "evaluated": params if rule.evaluated is None else rule.evaluated(*unrolled[:2]),
        }

    params = awkward_params()
    before = jax.tree.map(np.array, params)
    compiled = jit(program)
    with jax.numpy_dtype_promotion("strict"):
        results = compiled(params, jnp.float32(0.01))
        again = compiled(params, jnp.float32(0.01))
        faster = compiled(params, jnp.float32(0.02))
    return {
        **results,
        "again": again["unrolled"],
        "faster": faster["unrolled"],
        "traces": len(traces),
        "params": (before, params),
    }


def assert_same(a, b, rtol=0.0, atol=0.0):
    """Equal structure, dtypes and values, halves compared as float32."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        loose = {jnp.dtype("float16"): 2e-3, jnp.dtype("bfloat16"): 2e-2}.get(x.dtype, 0.0) if rtol else 0.0
        np.testing.assert_allclose(
            np.asarray(x, np.float64), np.asarray(y, np.float64), rtol=max(rtol, loose), atol=max(atol, loose)
        )


def all_finite(tree):
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(tree))


@pytest.mark.slow
@every_rule
def test_scan_equals_unrolled(name, outcome):
    assert_same(outcome["scanned"][:2], outcome["unrolled"][:2], rtol=1e-5, atol=1e-6)


@every_rule
def test_vmap_equals_one_at_a_time(name, outcome):
    first = jax.tree.map(lambda x: x[0], outcome["vmapped"])
    assert_same(first[:2], outcome["unrolled"][:2], rtol=1e-5, atol=1e-6)


@every_rule
def test_optax_takes_the_same_steps_also_inside_a_chain(name, outcome):
    assert_same(outcome["optax"], outcome["unrolled"][0], rtol=1e-5, atol=1e-6)


@every_rule
def test_is_pure(name, outcome):
    before, after = outcome["params"]
    assert_same(before, after)
    assert_same(outcome["again"], outcome["unrolled"])


@every_rule
def test_traces_once_whatever_the_learning_rate(name, outcome):
    assert outcome["traces"] == 1
    slow, fast = outcome["unrolled"][0], outcome["faster"][0]
    assert any(bool(jnp.any(a != b)) for a, b in zip(*map(jax.tree.leaves, (slow, fast)), strict=True))


@every_rule
def test_keeps_dtypes_and_shapes(name, outcome):
    params = awkward_params()
    for result in (outcome["unrolled"][0], outcome["still"][0], outcome["evaluated"]):
        assert jax.tree.map(lambda x: (x.shape, x.dtype), result) == jax.tree.map(
            lambda x: (x.shape, x.dtype), params
        )


@every_rule
def test_state_keeps_dtypes_and_is_never_below_float32(name, outcome):
    rule, params = rule_by_name(name), awkward_params()
    before = jax.eval_shape(rule.init, params)
    after = outcome["unrolled"][1]
    assert jax.tree.map(lambda x: (x.shape, x.dtype), before) == jax.tree.map(
        lambda x: (x.shape, x.dtype), after
    )
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(after)} <= {"float32", "int32"}


@every_rule
def test_gives_every_leaf_that_is_not_empty_a_finite_direction(name, outcome):
    _, state, direction = outcome["unrolled"]
    assert all_finite((direction, state))
    assert all(leaf.size == 0 or bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(direction))


@every_rule
def test_zero_gradients_give_finite_directions(name, outcome):
    direction, state = outcome["still"]
    assert all_finite((direction, state))


@every_rule
def test_zero_gradients_without_decay_give_no_direction(name):
    rule = rule_by_name(name, weight_decay=0.0)
    if name == "muon":
        rule = rule_by_name(name, weight_decay=0.0, other=rule_by_name("adamw", weight_decay=0.0))
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.zeros(2)}
    still = jax.tree.map(jnp.zeros_like, params)
    direction, _ = rule.direction(still, rule.init(params), params, step_size=0.1)
    assert all(bool(jnp.all(leaf == 0)) for leaf in jax.tree.leaves(direction))


@every_rule
def test_float64_is_kept(name):
    rule = rule_by_name(name)
    with jax.enable_x64(True):
        params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
        state = jax.eval_shape(rule.init, params)
        step = functools.partial(rule.direction, step_size=jnp.float64(0.1))
        direction, next_state = jax.eval_shape(step, params, state, params)
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(direction)} == {"float64"}
    assert jax.tree.map(lambda x: (x.shape, x.dtype), next_state) == jax.tree.map(
        lambda x: (x.shape, x.dtype), state
    )


@every_rule
def test_a_tree_without_leaves_and_a_lone_array(name):
    rule = rule_by_name(name)
    empty, _ = rule.direction({}, rule.init({}), {}, step_size=0.1)
    assert empty == {}
    lone = jax.eval_shape(lambda x: rule.direction(x, rule.init(x), x, step_size=0.1)[0], jnp.ones((2, 2)))
    assert lone.shape == (2, 2)


@every_rule
def test_gradients_of_lower_precision_are_raised(name):
    rule = rule_by_name(name)
    params = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
    grads = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
    direction = jax.eval_shape(
        lambda g: rule.direction(g, rule.init(params), params, step_size=0.1)[0], grads
    )
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(direction)} == {"float32"}


@every_rule
def test_protocol(name):
    rule = rule_by_name(name)
    assert isinstance(rule, Rule)
    assert rule.name == name
    assert rule.learning_rate > 0
    assert list(inspect.signature(rule.init).parameters) == ["params"]
    assert list(inspect.signature(rule.direction).parameters)[:3] == ["grads", "state", "params"]
    assert any(p.kind is p.VAR_KEYWORD for p in inspect.signature(rule.direction).parameters.values())


@every_rule
def test_hyperparameters_are_recorded_and_make_the_rule_again(name):
    rule, factory = rule_by_name(name), RULES[name].factory
    defaults = {p.name: p.default for p in inspect.signature(factory).parameters.values()}
    assert rule.hyperparameters == defaults
    assert rule_by_name(name, **rule.hyperparameters).hyperparameters == defaults


@every_rule
def test_hyperparameters_out_of_range_are_refused_with_value_and_range(name):
    for hyperparameter, default in rule_by_name(name).hyperparameters.items():
        if isinstance(default, float):
            for bad in (-0.5, float("nan"), "much"):
                with pytest.raises(OptionError) as error:
                    rule_by_name(name, **{hyperparameter: bad})
                message = str(error.value)
                assert name in message
                assert hyperparameter in message
                assert repr(bad) in message
                assert "[" in message or "(" in message


@every_rule
def test_decay_mask_is_checked(name):
    with pytest.raises(OptionError, match="decay_mask must be 'matrices', None or a function"):
        rule_by_name(name, decay_mask="vectors")


@every_rule
def test_documentation_has_equation_rate_memory_and_paper(name):
    text = inspect.getdoc(RULES[name].factory)
    for word in ("d = ", "Args:", "Default learning rate", "Memory: ", "Paper: "):
        assert word in text.replace("d(y) = ", "d = ").replace("direction = ", "d = ")
