"""Networks that a user brings: every kind of them trains, is saved, read back and says the same."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import downslope as ds
from downslope.errors import DataError, OptionError
from downslope.models.functional import as_model
from downslope.pytrees import paths
from downslope.rules import momentum, with_ema
from downslope.training import loop

INPUTS, CLASSES, ROWS = 6, 3, 150
GENERATOR = np.random.default_rng(0)
CENTRES = GENERATOR.normal(0, 2, (CLASSES, INPUTS))
Y = GENERATOR.integers(0, CLASSES, ROWS)
X = (CENTRES[Y] + GENERATOR.normal(0, 1, (ROWS, INPUTS))).astype(np.float32)
SHORT = {"epochs": 5, "batch_size": 32, "learning_rate": 0.02, "out": False, "quiet": True}
MOMENTUM = 0.9  # of the running averages


class Flax(nnx.Module):
    """Batch normalisation, dropout, and a buffer that is no parameter."""

    def __init__(self, *, rngs: nnx.Rngs, dropout: float = 0.2):
        self.first = nnx.Linear(INPUTS, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, momentum=MOMENTUM, use_fast_variance=False, rngs=rngs)
        self.drop = nnx.Dropout(dropout, rngs=rngs)
        self.last = nnx.Linear(16, CLASSES, rngs=rngs)

    def __call__(self, x, mask=None):
        real = None if mask is None else mask[:, None] > 0
        return self.last(self.drop(nnx.relu(self.norm(self.first(x), mask=real))))


class GroupNormed(nnx.Module):
    def __init__(self, *, rngs: nnx.Rngs):
        self.first, self.last = nnx.Linear(INPUTS, 16, rngs=rngs), nnx.Linear(16, CLASSES, rngs=rngs)
        self.norm = nnx.GroupNorm(16, num_groups=4, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.norm(self.first(x))))


class Equinox(eqx.Module):
    """One example in, one out; dropout and no state."""

    first: eqx.nn.Linear
    drop: eqx.nn.Dropout
    last: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key)
        self.first = eqx.nn.Linear(INPUTS, 16, key=keys[0])
        self.drop = eqx.nn.Dropout(0.2)
        self.last = eqx.nn.Linear(16, CLASSES, key=keys[1])

    def __call__(self, x, *, key):
        return self.last(self.drop(jax.nn.relu(self.first(x)), key=key))


class EquinoxNormed(eqx.Module):
    """Batch normalisation, whose state goes in and comes out."""

    first: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    last: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key)
        self.first = eqx.nn.Linear(INPUTS, 16, key=keys[0])
        self.norm = eqx.nn.BatchNorm(16, axis_name="batch", momentum=MOMENTUM, mode="batch")
        self.last = eqx.nn.Linear(16, CLASSES, key=keys[1])

    def __call__(self, x, state):
        x, state = self.norm(self.first(x), state)
        return self.last(jax.nn.relu(x)), state


def plain_init(key, example):
    first, last = jax.random.split(key)
    return {
        "first": jax.random.normal(first, (example.shape[1], 16)) / 3,
        "last": jax.random.normal(last, (16, CLASSES)) / 4,
    }


def plain_apply(params, inputs):
    return jnp.tanh(inputs @ params["first"]) @ params["last"]


def stateful_init(key, example):
    return plain_init(key, example), {"mean": jnp.zeros(16)}


def stateful_apply(params, state, inputs, *, key, train):
    """Hidden units centred by the batch's mean in training, by a running average in use; dropout."""
    x = inputs @ params["first"]
    mean = jnp.mean(x, axis=0) if train else state["mean"]
    x = jnp.tanh(x - mean)
    if train:
        state = {"mean": MOMENTUM * state["mean"] + (1 - MOMENTUM) * mean}
        x = jnp.where(jax.random.bernoulli(key, 0.8, x.shape), x / 0.8, 0.0)
    return x @ params["last"], state


def equinox_normed():
    return eqx.nn.make_with_state(EquinoxNormed)(jax.random.key(0))


