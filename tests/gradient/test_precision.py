"""float16 and bfloat16: what is computed in them, what is not, and what happens when they overflow."""

import json
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import downslope as ds
from downslope import losses
from downslope.errors import NonFiniteError, OptionError
from downslope.gradient.backprop import Batch, training_objective
from downslope.gradient.precision import (
    PRECISIONS,
    SMALLEST_SCALE,
    LossScale,
    in_precision,
    precision_by_name,
    summed_in_float32,
)
from downslope.models.architecture import Architecture
from downslope.models.functional import from_functions
from downslope.models.layers import Columns
from downslope.rules import adam
from downslope.stepsize.schedule import schedule_by_name
from downslope.training.state import initial_state
from downslope.training.step import Pace, make_step

LOW = ["bfloat16", "float16"]
SMALLEST = 2.0**-24  # of the numbers of float16
ROWS, INPUTS = 16, 4
PACE = Pace(jnp.float32(0.01), jnp.float32(100))
KEY = jax.random.key(0)


def examples(size=1.0):
    generator = np.random.default_rng(0)
    inputs = (size * generator.normal(0, 1, (ROWS, INPUTS))).astype(np.float32)
    targets = inputs.sum(axis=1).astype(np.float32)
    return Batch(inputs, targets, np.ones(ROWS, np.float32))


LINEAR = from_functions(
    lambda key, example: {"slope": 0.1 * jnp.ones((INPUTS, 1)), "shift": jnp.zeros(1)},
    lambda params, inputs: inputs @ params["slope"] + params["shift"],
)


def stepper(precision, model=LINEAR, batch=None):
    """A compiled step in a precision, its first state, and how often it was traced."""
    traces = []
    objective = training_objective(in_precision(model, precision), losses.squared_error())
    inner = make_step(objective, adam(), schedule_by_name("constant", warmup=0.0), precision=precision)

    def step(state, batch, key, pace):
        traces.append(1)
        return inner(state, batch, key, pace)

    batch = examples() if batch is None else batch
    params, model_state = model.init(KEY, batch.inputs)
    state = initial_state(params, model_state, adam(), loss_scale=precision.initial())
    return jax.jit(step), state, traces


