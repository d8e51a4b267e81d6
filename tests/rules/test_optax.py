"""Our rules take Optax's steps, run side by side in float64, wherever Optax has the rule.

Where the definitions differ on purpose, the row says how, and is chosen so that they meet.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from downslope.rules import (
    RULES,
    adam,
    clip_adaptive,
    clip_by_global_norm,
    clip_by_value,
    from_optax,
    lookahead,
    rule_by_name,
    sgd,
    with_ema,
)

STEPS = 100


class Row(NamedTuple):
    rule: str
    ours: dict
    theirs: optax.GradientTransformation
    learning_rate: float
    growing: bool = False  # gradients that grow, so that the newest is always the largest


DECAY = {"weight_decay": 0.05, "decay_mask": None}
MATRICES = partial(jax.tree.map, lambda x: x.ndim >= 2)
ROWS = {
    "gradient-descent": Row("gradient-descent", {}, optax.sgd(0.05), 0.05),
    "sgd-decay": Row("sgd", DECAY, optax.chain(optax.add_decayed_weights(0.05), optax.sgd(0.05)), 0.05),
    "momentum": Row("momentum", {}, optax.sgd(0.02, momentum=0.9), 0.02),
    "nesterov": Row("nesterov", {}, optax.sgd(0.02, momentum=0.9, nesterov=True), 0.02),
    # Optax has ε inside the root: equal as ε vanishes.
    "adagrad": Row(
        "adagrad",
        {"initial_accumulator": 0.1, "eps": 1e-30},
        optax.adagrad(0.1, initial_accumulator_value=0.1, eps=1e-30),
        0.1,
    ),
    "adadelta": Row("adadelta", {}, optax.adadelta(1.0, rho=0.9, eps=1e-6), 1.0),
    "rmsprop": Row("rmsprop", {}, optax.rmsprop(0.01, decay=0.99, eps_in_sqrt=False), 0.01),
    "rmsprop-centered-momentum": Row(
        "rmsprop",
        {"centered": True, "momentum": 0.5},
        optax.rmsprop(0.01, decay=0.99, eps_in_sqrt=False, centered=True, momentum=0.5),
        0.01,
    ),
    "adam": Row("adam", {}, optax.adam(0.01), 0.01),
    # Optax corrects v for its start before the maximum, torch and we after it: equal while v̂ grows.
    "amsgrad": Row("amsgrad", {}, optax.amsgrad(0.01), 0.01, growing=True),
    "adamax": Row("adamax", {}, optax.adamax(0.01), 0.01),
    "nadam": Row("nadam", {"momentum_decay": None}, optax.nadam(0.01), 0.01),
    "nadamw": Row(
        "nadamw", {"momentum_decay": None, "weight_decay": 0.05},
        optax.nadamw(0.01, weight_decay=0.05, mask=MATRICES), 0.01,
    ),
    # Optax adds ε after the bias correction, torch and we before it: equal as ε vanishes.
    "radam": Row("radam", {"eps": 1e-30}, optax.radam(0.01, eps=1e-30), 0.01),
    "adamw": Row("adamw", DECAY, optax.adamw(0.01, weight_decay=0.05), 0.01),
    "adamw-matrices": Row(
        "adamw", {"weight_decay": 0.05}, optax.adamw(0.01, weight_decay=0.05, mask=MATRICES), 0.01
    ),
    # Layers whose weights are all 0 apart; see test_lars_starts_layers_that_are_zero.
    "lars": Row("lars", DECAY, optax.lars(2.0, weight_decay=0.05), 2.0),
    "lamb": Row("lamb", DECAY, optax.lamb(0.01, weight_decay=0.05), 0.01),
    "lion": Row("lion", DECAY, optax.lion(0.01, weight_decay=0.05), 0.01),
    # Optax has no min(step_size, 1/√t), factors only large matrices unless told, adds ε to g², and computes
    # its β in float32 unless told.
    "adafactor": Row(
        "adafactor",
        {"eps": 1e-30},
        optax.chain(
            optax.scale_by_factored_rms(
                min_dim_size_to_factor=1, epsilon=1e-60, decay_rate_fn=lambda t, p: 1 - (t + 1.0) ** -p
            ),
            optax.clip_by_block_rms(1.0),
            optax.scale_by_param_block_rms(),
            optax.scale(-0.05),
        ),
        0.05,
    ),
    # Optax corrects m for its start, which the orthogonalisation undoes unless Nesterov mixes in g.
    "muon": Row(
        "muon",
        {"nesterov": False, "weight_decay": 0.05, "other": sgd(), "eps": 1e-30},
        optax.partition(
            {"matrix": optax.contrib.muon(0.02, nesterov=False, weight_decay=0.05, eps=1e-30),
             "vector": optax.sgd(0.002)},
            {"matrix": "matrix", "vector": "vector"},
        ),
        0.02,
    ),
    "schedule-free-sgd": Row(
        "schedule-free-sgd", DECAY, optax.contrib.schedule_free_sgd(0.3, weight_decay=0.05), 0.3
    ),
    "schedule-free-adamw": Row(
        "schedule-free-adamw", DECAY, optax.contrib.schedule_free_adamw(0.02, weight_decay=0.05), 0.02
    ),
    "prodigy": Row(
        "prodigy", DECAY, optax.contrib.prodigy(1.0, weight_decay=0.05, safeguard_warmup=True), 1.0
    ),
    "prodigy-unguarded": Row("prodigy", {"safeguard_warmup": False}, optax.contrib.prodigy(0.5), 0.5),
}  # fmt: skip


def gradient(params, t, growing):
    def of_leaf(x):
        index = jnp.arange(float(x.size)).reshape(x.shape)
        if growing:
            return (1 + t) * jnp.cos(index)
        bowl = (1.5 + jnp.cos(index)) * (x - jnp.cos(3 * index))
        return bowl + 0.3 * jnp.sin(2 * index) * jnp.sin(3 * x) + 0.1 * jnp.cos(t + index)

    return jax.tree.map(of_leaf, params)


def start():
    return {"matrix": jnp.sin(jnp.arange(1.0, 13.0)).reshape(3, 4), "vector": jnp.sin(jnp.arange(1.0, 6.0))}


def run(transformation, growing=False, steps=STEPS):
    """Return the params after each step of an Optax transformation, and its last state."""

    def step(carry, t):
        x, state = carry
        updates, state = transformation.update(gradient(x, t, growing), state, x)
        x = optax.apply_updates(x, updates)
        return (x, state), x

    x = start()
    return jax.lax.scan(step, (x, transformation.init(x)), jnp.arange(float(steps)))


def assert_same(ours, theirs):
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12), ours, theirs)


@pytest.mark.parametrize("name", ROWS)
def test_takes_optax_steps(name, quick_jit):
    row = ROWS[name]
    ours = rule_by_name(row.rule, **row.ours).as_optax(row.learning_rate)
    with jax.enable_x64(True):
        both = quick_jit(lambda: (run(ours, row.growing)[1], run(row.theirs, row.growing)[1]))()
    assert_same(*both)


def test_every_rule_has_a_row():
    assert {row.rule for row in ROWS.values()} == set(RULES)


def test_lars_starts_layers_that_are_zero_at_the_trust_coefficient():
    # Optax takes ratio 1 there instead: a thousand times the step of any other layer.
    params, grads = jnp.zeros(3), jnp.ones(3)
    rule = rule_by_name("lars")
    direction, _ = rule.direction(grads, rule.init(params), params)
    np.testing.assert_allclose(direction, 0.001 * np.ones(3))
    theirs = optax.lars(1.0)
    updates, _ = theirs.update(grads, theirs.init(params), params)
    np.testing.assert_allclose(updates, -np.ones(3))


@pytest.mark.parametrize("name", ["schedule-free-sgd", "schedule-free-adamw"])
def test_schedule_free_evaluates_where_optax_does(name, quick_jit):
    row = ROWS[name]
    rule = rule_by_name(row.rule, **row.ours)
    with jax.enable_x64(True):
        (x, (_, state)), _ = quick_jit(lambda: run(rule.as_optax(row.learning_rate), steps=20))()
        (y, their_state), _ = quick_jit(lambda: run(row.theirs, steps=20))()
        assert_same(rule.evaluated(x, state), optax.contrib.schedule_free_eval_params(their_state, y))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (clip_by_global_norm(0.5), optax.clip_by_global_norm(0.5)),
        (clip_by_global_norm(50.0), optax.clip_by_global_norm(50.0)),
        (clip_by_value(0.3), optax.clip(0.3)),
        (clip_adaptive(0.05), optax.adaptive_grad_clip(0.05)),
    ],
)
def test_clips_as_optax_does(ours, theirs, quick_jit):
    with jax.enable_x64(True):
        theirs = optax.chain(theirs, optax.sgd(0.1))
        assert_same(*quick_jit(lambda: (run(ours.as_optax(0.1), steps=10)[1], run(theirs, steps=10)[1]))())


def test_lookahead_takes_optax_steps(quick_jit):
    theirs = optax.lookahead(optax.adam(0.05), sync_period=5, slow_step_size=0.4)

    def run_theirs():
        def step(carry, t):
            x, state = carry
            updates, state = theirs.update(gradient(x.fast, t, False), state, x)
            x = optax.apply_updates(x, updates)
            return (x, state), x.fast

        x = optax.LookaheadParams.init_synced(start())
        return jax.lax.scan(step, (x, theirs.init(x)), jnp.arange(23.0))[1]

    ours = lookahead(adam(), every=5, slow_step_size=0.4)
    with jax.enable_x64(True):
        assert_same(*quick_jit(lambda: (run(ours.as_optax(0.05), steps=23)[1], run_theirs()))())


def test_ema_is_optax_ema_of_the_params(quick_jit):
    rule = with_ema(sgd(), decay=0.8)
    average = optax.ema(0.8, debias=True)
    with jax.enable_x64(True):
        (x, (_, state)), visited = quick_jit(lambda: run(rule.as_optax(0.1), steps=12))()
        _, averages = jax.lax.scan(lambda s, x: average.update(x, s)[::-1], average.init(x), visited)
        assert_same(rule.evaluated(x, state), jax.tree.map(lambda a: a[-1], averages))


def test_optax_inside_out_and_back(quick_jit):
    theirs = optax.adam(0.01)
    with jax.enable_x64(True):
        assert_same(*quick_jit(lambda: (run(from_optax(theirs).as_optax(1.0))[1], run(theirs)[1]))())
