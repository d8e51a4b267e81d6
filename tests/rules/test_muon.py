import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from downslope.errors import OptionError
from downslope.rules import muon, schedule_free_sgd, sgd
from downslope.rules.muon import is_hidden_matrix, orthogonalized


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (1, 5)])
def test_orthogonalized_keeps_the_singular_vectors_and_levels_the_values(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    result = np.asarray(orthogonalized(jnp.asarray(matrix)))
    values = u.T @ result @ vt.T
    np.testing.assert_allclose(values, np.diag(np.diag(values)), atol=1e-5)
    assert np.all((np.diag(values) > 0.6) & (np.diag(values) < 1.3))
    assert len(s) == min(shape)


def test_orthogonalized_leaves_zeros_and_empty_matrices_alone():
    np.testing.assert_array_equal(orthogonalized(jnp.zeros((2, 3))), jnp.zeros((2, 3)))
    assert orthogonalized(jnp.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("path", "shape", "hidden"),
    [
        ("layers/0/kernel", (2, 2), True),
        ("layers/0/bias", (2,), False),
        ("token_embedding/table", (5, 2), False),
        ("head/kernel", (2, 5), False),
        ("output/kernel", (2, 5), False),
        ("conv/kernel", (3, 3, 2, 2), False),
    ],
)
def test_which_leaves_are_hidden_matrices(path, shape, hidden):
    assert is_hidden_matrix(path, jnp.zeros(shape)) is hidden


def test_the_rest_follows_the_other_rule_at_its_rate():
    params = {"kernel": jnp.eye(2), "bias": jnp.ones(2), "head": jnp.ones((2, 3))}
    rule = muon(other=sgd(), other_rate=0.25, weight_decay=0.0)
    direction, state = rule.direction(params, rule.init(params), params, step_size=1.0)
    np.testing.assert_array_equal(direction["bias"], 0.25 * params["bias"])
    np.testing.assert_array_equal(direction["head"], 0.25 * params["head"])
    np.testing.assert_allclose(direction["kernel"], direction["kernel"][0, 0] * np.eye(2), atol=1e-6)
    assert sum(leaf.size for leaf in jax.tree.leaves(state)) == 4  # the kernel's momentum alone


def test_own_choice_of_hidden_matrices():
    params = {"kernel": jnp.eye(2), "head": jnp.eye(2)}
    rule = muon(hidden=lambda path, leaf: path == "head", other=sgd())
    assert rule.init(params).m["kernel"] is None


def test_scale_is_checked():
    with pytest.raises(OptionError, match="scale must be 'original' or 'match_rms_adamw', got 'rms'"):
        muon(scale="rms")


def test_the_rule_for_the_rest_may_be_optax_s_or_one_that_averages():
    params = {"kernel": jnp.eye(2), "head": jnp.ones((2, 2))}
    rule = muon(other=optax.sgd(0.5))
    direction, _ = rule.direction(params, rule.init(params), params, step_size=1.0)
    np.testing.assert_allclose(direction["head"], 0.1 * 0.5 * params["head"], rtol=1e-6)
    assert rule.evaluated is None
    averaged = muon(other=schedule_free_sgd())
    assert averaged.evaluated is not None
    state = averaged.init(params)
    state = state._replace(other=state.other._replace(z=jax.tree.map(jnp.zeros_like, state.other.z)))
    found = averaged.evaluated(params, state)
    np.testing.assert_array_equal(found["kernel"], params["kernel"])
    assert np.abs(np.asarray(found["head"]) - params["head"]).max() > 0  # x is not y once z has moved


@pytest.mark.parametrize("wrong", [{"hidden": "kernel"}, {"other": "sgd"}, {"newton_schulz_steps": 5.5}])
def test_what_is_no_function_no_rule_and_no_count_is_refused(wrong):
    with pytest.raises(OptionError):
        muon(**wrong)