KINDS = {
    "flax instance": lambda: Flax(rngs=nnx.Rngs(0)),
    "flax factory": lambda: lambda rngs: Flax(rngs=rngs),
    "flax group norm": lambda: GroupNormed(rngs=nnx.Rngs(0)),
    "equinox": lambda: Equinox(jax.random.key(0)),
    "equinox with state": equinox_normed,
    "two functions": lambda: (plain_init, plain_apply),
    "stateful functions": lambda: (stateful_init, stateful_apply),
}
WITH_STATE = ["flax instance", "flax factory", "equinox with state", "stateful functions"]
WITH_DROPOUT = ["flax instance", "flax factory", "equinox", "stateful functions"]


def floating(tree):
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def to_end(kind, out):
    return ds.train(X, Y, model=KINDS[kind](), **{**SHORT, "epochs": 25, "out": out})


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_what_is_saved_says_the_same(kind, tmp_path):
    run = to_end(kind, tmp_path / "run")
    metrics = run.summary["metrics"]["test"]
    assert metrics["accuracy"] > 0.85
    assert metrics["log_loss"] < 0.5 * np.log(CLASSES)
    assert np.mean(run.predict(X) == Y) > 0.85
    again = ds.Run.load(run.folder, model=KINDS[kind]())
    np.testing.assert_array_equal(again.predict(X), run.predict(X))
    np.testing.assert_array_equal(again.predict_proba(X), run.predict_proba(X))
    assert again.evaluate(X, Y) == run.evaluate(X, Y)

    # Running averages are updated, and not learned by descent
    params, before = as_model(KINDS[kind]()).init(jax.random.key(0), X[:1])
    after = run._trained.model_state
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert bool(floating(before)) == (kind in WITH_STATE)
    for old, new in zip(floating(before), floating(after), strict=True):
        assert not np.allclose(old, new)
    assert jax.tree.structure(run.params) == jax.tree.structure(params)
    assert run.summary["n_params"] == sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return to_end("flax instance", tmp_path_factory.mktemp("own") / "run")


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_the_command_line_cannot_read_it_and_says_so(saved, name, command, tmp_path):
    data = tmp_path / "rows.csv"
    data.write_text(",".join(f"x{i}" for i in range(INPUTS)) + "\n" + ",".join(["0.5"] * INPUTS) + "\n")
    answer = command(name, saved.folder, data)
    assert answer.code == 2
    assert answer.error == (
        "this run's network is your own: in Python, pass it too, such as Run.load(folder, model=network)"
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("flax group norm", "holds 'state/norm/mean', which the network has not"),
        ("two functions", "'params/first' is missing"),
    ],
)
def test_another_network_does_not_fit(saved, kind, said):
    with pytest.raises(ds.RunFolderError, match=said):
        ds.Run.load(saved.folder, model=KINDS[kind]())


def test_the_network_may_come_first(identical):
    made = [ds.train(KINDS["flax instance"](), X, Y, **SHORT)]
    made.append(ds.train(X, Y, model=KINDS["flax instance"](), **SHORT))
    first, second = made
    assert identical(first.params, second.params)
    assert identical(first._trained.model_state, second._trained.model_state)
    assert first.summary["metrics"] == second.summary["metrics"]


def test_labels_without_a_network_first_are_refused():
    with pytest.raises(OptionError, match="takes a network first"):
        ds.train(X, Y, Y, **SHORT)


