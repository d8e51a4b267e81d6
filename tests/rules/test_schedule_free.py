"""Schedule-Free against a slow, obvious reference that keeps x, y and z."""

import jax.numpy as jnp
import numpy as np
import pytest

from downslope.rules import schedule_free_adamw, schedule_free_sgd

RATES = [0.0, 0.05, 0.1, 0.3, 0.3, 0.2, 0.1, 0.0, 0.4]  # warm-up, decay, pauses


def gradient(y, t):
    return (y - np.array([1.0, -1.0])) * np.array([1.0, 3.0]) + 0.2 * np.cos(t)


def reference(adam, beta=0.9, decay=0.1, b2=0.999, eps=1e-8):
    x = z = y = np.array([[0.5, 2.0]])
    largest = weights = 0.0
    v, visited = np.zeros_like(x), []
    for t, gamma in enumerate(RATES):
        g = gradient(y, t)
        if adam:
            v = b2 * v + (1 - b2) * g**2
            g = g / (np.sqrt(v / (1 - b2 ** (t + 1))) + eps)
        z = z - gamma * (g + decay * y)
        largest = max(largest, gamma)
        weight = largest**2 if gamma > 0 else 0.0
        weights += weight
        c = weight / weights if weights else 0.0
        # Without a step there is none to take the params to the new mean of x and z.
        x = (1 - c) * x + c * z
        y = (1 - beta) * z + beta * x if gamma > 0 else y
        visited.append((y, x))
    return visited


@pytest.mark.parametrize(
    ("rule", "adam"),
    [(schedule_free_sgd(weight_decay=0.1), False), (schedule_free_adamw(weight_decay=0.1), True)],
)
def test_equals_the_three_sequences_of_the_paper(rule, adam):
    y = jnp.array([[0.5, 2.0]])
    state = rule.init(y)
    for t, (gamma, (expected_y, expected_x)) in enumerate(zip(RATES, reference(adam), strict=True)):
        d, state = rule.direction(jnp.asarray(gradient(y, t)), state, y, step_size=gamma)
        y = y - gamma * d
        np.testing.assert_allclose(y, expected_y, rtol=2e-5)
        np.testing.assert_allclose(rule.evaluated(y, state), expected_x, rtol=2e-5)


def test_the_first_params_are_copied_so_that_both_may_be_donated():
    params = jnp.ones(3)
    assert schedule_free_sgd().init(params).z.unsafe_buffer_pointer() != params.unsafe_buffer_pointer()
