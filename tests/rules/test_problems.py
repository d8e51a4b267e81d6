"""Every rule × every problem with a known minimum: one table, one test.

All problems share one tree of params, the weights of a small network, so that one compiled program per
rule solves all of them. Learning rates race; the best must reach the goal. That a rule *can* solve
a problem is the claim; how well its default learning rate fits is another question.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from downslope.pytrees import dot
from downslope.rules import RULES, rule_by_name
from downslope.stepsize import schedule_by_name

STEPS = 1200
RATES = 10.0 ** np.linspace(-4, 2, 13)  # × the rule's default: half decades
SHAPES = {"hidden": {"kernel": (4, 8), "bias": (8,)}, "last": {"kernel": (8, 1), "bias": (1,)}}
SIZE = 4 * 8 + 8 + 8 + 1
RNG = np.random.default_rng(0)
START = jax.tree.map(
    lambda s: RNG.normal(size=s).astype(np.float32), SHAPES, is_leaf=lambda s: type(s) is tuple
)
X = RNG.normal(size=(40, 4)).astype(np.float32)
TEACHER = np.tanh(X @ RNG.normal(size=(4, 3))).sum(1, keepdims=True).astype(np.float32)
LABELS = (X @ np.array([1.0, -2.0, 0.5, 0.0]) + RNG.normal(size=40) > 0).astype(np.float32)


def flat(params):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(params)])


def quadratic(params):
    return 0.5 * dot(params, params)


def ill_conditioned(params):
    """Curvatures from 1 to 1e4."""
    return 0.5 * jnp.sum(jnp.asarray(np.logspace(0, 4, SIZE), jnp.float32) * flat(params) ** 2)


def rosenbrock(params):
    """24 curved valleys, in each the minimum 0 at (1, 1), and a bowl for the odd one."""
    x = flat(params)
    a, b = x[0:48:2], x[1:48:2]
    return jnp.sum(100 * (b - a**2) ** 2 + (1 - a) ** 2) + x[48] ** 2


def logistic_regression(params):
    """On the first column of the hidden kernel; the penalty pulls all else to 0."""
    scores = X @ params["hidden"]["kernel"][:, 0] + params["hidden"]["bias"][0]
    return jnp.mean(jnp.logaddexp(0.0, scores) - LABELS * scores) + 0.005 * dot(params, params)


def two_layer_network(params):
    hidden = jnp.tanh(X @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return jnp.mean((hidden @ params["last"]["kernel"] + params["last"]["bias"] - TEACHER) ** 2)


@functools.cache
def minimum_of_logistic_regression():
    """By Newton's method in float64, on the five params that matter; the others are 0 at the minimum."""
    design, w = np.column_stack([X, np.ones(40)]).astype(float), np.zeros(5)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ w))
        hessian = (design.T * (p * (1 - p))) @ design / 40 + 0.01 * np.eye(5)
        w -= np.linalg.solve(hessian, design.T @ (p - LABELS) / 40 + 0.01 * w)
    scores = design @ w
    return np.mean(np.logaddexp(0, scores) - LABELS * scores) + 0.005 * w @ w


# problem: (loss, its minimum, share of the first excess over it that may be left)
PROBLEMS = {
    "quadratic": (quadratic, lambda: 0.0, 1e-5),
    "ill-conditioned": (ill_conditioned, lambda: 0.0, 1e-3),
    "rosenbrock": (rosenbrock, lambda: 0.0, 1e-2),
    "logistic-regression": (logistic_regression, minimum_of_logistic_regression, 1e-3),
    "two-layer-network": (two_layer_network, lambda: 0.0, 1e-2),
}
LOSSES = [loss for loss, _, _ in PROBLEMS.values()]


@functools.cache
def excess(name, jit):
    """Return, for each problem, the share of the first excess that the best learning rate left."""
    rule = rule_by_name(name)
    schedule = schedule_by_name(rule.schedule, warmup=0.1)

    def descend(problem, learning_rate):
        def loss(params):
            return jax.lax.switch(problem, LOSSES, params)

        def step(carry, t):
            x, state = carry
            step_size = learning_rate * schedule(t, STEPS)
            d, state = rule.direction(jax.grad(loss)(x), state, x, step_size=step_size, step=t)
            return (jax.tree.map(lambda x, d: x - step_size * d, x, d), state), None

        (x, state), _ = jax.lax.scan(step, (START, rule.init(START)), jnp.arange(STEPS))
        return loss(x if rule.evaluated is None else rule.evaluated(x, state))

    race = jit(lambda p: jax.vmap(descend, (None, 0))(p, jnp.float32(rule.learning_rate * RATES)))
    reached = np.array([race(problem) for problem in range(len(PROBLEMS))])
    first = np.array([loss(START) for loss in LOSSES])
    lowest = np.array([minimum() for _, minimum, _ in PROBLEMS.values()])
    return dict(zip(PROBLEMS, (np.nanmin(reached, 1) - lowest) / (first - lowest), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", RULES)
def test_reaches_the_minimum(name, problem, quick_jit):
    left = excess(name, quick_jit)[problem]
    assert -1e-6 <= left <= PROBLEMS[problem][2]