def test_running_averages_come_from_the_forward_pass_alone():
    """With a learning rate of next to nothing, they are what feeding the same batches would make them."""
    run = ds.train(
        (stateful_init, stateful_apply),
        X,
        Y,
        **{**SHORT, "learning_rate": 1e-12, "optimizer": "sgd", "batch_size": "full", "epochs": 3},
        validation_fraction=0.0,
        test_fraction=0.0,
        schedule="constant",
    )
    mean = np.mean(X @ np.asarray(run.params["first"]), axis=0)
    np.testing.assert_allclose(
        run._trained.model_state["mean"], (1 - MOMENTUM**3) * mean, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_uses_running_averages_and_no_dropout(kind):
    model = as_model(KINDS[kind]())
    params, state = model.init(jax.random.key(0), X[:1])
    key = jax.random.key(3)
    alone, _ = model.apply(params, state, X[:1], key=None, train=False)
    among, kept = model.apply(params, state, X, key=key, train=False)
    np.testing.assert_allclose(alone[0], among[0], rtol=2e-5, atol=2e-6)  # its neighbours do not matter
    for a, b in zip(floating(kept), floating(state), strict=True):
        np.testing.assert_array_equal(a, b)
    trained, _ = model.apply(params, state, X, key=key, train=True)
    changes = kind in WITH_STATE or kind in WITH_DROPOUT
    assert np.allclose(trained, among, atol=1e-6) != changes


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flax instance", "equinox", "stateful functions"])
def test_dropout_is_drawn_anew_at_every_step_and_by_the_seed(kind):
    """Steps of size next to nothing on all rows: what differs between their losses is dropout."""
    options = {**SHORT, "learning_rate": 1e-12, "optimizer": "sgd", "batch_size": "full", "epochs": 4}
    histories = [
        ds.train(X, Y, model=KINDS[kind](), seed=seed, schedule="constant", **options).history["train_loss"]
        for seed in (0, 1)
    ]
    first, other = (history.to_pylist() for history in histories)
    assert first != other
    assert len(set(first)) == 4


def test_an_average_of_the_weights_gets_batch_statistics_of_its_own():
    """`ema` with batch normalisation, against the means of one explicit pass over the training rows."""
    seen = {}
    close_epoch = loop.close_epoch

    def observed(session):
        seen["data"], seen["order"] = session.data, session.steps_until(0)
        seen["state"] = jax.tree.map(np.asarray, session.state)
        close_epoch(session)

    rule = momentum()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "close_epoch", observed)
        run = ds.train(
            X,
            Y,
            model=lambda rngs: Flax(rngs=rngs, dropout=0.0),
            **{**SHORT, "optimizer": rule, "ema": 0.99, "epochs": 3},
            validation_fraction=0.0,
        )
    state = seen["state"]
    averaged = with_ema(rule, 0.99).evaluated(state.params, state.rule_state)
    for a, b in zip(jax.tree.leaves(run.params), jax.tree.leaves(averaged), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert not np.allclose(run.params["last"]["kernel"], state.params["last"]["kernel"], atol=1e-3)

    kernel, bias = (np.asarray(averaged["first"][name], np.float64) for name in ("kernel", "bias"))
    stretch, means, variances = seen["order"], [], []
    for step, rows in enumerate(np.asarray(stretch.order)):
        n_real = min(int(stretch.n_rows) - step * 32, 32)
        hidden = np.asarray(seen["data"].inputs, np.float64)[rows[:n_real]] @ kernel + bias
        means.append(hidden.mean(axis=0))
        variances.append(hidden.var(axis=0))
    found = run._trained.model_state["norm"]
    for name, of_batches in (("mean", means), ("var", variances)):
        np.testing.assert_allclose(found[name], np.mean(of_batches, axis=0), rtol=1e-4, atol=1e-5)
        assert not np.allclose(found[name], state.model_state["norm"][name], rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"group_norm": 4}, {"layer_norm": True}], ids=str)