def products(jaxpr):
    """Every matrix product in a program, and in the programs within it."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
        ):
            if hasattr(inner, "jaxpr"):
                yield from products(inner.jaxpr)
            elif hasattr(inner, "eqns"):
                yield from products(inner)


@pytest.mark.parametrize("norm", [{"batch_norm": True}, {"layer_norm": True}, {"group_norm": 2}], ids=str)
@pytest.mark.parametrize("name", PRECISIONS)
def test_every_product_of_both_passes_takes_the_low_dtype(name, norm):
    """The jaxpr of a whole step, forwards and backwards: the operands of its matrix products."""
    columns = Columns(INPUTS, (5,), ((-1.0, 0.0, 1.0), (), (), ()))
    model = Architecture("mlp", columns, 1, (8, 8), dropout=0.1, **norm).build()
    batch = examples()
    batch = batch._replace(inputs=(batch.inputs, np.zeros((ROWS, 1), np.int32)))
    precision = PRECISIONS[name]
    step, state, _ = stepper(precision, model, batch)
    found = list(products(jax.make_jaxpr(step)(state, batch, KEY, PACE).jaxpr))
    weight_products = [e for e in found if all(len(v.aval.shape) == 2 for v in e.invars)]
    assert len(weight_products) == 3 + 3 + 3  # forwards; to each kernel; to its inputs, embeddings among them
    for equation in weight_products:
        assert {v.aval.dtype for v in equation.invars} == {jnp.dtype(precision.dtype)}
        assert [v.aval.dtype for v in equation.outvars] == [jnp.float32]  # added up there, then rounded


@pytest.mark.parametrize("name", LOW)
def test_products_of_both_passes_are_rounded_only_once(name):
    """Sums of 512 terms, against float64: each number within half a unit in the last place of its dtype."""
    precision = PRECISIONS[name]
    random = np.random.default_rng(0)
    x, w, g = (
        jnp.asarray(random.uniform(0.0, 0.1, shape), precision.dtype)
        for shape in ((512, 16), (16, 512), (512, 512))
    )

    def products(x, w):
        outputs, backwards = jax.vjp(jnp.matmul, x, w)
        return outputs, *backwards(g)

    found = jax.jit(summed_in_float32(products, precision))(x, w)
    x, w, g = (np.asarray(a, np.float64) for a in (x, w, g))
    unit = float(jnp.finfo(precision.dtype).eps)
    for sum, exact in zip(found, (x @ w, g @ w.T, x.T @ g), strict=True):
        assert sum.dtype == precision.dtype
        np.testing.assert_allclose(np.asarray(sum, np.float64), exact, rtol=unit / 2 * 1.01)


@pytest.mark.parametrize("name", LOW)
@pytest.mark.parametrize(
    ("rows", "left", "right"), [(64, 10, 33), (64, 33, 10), (7, 1, 3), (7, 3, 1), (1, 200, 130), (64, 2, 64)]
)
def test_the_gradient_of_a_kernel_whatever_its_shape(name, rows, left, right):
    """lhsᵀ · rhs is what a backward pass asks for; it may be used as it is, turned, or within a sum."""
    precision = PRECISIONS[name]
    random = np.random.default_rng(rows + left + right)
    lhs, rhs = (jnp.asarray(random.uniform(0.0, 0.1, (rows, n)), precision.dtype) for n in (left, right))

    def used(lhs, rhs):
        sum = jax.lax.dot_general(lhs, rhs, (((0,), (0,)), ((), ())))
        return sum, sum.T, sum.T.astype(jnp.float32) * 0.5, jnp.tanh(lhs).T @ rhs

    found = jax.jit(summed_in_float32(used, precision))(lhs, rhs)
    exact = np.asarray(lhs, np.float64).T @ np.asarray(rhs, np.float64)
    unit = float(jnp.finfo(precision.dtype).eps)
    for ours, theirs in zip(found, (exact, exact.T, 0.5 * exact.T), strict=False):
        np.testing.assert_allclose(np.asarray(ours, np.float64), theirs, rtol=unit / 2 * 1.01, atol=SMALLEST)


@pytest.mark.parametrize("name", LOW)
@pytest.mark.parametrize("layer", ["bi,io->bo", "bi,oi->bo"])
def test_gradients_of_float32_weights_are_not_rounded_on_the_way(name, layer):
    precision = PRECISIONS[name]
    random = np.random.default_rng(0)
    inputs, weights, _ = layer.replace("->", ",").split(",")
    sizes = {"b": 24, "i": 10, "o": 6}
    x, w = (
        jnp.asarray(random.uniform(0.1, 0.2, [sizes[place] for place in spec]), precision.dtype)
        for spec in (inputs, weights)
    )
    bias, slope = jnp.zeros(6), jnp.asarray(random.uniform(0.1, 0.2, 6), precision.dtype)

    def loss(weights, x):
        kernel, bias = (a.astype(precision.dtype) for a in weights)
        return (slope * (jnp.einsum(layer, x, kernel) + bias)).astype(jnp.float32).sum()

    of_kernel, of_bias = jax.jit(summed_in_float32(jax.grad(loss), precision))(
        (w.astype(jnp.float32), bias), x
    )
    x, slope = (np.asarray(a, np.float64) for a in (x, slope))
    exact = np.outer(x.sum(axis=0), slope)
    if weights == "oi":  # which differentiation does not turn around
        np.testing.assert_allclose(of_kernel, exact.T, rtol=float(jnp.finfo(precision.dtype).eps))
    else:
        np.testing.assert_allclose(of_kernel, exact, rtol=1e-6)
    np.testing.assert_allclose(of_bias, 24 * slope, rtol=float(jnp.finfo(precision.dtype).eps))


@pytest.mark.parametrize("name", LOW)
def test_a_users_function_sees_low_numbers_and_all_that_lasts_is_float32(name):
    seen = {}

    def apply(params, state, inputs):
        seen.update(params=params["slope"].dtype, inputs=inputs.dtype)
        outputs = inputs @ params["slope"] + params["shift"]
        seen["outputs"] = outputs.dtype
        return outputs, {"mean": jnp.mean(outputs), "count": state["count"] + 1}

    model = from_functions(
        lambda key, example: (LINEAR.init(key, example)[0], {"mean": jnp.zeros(()), "count": jnp.int32(0)}),
        apply,
    )
    precision = replace(PRECISIONS[name], initial_scale=None if name == "bfloat16" else 2.0**8)
    step, state, _ = stepper(precision, model)
    after, info = step(state, examples(), KEY, PACE)
    assert set(seen.values()) == {jnp.dtype(precision.dtype)}
    assert info.loss.dtype == jnp.float32
    for kept in (after.params, info.gradient, after.rule_state):
        floating = {leaf.dtype for leaf in jax.tree.leaves(kept) if jnp.issubdtype(leaf.dtype, jnp.floating)}
        assert floating == {jnp.dtype("float32")}
    assert after.model_state["mean"].dtype == jnp.float32
    assert after.model_state["count"].dtype == jnp.int32
    assert int(after.model_state["count"]) == 1
    assert jax.tree.map(lambda leaf: leaf.dtype, after) == jax.tree.map(lambda leaf: leaf.dtype, state)


@pytest.mark.parametrize("name", LOW)
def test_the_loss_is_reduced_in_float32(name):
    """4,096 rows of loss 1.0: a float16 sum ends at infinity or sticks, a bfloat16 sum sticks at 256."""
    rows = 4096
    zero = from_functions(lambda key, example: {"w": jnp.zeros(())}, lambda p, x: 0 * x[:, :1] + p["w"])
    objective = training_objective(in_precision(zero, PRECISIONS[name]), losses.squared_error())
    targets = np.linspace(0, 400, rows, dtype=np.float32)  # squares far above float16's largest number
    batch = Batch(np.zeros((rows, 1), np.float32), targets, np.ones(rows, np.float32))
    params, state = zero.init(KEY, batch.inputs)
    loss, _ = jax.jit(objective)(params, state, batch, KEY)
    np.testing.assert_allclose(loss, np.mean(targets.astype(np.float64) ** 2), rtol=1e-6)


@pytest.mark.parametrize("name", LOW)
def test_the_gradient_is_near_that_of_float32(name):
    gently = replace(PRECISIONS[name], initial_scale=None if name == "bfloat16" else 2.0**8)
    gradients = [stepper(precision) for precision in (PRECISIONS["float32"], gently)]
    exact, low = (step(state, examples(), KEY, PACE)[1].gradient for step, state, _ in gradients)
    steps_of = {"bfloat16": 2.0**-8, "float16": 2.0**-11}[name]
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(low), strict=True):
        assert np.max(np.abs(a - b)) < 8 * steps_of * np.max(np.abs(a))
        assert not np.array_equal(a, b)  # else it was not computed in low precision


def test_tiny_gradients_survive_float16_by_the_scale():
    """A slope below float16's smallest number, 6e-8, is 0 on its way back without a scale, right with it."""
    faint = from_functions(
        lambda key, example: {"slope": 0.1 * jnp.ones((INPUTS, 1))},
        lambda params, inputs: (inputs @ params["slope"]) * 2.0**-20,
    )
    batch = examples()
    found = {}
    for scale in (1.0, 2.0**15):
        step, state, _ = stepper(replace(PRECISIONS["float16"], initial_scale=scale), faint)
        found[scale] = np.asarray(step(state, batch, KEY, PACE)[1].gradient["slope"])
    step, state, _ = stepper(PRECISIONS["float32"], faint)
    exact = np.asarray(step(state, batch, KEY, PACE)[1].gradient["slope"])
    np.testing.assert_allclose(found[2.0**15], exact, rtol=5e-3)
    assert np.max(np.abs(found[1.0] - exact) / np.abs(exact)) > 0.05


