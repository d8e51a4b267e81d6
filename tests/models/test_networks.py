"""The networks for tables against a forward pass written out in NumPy with the same weights."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import special

from downslope.errors import OptionError
from downslope.models.architecture import Architecture
from downslope.models.layers import (
    ACTIVATIONS,
    Columns,
    TableInput,
    activation_by_name,
    embedding_width,
    ramps,
)

ROWS = 12
EDGES = ((-1.0, -0.2, 0.1, 1.5), (), (-0.5, 0.5))
COLUMNS = Columns(3, (4, 30), EDGES)
EPSILON = 1e-5  # of both norms

NUMPY_ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky-relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "gelu": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "tanh": np.tanh,
    "sigmoid": special.expit,
    "softplus": lambda x: np.log1p(np.exp(x)),
}


def batch(seed=0, rows=ROWS):
    generator = np.random.default_rng(seed)
    dense = generator.normal(0, 1, (rows, COLUMNS.n_dense)).astype(np.float32)
    codes = np.stack([generator.integers(0, size, rows) for size in COLUMNS.embedding_sizes], axis=1)
    return dense, codes.astype(np.int32)


def moved(tree, seed=5):
    """Return weights that are nowhere 0 or 1, so that nothing that is left out goes unseen."""
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf + generator.normal(0, 0.3, leaf.shape).astype(np.float32), tree)


def numpy_inputs(params, dense, codes):
    parts = [dense]
    for column, edges in enumerate(EDGES):
        for low, high in itertools.pairwise(edges):
            parts.append(np.clip((dense[:, [column]] - low) / (high - low), 0, 1))
    for place in range(codes.shape[1]):
        parts.append(np.asarray(params["input"]["embeddings"][place]["embedding"])[codes[:, place]])
    return np.concatenate(parts, axis=1).astype(np.float64)


def numpy_mlp(architecture, params, state, dense, codes, batch_statistics=False, mask=None):
    x = numpy_inputs(params, dense, codes)
    for layer in range(len(architecture.hidden)):
        linear = params["linears"][layer]
        x = x @ np.asarray(linear["kernel"], np.float64)
        if not architecture.batch_norm:
            x = x + np.asarray(linear["bias"])
        if architecture.batch_norm:
            own, kept = params["batch_norms"][layer], state["batch_norms"][layer]
            mean, variance = np.asarray(kept["mean"]), np.asarray(kept["var"])
            if batch_statistics:
                real = x if mask is None else x[mask > 0]
                mean, variance = real.mean(axis=0), real.var(axis=0)
            x = (x - mean) / np.sqrt(variance + EPSILON) * np.asarray(own["scale"]) + np.asarray(own["bias"])
        if architecture.layer_norm:
            own = params["layer_norms"][layer]
            mean, variance = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
            x = (x - mean) / np.sqrt(variance + EPSILON) * np.asarray(own["scale"]) + np.asarray(own["bias"])
        x = NUMPY_ACTIVATIONS[architecture.activation](x)
    return x @ np.asarray(params["output"]["kernel"], np.float64) + np.asarray(params["output"]["bias"])


def built(**options):
    architecture = Architecture("mlp", COLUMNS, 3, **{"hidden": (6, 5), **options})
    model = architecture.build()
    params, state = model.init(jax.random.key(1), batch())
    averages = jax.tree.map(jnp.abs, moved(state))
    return architecture, model, moved(params), {**averages, "input": state["input"]}  # its ramps stay


def test_the_activations_are_all_compared():
    assert set(NUMPY_ACTIVATIONS) == set(ACTIVATIONS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_forward_pass(activation):
    architecture, model, params, state = built(activation=activation)
    outputs, _ = model.apply(params, state, batch(), key=None, train=False)
    assert outputs.shape == (ROWS, 3)
    expected = numpy_mlp(architecture, params, state, *batch())
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    "norms",
    [{"batch_norm": True}, {"layer_norm": True}, {"batch_norm": True, "layer_norm": True}],
    ids=lambda norms: "+".join(norms),
)
def test_normalised_forward_pass(norms, train):
    architecture, model, params, state = built(**norms)
    outputs, _ = model.apply(params, state, batch(), key=None, train=train)
    expected = numpy_mlp(architecture, params, state, *batch(), batch_statistics=train)
    np.testing.assert_allclose(outputs, expected, rtol=2e-4, atol=2e-4)


def test_linear_forward_pass():
    model = Architecture("linear", COLUMNS, 2).build()
    params, state = model.init(jax.random.key(0), batch())
    assert not np.any(params["output"]["kernel"])
    params = moved(params)
    outputs, _ = model.apply(params, state, batch(), key=None, train=False)
    x = numpy_inputs(params, *batch())
    expected = x @ np.asarray(params["output"]["kernel"]) + np.asarray(params["output"]["bias"])
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_no_hidden_layers_is_a_linear_model():
    architecture, model, params, state = built(hidden=())
    outputs, _ = model.apply(params, state, batch(), key=None, train=False)
    np.testing.assert_allclose(
        outputs, numpy_mlp(architecture, params, state, *batch()), rtol=1e-4, atol=1e-5
    )


# He et al. 2015: 2 ∕ fan-in; LeCun et al. 1998: 1 ∕ fan-in; Glorot & Bengio 2010: 2 ∕ (fan-in + fan-out).
HE, LECUN, GLOROT = (
    lambda ins, outs: 2 / ins,
    lambda ins, outs: 1 / ins,
    lambda ins, outs: 2 / (ins + outs),
)
VARIANCE = {
    **dict.fromkeys(["relu", "leaky-relu", "gelu", "silu", "mish", "elu"], HE),
    "selu": LECUN,
    **dict.fromkeys(["tanh", "sigmoid", "softplus"], GLOROT),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_variance_of_initial_weights(activation):
    ins, outs = 300, 100
    params, _ = (
        Architecture("mlp", Columns(ins), 2, (outs,), activation).build().init(jax.random.key(0), None)
    )
    kernel = np.asarray(params["linears"][0]["kernel"])
    assert kernel.shape == (ins, outs)
    # 30,000 weights: the variance is known to 1 %
    assert kernel.var() == pytest.approx(VARIANCE[activation](ins, outs), rel=0.05)
    assert abs(kernel.mean()) < 3 * kernel.std() / np.sqrt(kernel.size) * 1.5
    assert not np.any(params["linears"][0]["bias"])


def test_batch_norm_has_the_only_bias():
    """Another before it would have no slope but rounding errors, which Adam and LAMB blow up."""
    params, _ = (
        Architecture("mlp", Columns(3), 2, (4, 4), batch_norm=True).build().init(jax.random.key(0), None)
    )
    assert [set(layer) for layer in params["linears"].values()] == [{"kernel"}] * 2
    assert set(params["output"]) == {"kernel", "bias"}


def test_layers_do_not_share_their_random_weights():
    params, _ = Architecture("mlp", Columns(8), 8, (8, 8)).build().init(jax.random.key(0), None)
    first, second = (np.asarray(params["linears"][layer]["kernel"]) for layer in (0, 1))
    assert not np.allclose(first, second)


def test_dropout_is_random_by_key_and_off_in_evaluation():
    _, model, params, state = built(dropout=0.5)

    def outputs(key, train):
        return np.asarray(model.apply(params, state, batch(), key=key, train=train)[0])

    first, again, other = (outputs(jax.random.key(k), True) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    evaluated = outputs(None, False)
    np.testing.assert_array_equal(evaluated, outputs(jax.random.key(3), False))
    assert not np.allclose(evaluated, first)


def test_dropout_keeps_the_mean_and_silences_its_share():
    columns, share, width = Columns(4), 0.25, 4000
    architecture = Architecture("mlp", columns, 1, (width,), "relu", dropout=share)
    model = architecture.build()
    params, state = model.init(jax.random.key(0), None)
    params = {**params, "output": {"kernel": jnp.ones((width, 1)), "bias": jnp.zeros(1)}}
    inputs = (np.ones((1, 4), np.float32), np.zeros((1, 0), np.int32))
    whole = float(model.apply(params, state, inputs, key=None, train=False)[0][0, 0])
    drawn = [
        float(model.apply(params, state, inputs, key=jax.random.key(k), train=True)[0][0, 0])
        for k in range(20)
    ]
    assert np.mean(drawn) == pytest.approx(whole, rel=0.03)
    hidden = np.maximum(np.ones(4) @ np.asarray(params["linears"][0]["kernel"]), 0)
    # Variance of a sum of inverted Bernoulli draws: p ∕ (1 − p) · Σ h².
    expected = np.sqrt(share / (1 - share) * np.sum(hidden**2))
    assert np.std(drawn) == pytest.approx(expected, rel=0.6)


def test_padding_does_not_change_batch_statistics():
    _, model, params, state = built(batch_norm=True)
    dense, codes = batch()
    junk = (np.concatenate([dense, 1e3 + dense[:4]]), np.concatenate([codes, codes[:4]]))
    mask = np.concatenate([np.ones(ROWS), np.zeros(4)]).astype(np.float32)
    alone, state_alone = model.apply(params, state, (dense, codes), key=None, train=True)
    padded, state_padded = model.apply(params, state, junk, key=None, train=True, mask=mask)
    np.testing.assert_allclose(padded[:ROWS], alone, rtol=1e-4, atol=1e-5)
    for a, b in zip(jax.tree.leaves(state_alone), jax.tree.leaves(state_padded), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    unmasked, _ = model.apply(params, state, junk, key=None, train=True)
    assert not np.allclose(unmasked[:ROWS], alone, atol=1e-2)  # else this test shows nothing


def test_running_averages_follow_the_batches():
    _, model, params, state = built(batch_norm=True, hidden=(5,))
    dense, codes = batch()
    _, after = model.apply(params, state, (dense, codes), key=None, train=True)
    hidden = numpy_inputs(params, dense, codes) @ np.asarray(params["linears"][0]["kernel"])
    before = state["batch_norms"][0]
    now = after["batch_norms"][0]
    np.testing.assert_allclose(
        now["mean"], 0.9 * np.asarray(before["mean"]) + 0.1 * hidden.mean(axis=0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        now["var"], 0.9 * np.asarray(before["var"]) + 0.1 * hidden.var(axis=0), rtol=1e-4, atol=1e-5
    )
    _, evaluated = model.apply(params, state, (dense, codes), key=None, train=False)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(evaluated), strict=True):
        np.testing.assert_array_equal(a, b)


def test_ramps_are_an_obvious_loop():
    generator = np.random.default_rng(0)
    dense = generator.normal(0, 2, (50, 3)).astype(np.float32)
    dense[:4, 0] = [-1.0, 1.5, -0.2, 0.1]  # on the edges themselves
    expected = []
    for row in dense:
        cells = []
        for value, edges in zip(row, EDGES, strict=True):
            for low, high in itertools.pairwise(edges):
                cells.append(0.0 if value <= low else 1.0 if value >= high else (value - low) / (high - low))
        expected.append(cells)
    seen = TableInput(Columns(3, (), EDGES), rngs=nnx.Rngs(0))((dense, None))
    np.testing.assert_allclose(seen, np.hstack([dense, expected]), atol=1e-6)


def test_ramps_of_one_column_add_up_to_how_far_it_has_climbed():
    low, height = Columns(1, (), ((0.0, 1.0, 3.0),)).steps()
    climbed = ramps(np.array([[-5.0], [0.5], [2.0], [9.0]]), low, height)
    np.testing.assert_allclose(climbed.sum(1), [0, 0.5, 1.5, 2])


def test_counts_of_columns():
    assert COLUMNS.n_ramps == 4
    assert Columns(2).n_ramps == 0
    assert [embedding_width(n) for n in (1, 3, 100, 10**6)] == [4, 5, 13, 64]


def test_an_unknown_activation_is_refused_with_the_nearest():
    with pytest.raises(OptionError, match="Did you mean 'relu'"):
        activation_by_name("rely")


def test_codes_of_no_level_begin_in_the_middle_of_the_levels():
    architecture = Architecture("mlp", Columns(1, (40,)), 2, (8,))
    params, _ = architecture.build().init(jax.random.key(0), None)
    table = np.asarray(params["input"]["embeddings"][0]["embedding"])
    np.testing.assert_array_equal(table[:2], 0)
    assert np.all(np.abs(table[2:]).max(axis=1) > 0.01)
