import jax
import jax.numpy as jnp
import numpy as np
import pytest

from downslope.errors import OptionError
from downslope.rules import gradient_descent, lbfgs, momentum
from downslope.stepsize import backtracking


def quadratic(x):
    return 0.5 * jnp.sum(jnp.array([1.0, 10.0, 100.0]) * x * x)


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def minimize(loss, rule, start, steps, **options):
    """Descend with a line search; return the losses and the infos."""
    search = backtracking(**options)

    def step(carry, t):
        x, rule_state, search_state = carry
        value, grads = jax.value_and_grad(loss)(x)
        d, rule_state = rule.direction(grads, rule_state, x)
        step_size, search_state, info = search.search(loss, x, value, grads, d, search_state)
        return (x - step_size * d, rule_state, search_state), (value, step_size, info)

    start = jnp.asarray(start)
    return jax.jit(lambda x: jax.lax.scan(step, (x, rule.init(x), search.init()), jnp.arange(steps))[1])(
        start
    )


@pytest.mark.parametrize(
    ("loss", "rule", "start", "steps", "goal", "options"),
    [
        (quadratic, gradient_descent(), [1.0, 1.0, 1.0], 500, 1e-6, {}),
        (quadratic, lbfgs(), [1.0, 1.0, 1.0], 60, 1e-8, {"max_step_size": 1.0}),
        (rosenbrock, gradient_descent(), [-1.2, 1.0], 3000, 1e-2, {}),
        (rosenbrock, lbfgs(), [-1.2, 1.0], 80, 1e-6, {"max_step_size": 1.0}),
    ],
)
def test_reaches_the_minimum_and_never_climbs(loss, rule, start, steps, goal, options):
    values, _, info = minimize(loss, rule, start, steps, **options)
    assert values[-1] < goal
    assert np.all(values[1:] <= values[:-1] * (1 + 1e-6))
    np.testing.assert_allclose(info.loss[:-1], values[1:], rtol=1e-5)


def test_the_accepted_step_is_the_first_that_decreases_enough():
    x = jnp.array([1.0, 1.0, 1.0])
    value, grads = jax.value_and_grad(quadratic)(x)
    search = backtracking(1.0, decrease=0.1, shrink=0.5, grow=1.0)
    step_size, state, info = search.search(quadratic, x, value, grads, grads, search.init())
    slope = float(jnp.sum(grads * grads))

    def enough(step_size):
        return float(quadratic(x - step_size * grads)) <= float(value) - 0.1 * step_size * slope

    trials = 0.5 ** np.arange(int(info.evaluations))
    assert [enough(trial) for trial in trials] == [False] * (len(trials) - 1) + [True]
    assert float(step_size) == float(state.step_size) == trials[-1]


def test_grows_back():
    _, step_sizes, _ = minimize(lambda x: 1e-4 * quadratic(x), gradient_descent(), [1.0, 1.0, 1.0], 6)
    np.testing.assert_allclose(step_sizes[:5], [2.0, 4.0, 8.0, 16.0, 32.0])


def test_a_direction_that_climbs_gets_no_step():
    x = jnp.ones(3)
    value, grads = jax.value_and_grad(quadratic)(x)
    search = backtracking()
    step_size, state, info = search.search(quadratic, x, value, grads, -grads, search.init())
    assert (float(step_size), bool(info.accepted), int(info.evaluations)) == (0.0, False, 0)
    assert float(state.step_size) == 1.0


def test_gives_up_after_max_evaluations():
    x = jnp.ones(3)
    value, grads = jax.value_and_grad(quadratic)(x)
    search = backtracking(max_evaluations=3)
    step_size, _, info = search.search(quadratic, x, value, grads, grads, search.init())
    assert (float(step_size), bool(info.accepted), int(info.evaluations)) == (0.0, False, 3)
    assert float(info.loss) == float(value)


def test_walls_of_infinite_loss_are_backed_away_from():
    def loss(x):
        return jnp.where(x > 0, x - jnp.log(x), jnp.nan)

    values, _, info = minimize(loss, gradient_descent(), 0.9, 30, initial=64.0)
    assert np.all(np.isfinite(values))
    np.testing.assert_allclose(values[-1], 1.0, atol=1e-5)
    assert int(info.evaluations[0]) > 1


def test_trees_half_params_and_vmap():
    params = {"a": jnp.ones(2, jnp.bfloat16), "b": jnp.ones(())}

    def loss(p):
        return jnp.sum(p["a"].astype(jnp.float32) ** 2) + p["b"] ** 2

    def once(p):
        value, grads = jax.value_and_grad(loss)(p)
        search = backtracking()
        return search.search(loss, p, value, grads, grads, search.init())[0]

    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), params)
    np.testing.assert_allclose(jax.vmap(once)(batch), [once(params)] * 2)


def test_momentum_needs_no_change_and_stalls_are_reported():
    values, _, info = minimize(quadratic, momentum(0.5), [1.0, 1.0, 1.0], 200)
    assert values[-1] < values[0]
    assert np.all(np.asarray(info.accepted) | (np.asarray(info.loss) == np.asarray(values)))


@pytest.mark.parametrize(
    "options",
    [{"initial": 0.0}, {"decrease": 1.0}, {"shrink": 1.0}, {"grow": 0.5}, {"max_step_size": -1.0}],
)
def test_options_are_checked(options):
    with pytest.raises(OptionError, match=f"backtracking: {next(iter(options))} must be a number in"):
        backtracking(**options)