def test_an_overflow_skips_the_step_and_halves_the_scale(identical):
    precision = replace(PRECISIONS["float16"], initial_scale=2.0**30, growth_steps=3)
    step, state, traces = stepper(precision)
    before = jax.tree.map(np.asarray, state)
    after, info = step(state, examples(), KEY, PACE)
    assert np.isnan(info.loss)
    assert info.goes_on
    for part in ("params", "model_state", "rule_state"):
        assert identical(getattr(after, part), getattr(before, part))
    assert int(after.step) == 1
    assert float(after.loss_scale.scale) == 2.0**29
    assert int(after.loss_scale.good_steps) == 0

    scales, losses_seen = [], []
    state = after
    for _ in range(40):
        state, info = step(state, examples(), KEY, PACE)
        scales.append(float(state.loss_scale.scale))
        losses_seen.append(float(info.loss))
    good = np.isfinite(losses_seen)
    first = int(np.argmax(good))
    assert first > 5  # it really overflowed for a while
    np.testing.assert_array_equal(scales[:first], 2.0 ** np.arange(28, 28 - first, -1))
    # three good steps, then twice the scale
    np.testing.assert_array_equal(np.array(scales[first : first + 3]) / scales[first], [1, 1, 2])
    expected = precision.initial()
    for finite in [False, *good]:
        expected = precision.adjusted(expected, jnp.bool_(finite))
    assert float(expected.scale) == scales[-1]
    assert losses_seen[-1] < losses_seen[first] or not good[-1]
    assert len(traces) == 1


def test_the_scale_changes_nothing_but_the_rounding():
    ends = []
    for scale in (2.0**4, 2.0**8):
        step, state, _ = stepper(replace(PRECISIONS["float16"], initial_scale=scale))
        for _ in range(5):
            state, info = step(state, examples(), KEY, PACE)
            assert np.isfinite(info.loss)
        ends.append(np.asarray(state.params["slope"]))
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-3)


