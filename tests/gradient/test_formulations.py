"""Operations said in another form: the same numbers as XLA's own, whatever the shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from downslope.gradient.backprop import Batch, loss_and_gradient
from downslope.gradient.formulations import ON_CPU, in_forms_for_this_device
from downslope.gradient.precision import PRECISIONS, summed_in_float32
from downslope.gradient.rewriting import rewritten

RNG = np.random.default_rng(0)


def normal(*shape, dtype=np.float32):
    return jnp.asarray(RNG.standard_normal(shape), dtype)


def replaced(function):
    return rewritten(function, ON_CPU)


def assert_close(ours, theirs, rtol=1e-5):
    def one(a, b):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(jnp.max(jnp.abs(b)) + 1e-3))

    jax.tree.map(one, ours, theirs)


# spatial shape, window, strides, padding, window dilation, input dilation, dimension numbers
CONVOLUTIONS = [
    ((6, 6), (3, 3), (1, 1), "SAME", (1, 1), (1, 1), ("NHWC", "HWIO", "NHWC")),
    ((7, 5), (3, 2), (2, 1), "SAME", (1, 1), (1, 1), ("NHWC", "HWIO", "NHWC")),
    ((7, 5), (3, 2), (2, 3), "VALID", (1, 1), (1, 1), ("NCHW", "OIHW", "NCHW")),
    ((9, 8), (3, 3), (1, 2), [(2, 1), (0, 3)], (2, 1), (1, 1), ("NHWC", "HWIO", "NCHW")),
    ((5, 4), (3, 3), (1, 1), [(2, 2), (1, 2)], (1, 1), (2, 3), ("NHWC", "HWIO", "NHWC")),
    ((8, 8), (3, 3), (1, 1), [(-1, 1), (2, -2)], (1, 1), (1, 1), ("HWNC", "OHWI", "CNHW")),
    ((12,), (5,), (2,), "SAME", (1,), (1,), ("NWC", "WIO", "NWC")),
    ((4, 5, 4), (2, 2, 3), (1, 2, 1), "SAME", (1, 1, 1), (1, 1, 1), ("NDHWC", "DHWIO", "NDHWC")),
    ((3, 3), (3, 3), (1, 1), "VALID", (1, 1), (1, 1), ("NHWC", "HWIO", "NHWC")),
    ((4, 4), (1, 1), (2, 2), "VALID", (1, 1), (1, 1), ("NHWC", "HWIO", "NHWC")),
]


def convolved(case):
    size, window, strides, padding, window_dilation, dilation, numbers = case
    wanted = {"N": 2, "C": 3, "I": 3, "O": 4}
    inputs, filters = (
        normal(*(wanted.get(name) or shape[place.index(name)] for name in spec))
        for spec, shape in zip(numbers[:2], (size, window), strict=True)
        for place in ["".join(letter for letter in numbers[0] if letter not in "NC")]
    )
    options = {"lhs_dilation": dilation, "rhs_dilation": window_dilation, "dimension_numbers": numbers}
    return inputs, filters, lambda x, w: lax.conv_general_dilated(x, w, strides, padding, **options)


@pytest.mark.slow
@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_a_convolution_and_its_gradients(case):
    inputs, filters, convolve = convolved(case)

    def gradients(x, w):
        out, back = jax.vjp(convolve, x, w)
        return out, back(jnp.sin(out))

    ours = replaced(gradients)
    theirs = str(jax.make_jaxpr(gradients)(inputs, filters))
    left = str(jax.make_jaxpr(ours)(inputs, filters))
    assert theirs.count("conv_general_dilated[") == 3
    # what stays, with strides mostly, is in the usual order
    assert left.count("conv_general_dilated[") <= 2
    assert "rhs_spec=(0, 1" not in left
    assert_close(*jax.jit(lambda x, w: (ours(x, w), gradients(x, w)))(inputs, filters))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("channels", "dtype", "orders"),
    [
        ((2, 3), jnp.float32, "NCHW"),
        ((130, 3), jnp.float32, "NHWC"),
        ((130, 131), jnp.float32, "NHWC"),
        ((3, 2), jnp.bfloat16, "NCHW"),
        ((3, 130), jnp.bfloat16, "NHWC"),
        ((130, 131), jnp.bfloat16, "NHWC"),
        ((3, 2), jnp.float16, "NHWC"),
    ],
    ids=str,
)
def test_a_convolution_of_few_or_many_channels(channels, dtype, orders):
    n_in, n_out = channels
    size = {"N": 3, "H": 6, "W": 5, "C": n_in}
    inputs = normal(*(size[name] for name in orders), dtype=dtype)
    filters = normal(3, 3, n_in, n_out, dtype=dtype) / (9 * n_in) ** 0.5

    def gradients(x, w):
        def convolve(x, w):
            return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=(orders, "HWIO", orders))

        out, back = jax.vjp(convolve, x, w)
        return out, back(jnp.cos(out))

    precision = PRECISIONS[jnp.dtype(dtype).name]
    found = jax.jit(summed_in_float32(replaced(gradients), precision))(inputs, filters)
    exact = gradients(inputs.astype(jnp.float32), filters.astype(jnp.float32))
    assert {array.dtype for array in jax.tree.leaves(found)} == {jnp.dtype(dtype)}
    rounding = float(jnp.finfo(dtype).eps) if dtype != jnp.float32 else 1e-5
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        error = np.asarray(ours, np.float32) - np.asarray(theirs)
        assert np.abs(error).mean() < 2 * rounding * np.abs(theirs).mean()


def products(case):
    """Return how many matrix products a convolution and its gradients become."""
    inputs, filters, convolve = convolved(case)

    def gradients(x, w):
        return jax.vjp(convolve, x, w)[1](jnp.ones(jax.eval_shape(convolve, x, w).shape))

    return str(jax.make_jaxpr(replaced(gradients))(inputs, filters)).count("dot_general[")


@pytest.mark.parametrize("case", [CONVOLUTIONS[1], CONVOLUTIONS[5]], ids=str)
def test_large_convolutions_take_one_product_for_each_copy(monkeypatch, case):
    few = products(case)
    monkeypatch.setattr("downslope.gradient.convolutions.MOST_BYTES", 0)
    assert products(case) > few
    test_a_convolution_and_its_gradients(case)


def test_convolutions_add_up_in_the_dtype_that_was_asked_for():
    x, w = normal(2, 6, 6, 3, dtype=jnp.bfloat16), normal(3, 3, 3, 4, dtype=jnp.bfloat16)

    def wide(x, w):
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=numbers, preferred_element_type=jnp.float32
        )

    assert_close(replaced(wide)(x, w), wide(x, w))


@pytest.mark.parametrize(
    "options",
    [
        {"feature_group_count": 3, "window": (3, 3, 1, 6)},
        {"batch_group_count": 2, "window": (3, 3, 3, 6)},
        {"window": (9, 9, 3, 4), "padding": [(4, 4), (4, 4)], "size": 12},
    ],
    ids=str,
)
def test_what_has_no_quick_form_is_left_alone(options):
    options = dict(options)
    size, padding = options.pop("size", 6), options.pop("padding", "SAME")
    x, w = normal(2, size, size, 3), normal(*options.pop("window"))

    def convolve(x, w):
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=numbers, **options)

    assert "conv_general_dilated" in str(jax.make_jaxpr(replaced(convolve))(x, w))
    assert_close(replaced(convolve)(x, w), convolve(x, w), rtol=0)


@pytest.mark.parametrize(
    ("lhs", "rhs", "summed", "rewrites"),
    [
        ((3, 4, 5), (3, 4, 6), ((0, 1), (0, 1)), True),
        ((3, 4, 2, 5), (3, 4, 2), ((0, 1, 2), (0, 1, 2)), True),
        ((3, 4, 5, 2), (3, 4, 6, 3), ((0, 1), (0, 1)), True),
        ((90, 100, 5), (90, 100, 6), ((0, 1), (0, 1)), True),
        ((3, 3, 5), (3, 3, 6), ((0, 1), (1, 0)), False),
        ((5, 3, 4), (6, 3, 4), ((1, 2), (1, 2)), False),
        ((3, 5), (3, 6), ((0,), (0,)), False),
    ],
)
def test_sums_over_several_leading_dimensions_are_matrix_products(lhs, rhs, summed, rewrites):
    lhs, rhs = normal(*lhs), normal(*rhs)

    def multiplied(lhs, rhs):
        return lax.dot_general(lhs, rhs, (summed, ((), ())))

    theirs, ours = (str(jax.make_jaxpr(f)(lhs, rhs)) for f in (multiplied, replaced(multiplied)))
    assert ("reshape" in ours) == rewrites
    assert "reshape" not in theirs
    assert_close(replaced(multiplied)(lhs, rhs), multiplied(lhs, rhs))


def test_sums_over_a_batch_of_products_are_left_alone():
    lhs, rhs = normal(2, 3, 4, 5), normal(2, 3, 4, 6)
    numbers = (((1, 2), (1, 2)), ((0,), (0,)))
    assert_close(
        replaced(lambda a, b: lax.dot_general(a, b, numbers))(lhs, rhs),
        lax.dot_general(lhs, rhs, numbers),
        rtol=0,
    )


def pooled(window, strides=None, padding="VALID"):
    return lambda x: lax.reduce_window(x, -jnp.inf, lax.max, window, strides or window, padding)


@pytest.mark.parametrize("window", [(1, 2, 2, 1), (1, 3, 1, 1), (1, 1, 4, 2), (2, 2, 3, 1)], ids=str)
@pytest.mark.parametrize("ties", [False, True])
def test_max_pooling_and_its_gradient(window, ties):
    x = normal(2, 6, 12, 4)
    x = jnp.round(x) if ties else x

    def gradients(x):
        out, back = jax.vjp(pooled(window), x)
        return out, back(jnp.sin(out) + 2)

    text = str(jax.make_jaxpr(replaced(gradients))(x))
    assert "reduce_window" not in text
    assert "select_and_scatter" not in text
    jax.tree.map(np.testing.assert_array_equal, *jax.jit(lambda x: (replaced(gradients)(x), gradients(x)))(x))


@pytest.mark.parametrize(
    "pool",
    [pooled((1, 2, 2, 1), (1, 1, 1, 1)), pooled((1, 4, 4, 1)), pooled((1, 2, 2, 1), padding="SAME")],
    ids=["overlapping", "with a rest", "beyond the edge"],
)
def test_other_pooling_is_left_alone(pool):
    x = normal(2, 7, 7, 3)
    gradients = jax.grad(lambda x: jnp.sum(jnp.sin(pool(x))))
    assert "select_and_scatter" in str(jax.make_jaxpr(replaced(gradients))(x))
    np.testing.assert_array_equal(replaced(gradients)(x), gradients(x))


def network(params, x):
    numbers = ("NHWC", "HWIO", "NHWC")
    x = jnp.tanh(lax.conv_general_dilated(x, params[0], (1, 1), "SAME", dimension_numbers=numbers))
    return pooled((1, 2, 2, 1))(x).reshape(len(x), -1) @ params[1]


def loss(params, x):
    return jnp.mean(jnp.square(network(params, x)))


def in_a_scan(params, x):
    return lax.scan(lambda total, row: (total + loss(params, row[None]), None), 0.0, x)[0]


def checkpointed(params, x):
    return jax.checkpoint(loss)(params, x)


def branching(params, x):
    return lax.cond(x[0, 0, 0, 0] > 0, loss, lambda params, x: 2 * loss(params, x), params, x)


def batched(params, x):
    return jnp.sum(jax.vmap(lambda row: loss(params, row[None]))(x))


PARAMS = [normal(3, 3, 2, 3), normal(27, 4)]
X = normal(5, 6, 6, 2)


@pytest.mark.slow
@pytest.mark.parametrize("function", [loss, in_a_scan, checkpointed, branching, batched])
def test_whole_networks_have_the_same_gradient(function):
    gradient = jax.grad(function)
    ours, theirs = (str(jax.make_jaxpr(f)(PARAMS, X)) for f in (replaced(gradient), gradient))
    assert ours.count("conv_general_dilated[") < theirs.count("conv_general_dilated[")
    assert "select_and_scatter" not in ours
    assert_close(jax.jit(replaced(gradient))(PARAMS, X), jax.jit(gradient)(PARAMS, X), rtol=3e-5)


def test_the_gradient_agrees_with_finite_differences():
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        params = [jnp.asarray(rng.standard_normal(p.shape)) for p in PARAMS]
        x = jnp.asarray(rng.standard_normal(X.shape))
        towards = [jnp.asarray(rng.standard_normal(p.shape)) for p in PARAMS]
        slope = sum(jnp.vdot(g, t) for g, t in zip(replaced(jax.grad(loss))(params, x), towards, strict=True))
        ahead, behind = (
            loss([p + e * t for p, t in zip(params, towards, strict=True)], x) for e in (1e-6, -1e-6)
        )
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-6)


def test_it_can_be_differentiated_again():
    along = [jnp.ones_like(p) for p in PARAMS]

    def product(gradient):
        return jax.jvp(lambda params: gradient(params, X), (PARAMS,), (along,))[1]

    ours, theirs = jax.jit(lambda: (product(replaced(jax.grad(loss))), product(jax.grad(loss))))()
    assert_close(ours, theirs, rtol=1e-4)


def test_training_takes_the_quick_forms():
    def objective(params, state, batch, key):
        return loss(params, batch.inputs), state

    gradient = loss_and_gradient(objective, micro_batches=5)
    key = jax.random.key(0)
    batch = Batch(X, jnp.zeros(5), jnp.ones(5))
    text = str(jax.make_jaxpr(lambda p: gradient(p, (), batch, key))(PARAMS))
    assert ("select_and_scatter" in text) == (jax.default_backend() != "cpu")
    assert_close(gradient(PARAMS, (), batch, key)[1], jax.grad(loss)(PARAMS, X), rtol=3e-5)
    assert in_forms_for_this_device(loss)(PARAMS, X).dtype == jnp.float32