def test_norms_without_a_memory_do_not_see_the_batch(options):
    run = ds.train(X, Y, hidden=(16,), **options, **{**SHORT, "epochs": 25})
    assert not jax.tree.leaves(run._trained.model_state)
    one_by_one = np.concatenate([run.predict_proba(X[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(one_by_one, run.predict_proba(X)[:5], rtol=1e-4, atol=1e-6)
    assert run.summary["metrics"]["test"]["accuracy"] > 0.85


def test_group_norm_must_divide_the_widths():
    with pytest.raises(OptionError, match="--group-norm 5 does not divide the hidden width 16"):
        ds.train(X, Y, hidden=(16,), group_norm=5, **SHORT)


@pytest.mark.parametrize(
    "network", [3, "resnet", [1, 2], None, (plain_init,)], ids=lambda x: type(x).__name__
)
def test_what_is_no_network_is_refused(network):
    with pytest.raises((OptionError, DataError)):
        ds.train(X, Y, model=network, **SHORT)


def linear(inputs: int, outputs: int):
    def init(key, example):
        return {"w": jax.random.normal(key, (inputs, outputs))}

    return init, lambda params, x: x @ params["w"]


MISFITS = {
    "other inputs": (
        linear(INPUTS + 1, CLASSES),
        {},
        r"fails on inputs of shape \(rows, 6\) in float32: dot_",
    ),
    "too few outputs": (linear(INPUTS, 2), {}, r"needs 3 outputs per row, .* of shape \(32, 3\) for 32 rows"),
    "too many outputs": (linear(INPUTS, 4), {}, r"it gives shape \(32, 4\)$"),
    "no axis of outputs": ((plain_init, lambda params, x: x[:, 0]), {}, r"it gives shape \(32,\)$"),
    "two arrays": ((plain_init, lambda params, x: (x, x)), {}, "it gives tuple$"),
    "several numbers": (linear(INPUTS, 2), {"task": "regression"}, "squared-error needs one output per row"),
    "whole numbers": (
        (plain_init, lambda params, x: x[:, :3].astype(int)),
        {},
        "gives int32, which has no slope",
    ),
    "one logit": (linear(INPUTS, 1), {"y": Y > 0}, "or pass loss='binary-cross-entropy'$"),
    "one logit for three": (linear(INPUTS, 1), {}, r"it gives shape \(32, 1\)$"),
    "low precision": (
        (plain_init, lambda params, x: jax.lax.add(x[:, :3], jnp.zeros((len(x), 3)))),
        {"precision": "bfloat16"},
        r"in bfloat16: .* Does it work in float32\?$",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_network_that_does_not_fit_is_refused_before_anything_starts(case):
    network, options, said = MISFITS[case]
    options = {**SHORT, **options}
    with pytest.raises(OptionError, match=said):
        ds.train(network, X, options.pop("y", Y), **options)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (lambda outputs, targets: outputs, r"one number per row, shape \(32,\); it gives shape \(32, 1\)$"),
        (lambda outputs, targets: jnp.mean(outputs[:, 0] - targets), r"it gives shape \(\)$"),
        (lambda outputs, targets: outputs["a"], r"of shapes \(32, 1\) and \(32,\), fails: .*indexing"),
    ],
)
def test_a_loss_that_is_not_one_number_per_row_is_refused(loss, said):
    with pytest.raises(OptionError, match=said):
        ds.train(X, X[:, 0], loss=loss, **SHORT)


def test_a_loss_of_ones_own_takes_the_outputs_that_it_likes():
    """A Gaussian with a variance of its own: mean and log variance of each row."""

    def gaussian(outputs, targets):
        return outputs[:, 1] + (outputs[:, 0] - targets) ** 2 * jnp.exp(-outputs[:, 1])

    run = ds.train(linear(INPUTS, 2), X, X[:, 0], task="regression", loss=gaussian, **SHORT)
    assert run.predict(X).shape == (ROWS,)


def test_rows_of_another_shape_are_refused(saved):
    with pytest.raises(DataError, match=r"a row has shape \(7,\), but training rows had \(6,\)"):
        saved.predict(np.zeros((2, 7), np.float32))


class Unmasked(nnx.Module):
    """Batch normalisation by a network that is not told which rows are padding."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.norm = nnx.BatchNorm(INPUTS, momentum=MOMENTUM, rngs=rngs)
        self.last = nnx.Linear(INPUTS, CLASSES, rngs=rngs)

    def __call__(self, x):
        return self.last(self.norm(x))


def test_padding_hardly_changes_what_a_batch_normalisation_sees_that_is_not_told_of_it():
    """The last batch has 2 rows and 62 of padding: other rows, as different from one another as any."""
    options = {**SHORT, "batch_size": 64, "epochs": 40, "test_fraction": 0.0, "validation_fraction": 0.0}
    network = Unmasked(rngs=nnx.Rngs(0))
    run = ds.train(network, X[:66], Y[:66], **options, early_stopping=False)
    found = dict(zip(paths(run._trained.model_state), jax.tree.leaves(run._trained.model_state), strict=True))
    np.testing.assert_allclose(found["norm/var"], X[:66].var(axis=0), rtol=0.2)
    np.testing.assert_allclose(found["norm/mean"], X[:66].mean(axis=0), atol=0.1)


def embedding(key, example):
    keys = jax.random.split(key)
    return {"table": jax.random.normal(keys[0], (10, 4)), "w": jax.random.normal(keys[1], (4, 2))}


def of_tokens(params, tokens):
    return params["table"][tokens].mean(axis=1) @ params["w"]


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 59, "accumulate": 4},  # the last batch has 2 rows: two parts are padding alone
        {
            "batch_size": 16,
            "sample_weight": (np.arange(ROWS) % 50 == 0).astype(float),
        },  # most have none that counts
    ],
    ids=["parts", "weights"],
)
def test_a_masked_batch_normalisation_bears_rows_that_do_not_count(options):
    options = {**SHORT, "test_fraction": 0.0, "validation_fraction": 0.2, **options}
    run = ds.train(Flax(rngs=nnx.Rngs(0)), X, Y, **options)
    assert run.summary["rows"]["train"] == 120
    assert run.summary["epochs"] == 5
    assert np.isfinite(run.history["train_loss"].to_numpy()).all()


def test_whole_numbers_stay_whole_numbers(tmp_path):
    tokens = GENERATOR.integers(0, 10, (200, 5))
    pair = (embedding, of_tokens)
    run = ds.train(pair, tokens, tokens[:, 0] > 4, **{**SHORT, "out": tmp_path / "tokens"})
    again = ds.Run.load(tmp_path / "tokens", model=pair)
    np.testing.assert_array_equal(again.predict(tokens), run.predict(tokens))
    with pytest.raises(DataError, match="must hold whole numbers"):
        again.predict(tokens + 0.5)
    for wide in (tokens + 2**33, (tokens + 2**31).astype(np.uint32)):
        with pytest.raises(DataError, match="must lie within"):
            ds.train(pair, wide, tokens[:, 0] > 4, **SHORT)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden": (8,)}, "--hidden is for --model mlp; a network of your own has its own layers"),
        ({"activation": "relu"}, "--activation is for --model mlp"),
        ({"batch_norm": True}, "--batch-norm is for --model mlp"),
        ({"layer_norm": True}, "--layer-norm is for --model mlp"),
        ({"group_norm": 2}, "--group-norm is for --model mlp"),
        ({"dropout": 0.5}, "--dropout is for --model mlp"),
        ({"ramps": 4}, "--ramps is for --model mlp"),
        ({"drop": ("x1",)}, "--drop is for tables; a network of your own is given its array as it is"),
    ],
    ids=str,
)
def test_options_without_an_effect_on_it_are_refused(options, said):
    with pytest.raises(OptionError, match=said):
        ds.train(Flax(rngs=nnx.Rngs(0)), X, Y, **SHORT, **options)


@pytest.mark.slow
def test_a_loss_that_a_folder_cannot_hold_is_not_measured(csv, table, tmp_path, command):
    """Read back, the default loss stands in for it: it predicts alike, but its value would be another's."""

    def scaled(outputs, targets):
        return 1000 * (outputs[:, 0] - targets) ** 2

    data, options = csv(), {**SHORT, "target": "price", "drop": ("kind",), "hidden": (4,), "epochs": 2}
    run = ds.train(data, loss=scaled, **{**options, "out": tmp_path / "run"})
    again = ds.Run.load(tmp_path / "run")
    measured = run.evaluate(data)
    assert measured.pop("loss") > 10
    assert again.evaluate(data) == measured
    answer = command("evaluate", tmp_path / "run", data, "--json")
    assert set(json.loads(answer.out)) == {"rows", "rmse", "mae", "r2"}
    found = ds.sharpness(tmp_path / "run", loss=scaled, quiet=True)
    assert found["loss"] == pytest.approx(run.summary["metrics"]["train"]["loss"], rel=1e-5)