def test_a_loss_without_slope_cannot_drive_the_scale_to_infinity():
    precision = replace(PRECISIONS["float16"], growth_steps=1)
    scale = precision.initial()
    for _ in range(200):
        scale = precision.adjusted(scale, jnp.bool_(True))
    assert np.isfinite(scale.scale)
    assert float(precision.adjusted(scale, jnp.bool_(False)).scale) < float(scale.scale)


def test_growth_starts_over_after_an_overflow():
    precision = replace(PRECISIONS["float16"], growth_steps=4)
    scale = LossScale(jnp.float32(8), jnp.int32(3))
    halved = precision.adjusted(scale, jnp.bool_(False))
    assert (float(halved.scale), int(halved.good_steps)) == (4.0, 0)
    grown = precision.adjusted(scale, jnp.bool_(True))
    assert (float(grown.scale), int(grown.good_steps)) == (16.0, 0)


def test_overflow_for_good_stops_as_non_finite():
    """Targets that no float16 output can come near, and a network whose outputs are infinite."""
    too_much = from_functions(
        lambda key, example: {"w": jnp.ones((INPUTS, 1))}, lambda p, x: (x @ p["w"]) * 60000 * 60000
    )
    X = np.abs(np.random.default_rng(0).normal(1, 0.1, (64, INPUTS))).astype(np.float32)
    events = []
    with pytest.raises(NonFiniteError, match="bfloat16 or float32") as caught:
        ds.train(
            too_much,
            X,
            X.sum(axis=1),
            precision="float16",
            batch_size=8,
            epochs=1000,
            validation_fraction=0.0,
            out=False,
            quiet=True,
            listeners=[events.append],
        )
    (stopped,) = [event for event in events if event.kind == "overflow"]
    halvings = int(np.log2(PRECISIONS["float16"].initial_scale / SMALLEST_SCALE))
    assert stopped.step == halvings
    assert caught.value.result.params["w"].tolist() == [[1.0]] * INPUTS


@pytest.mark.slow
@pytest.mark.parametrize("name", LOW)
def test_digits_by_the_command_line(name, command, tmp_path, monkeypatch):
    """An overflow is injected into float16: its scale begins 25 doublings too high."""
    events = tmp_path / "run" / "events.jsonl"
    if name == "float16":
        high = replace(PRECISIONS[name], initial_scale=2.0**40)
        monkeypatch.setitem(PRECISIONS, name, high)
    answer = command("train", "--precision", name, "--json", "--seed", 0, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    summary = json.loads(answer.out)
    assert summary["precision"] == name
    assert summary["metrics"]["test"]["accuracy"] >= 0.97
    assert "non-finite" not in events.read_text()


@pytest.mark.parametrize(
    ("name", "platform", "capability", "allowed"),
    [
        ("bfloat16", "gpu", "7.0", False),
        ("bfloat16", "gpu", "7.5", False),
        ("bfloat16", "gpu", "8.0", True),
        ("bfloat16", "gpu", "10.0", True),
        ("float16", "gpu", "7.0", True),
        ("float32", "gpu", "7.0", True),
        ("float16", "tpu", None, False),
        ("bfloat16", "tpu", None, True),
        ("float16", "cpu", None, True),
    ],
)
def test_a_precision_that_the_device_lacks_is_refused(name, platform, capability, allowed):
    device = SimpleNamespace(platform=platform, device_kind="Old Thing")
    if capability is not None:
        device.compute_capability = capability
    if allowed:
        assert precision_by_name(name, device) is PRECISIONS[name]
        return
    with pytest.raises(OptionError, match=rf"^--precision {name}: Old Thing does not compute in it; use "):
        precision_by_name(name, device)


def test_an_unknown_precision_is_refused_with_the_nearest():
    with pytest.raises(OptionError, match=r"unknown 'float61'\. Did you mean 'float16'"):
        precision_by_name("float61")


def test_the_gradient_of_a_bias_adds_up_in_float32():
    slope = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (3000, 4)), jnp.bfloat16)

    def gradient(bias):
        return jax.vjp(lambda bias: jnp.zeros_like(slope) + bias, bias)[1](slope)[0]

    bias = jnp.zeros(4, jnp.bfloat16)
    for precision in (PRECISIONS["bfloat16"], PRECISIONS["float32"]):
        text = str(jax.make_jaxpr(summed_in_float32(gradient, precision))(bias))
        assert ("f32[4] = reduce_sum" in text) == (precision.name == "bfloat16")
    exact = np.asarray(slope, np.float64).sum(0)
    ours = summed_in_float32(gradient, PRECISIONS["bfloat16"])(bias)
    assert ours.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(ours, np.float64), exact, rtol=2**-8)
