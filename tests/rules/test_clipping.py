import jax.numpy as jnp
import numpy as np
import pytest

from downslope.errors import OptionError
from downslope.pytrees import norm
from downslope.rules import clip_adaptive, clip_by_global_norm, clip_by_value

GRADS = {"kernel": jnp.array([[3.0, 0.0], [0.0, 4.0]]), "bias": jnp.array([12.0, 0.0])}
PARAMS = {"kernel": jnp.array([[1.0, 0.0], [0.0, 1.0]]), "bias": jnp.zeros(2)}
CLIPS = [clip_by_global_norm(1.0), clip_by_value(1.0), clip_adaptive(0.1)]


def clipped(rule, grads=GRADS, params=PARAMS):
    return rule.direction(grads, rule.init(params), params)[0]


def test_global_norm_is_bounded_and_the_direction_stays():
    d = clipped(clip_by_global_norm(2.0))
    np.testing.assert_allclose(norm(d), 2.0, rtol=1e-6)
    np.testing.assert_allclose(d["kernel"] * 13 / 2, GRADS["kernel"], rtol=1e-6)


def test_a_short_gradient_is_left_alone():
    np.testing.assert_array_equal(clipped(clip_by_global_norm(13.5))["bias"], GRADS["bias"])


def test_value_bounds_each_coordinate():
    np.testing.assert_array_equal(clipped(clip_by_value(3.5))["kernel"], [[3.0, 0.0], [0.0, 3.5]])


def test_adaptive_bounds_each_unit_by_its_weights():
    d = clipped(clip_adaptive(0.1, eps=1e-3))
    np.testing.assert_allclose(d["kernel"], [[0.1, 0.0], [0.0, 0.1]], rtol=1e-6)
    np.testing.assert_allclose(d["bias"], [1e-4, 0.0], rtol=1e-5)  # weights of 0 count as eps


@pytest.mark.parametrize("rule", CLIPS)
def test_nothing_becomes_nothing_and_empty_and_half_leaves_pass(rule):
    params = {"empty": jnp.zeros((0, 3)), "scalar": jnp.zeros(()), "half": jnp.zeros((2, 2), jnp.float16)}
    d = clipped(rule, params, params)
    assert all(bool(jnp.all(leaf == 0)) for leaf in d.values())
    assert {name: leaf.dtype for name, leaf in d.items()} == {n: p.dtype for n, p in params.items()}


def test_limits_are_checked():
    for make, name in [
        (clip_by_global_norm, "max_norm"),
        (clip_by_value, "limit"),
        (clip_adaptive, "clipping"),
    ]:
        with pytest.raises(OptionError, match=rf"{name} must be a number in \(0, inf\), got 0.0"):
            make(0.0)
