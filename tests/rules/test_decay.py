import jax.numpy as jnp
import numpy as np
import pytest

from downslope.rules import RULES, adam, adamw, rule_by_name, sgd
from downslope.rules.decay import add_decay

PARAMS = {"layers": [{"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}], "scale": jnp.ones(())}
STILL = {"layers": [{"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}], "scale": jnp.zeros(())}


def decayed(mask):
    tree = add_decay(STILL, PARAMS, 0.1, mask)
    return {
        name
        for name, leaf in [("kernel", tree["layers"][0]["kernel"]), ("bias", tree["layers"][0]["bias"]),
                           ("scale", tree["scale"])]
        if bool(jnp.all(leaf > 0))
    }  # fmt: skip


def test_masks():
    assert decayed("matrices") == {"kernel"}
    assert decayed(None) == {"kernel", "bias", "scale"}
    assert decayed(lambda path, leaf: path == "layers/0/bias") == {"bias"}
    assert add_decay(STILL, PARAMS, 0.0, None) is STILL


@pytest.mark.parametrize("name", RULES)
def test_no_rule_decays_biases_and_scales_unless_asked(name):
    rule = rule_by_name(name, weight_decay=0.1)
    direction, _ = rule.direction(STILL, rule.init(PARAMS), PARAMS, step_size=0.1)
    assert bool(jnp.all(direction["layers"][0]["kernel"] > 0))
    assert bool(jnp.all(direction["layers"][0]["bias"] == 0))
    assert bool(jnp.all(direction["scale"] == 0))


def test_decoupled_decay_shrinks_all_weights_by_one_factor_and_coupled_does_not():
    params = {"kernel": jnp.array([[1.0, 10.0]])}
    still = {"kernel": jnp.zeros((1, 2))}

    def direction(rule):
        return rule.direction(still, rule.init(params), params)[0]["kernel"]

    np.testing.assert_allclose(direction(adamw(weight_decay=0.1)), [[0.1, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(direction(adam(weight_decay=0.1)), [[1.0, 1.0]], rtol=1e-5)
    np.testing.assert_allclose(direction(sgd(weight_decay=0.1)), [[0.1, 1.0]], rtol=1e-6)
