"""Our rules follow torch.optim's trajectories, recorded by make_goldens.py, in float64."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from downslope.rules import RULES, rule_by_name

GOLDENS = np.load(Path(__file__).with_name("goldens.npz"))
ABOUT = json.loads(str(GOLDENS["cases"]))
SHAPES = {name: tuple(shape) for name, shape in ABOUT["shapes"].items()}
IN_TORCH = set(RULES) - {"lars", "lamb", "lion", "schedule-free-sgd", "schedule-free-adamw", "prodigy"}


def as_tree(flat, transposed):
    """Cut a flat vector into the leaves of SHAPES; Muon's is the matrix alone, as (inputs, outputs)."""
    if transposed:
        return {"matrix": flat[: math.prod(SHAPES["matrix"])].reshape(SHAPES["matrix"]).T}
    tree, start = {}, 0
    for name, shape in SHAPES.items():
        tree[name] = flat[start : start + math.prod(shape)].reshape(shape)
        start += math.prod(shape)
    return tree


@pytest.mark.parametrize("name", ABOUT["cases"])
def test_follows_torch(name, quick_jit):
    case = ABOUT["cases"][name]
    rule = rule_by_name(case["rule"], **case["hyper"])
    step_size = case["learning_rate"]
    transposed = case["rule"] == "muon"
    with jax.enable_x64(True):
        a, b, c, phase, start = (
            jax.tree.map(jnp.asarray, as_tree(GOLDENS[key], transposed))
            for key in ("a", "b", "c", "phase", "start")
        )

        def step(carry, t):
            x, state = carry
            grads = jax.tree.map(
                lambda x, a, b, c, phase: a * (x - c) + b * jnp.sin(3 * x) + 0.1 * jnp.cos(t + phase),
                x, a, b, c, phase,
            )  # fmt: skip
            d, state = rule.direction(grads, state, x, step_size=step_size, step=t)
            x = jax.tree.map(lambda x, d: x - step_size * d, x, d)
            return (x, state), x

        _, ours = quick_jit(lambda x: jax.lax.scan(step, (x, rule.init(x)), jnp.arange(100.0)))(start)

    for kept, expected in zip(ABOUT["kept"], GOLDENS[f"trajectory/{name}"], strict=True):
        for leaf, theirs in as_tree(expected, transposed).items():
            np.testing.assert_allclose(ours[leaf][kept - 1], theirs, rtol=1e-10, atol=1e-12, err_msg=leaf)


def test_every_rule_that_torch_has_is_recorded():
    assert {case["rule"] for case in ABOUT["cases"].values()} == IN_TORCH
