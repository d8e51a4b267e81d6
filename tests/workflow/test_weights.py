"""Sample weights and class weights, from what the user gives to what is learned."""

import jax
import numpy as np
import pandas as pd
import pytest
from sklearn.utils.class_weight import compute_class_weight

import downslope as ds
from downslope.data.split import split
from downslope.errors import DataError, OptionError
from downslope.workflow.options import options_from
from downslope.workflow.prepare import prepare
from downslope.workflow.weights import class_weights

GENERATOR = np.random.default_rng(0)
ROWS = 90
X = GENERATOR.normal(0, 1, (ROWS, 3)).astype(np.float32)
Y = np.array(["lo", "mid", "hi"])[np.digitize(X[:, 0] + GENERATOR.normal(0, 0.7, ROWS), [-1.0, 0.2])]
TIMES = GENERATOR.integers(0, 4, ROWS)
# every row trains, in one batch: two runs differ by nothing but their weights
WHOLE = {
    "test_fraction": 0.0,
    "validation_fraction": 0.0,
    "batch_size": "full",
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "schedule": "constant",
    "epochs": 20,
    "out": False,
    "quiet": True,
}


def init(key, example):
    return {"w": 0.1 * jax.random.normal(key, (3, 3)), "b": np.zeros(3, np.float32)}


def apply(params, inputs):
    return inputs @ params["w"] + params["b"]


LINEAR = (init, apply)


def frame(**more):
    return pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "kind": Y, **more})


def prepared(data, y=None, **options):
    return prepare(data, y, options_from(options))


def assert_same_weights(a, b, rtol=1e-4):
    for x, y in zip(jax.tree.leaves(a.params), jax.tree.leaves(b.params), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-5)


def test_a_weight_is_a_number_of_copies_through_the_whole_training():
    """Weights 0, 1, 2 and 3 against the rows so many times each; the rows of weight 0 are not there."""
    weighted = ds.train(LINEAR, X, Y, sample_weight=TIMES, **WHOLE)
    repeated = ds.train(LINEAR, np.repeat(X, TIMES, axis=0), np.repeat(Y, TIMES), **WHOLE)
    even = ds.train(LINEAR, X, Y, **WHOLE)
    assert_same_weights(weighted, repeated)
    assert np.max(np.abs(weighted.params["w"] - even.params["w"])) > 0.05  # else weights did nothing
    losses = [run.history["train_loss"].to_numpy() for run in (weighted, repeated)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_only_the_proportions_of_weights_count_through_a_whole_training():
    """A regression from a table, whose encoding looks at all rows whatever their weight."""
    number = 2 * X[:, 0] - X[:, 1]
    options = {**WHOLE, "hidden": (4,), "dropout": 0.0, "ramps": 0, "epochs": 5, "learning_rate": 0.05}
    runs = [
        ds.train(frame(kind=number, weight=weight), target="kind", sample_weight="weight", **options)
        for weight in (np.ones(ROWS), np.full(ROWS, 1e-3), np.full(ROWS, 5e4))
    ]
    for run in runs[1:]:
        assert_same_weights(run, runs[0])  # only proportions count


@pytest.mark.parametrize(
    "weights",
    [
        {"sample_weight": np.full(ROWS, 1e37)},
        {"sample_weight": np.full(ROWS, 1e-41)},
        {"sample_weight": np.full(ROWS, 1e200), "class_weight": {"hi": 1e100, "mid": 1e100, "lo": 1e100}},
    ],
    ids=["huge", "tiny", "product"],
)
def test_equal_weights_of_any_size_change_nothing(weights, identical):
    options = {**WHOLE, "validation_fraction": 0.2, "epochs": 3}
    weighted, plain = ds.train(LINEAR, X, Y, **weights, **options), ds.train(LINEAR, X, Y, **options)
    assert identical(weighted.params, plain.params)
    assert weighted.summary["metrics"] == plain.summary["metrics"]


def test_a_class_of_huge_weight_is_all_that_counts():
    rows = prepared(X, Y, model=LINEAR, class_weight={"hi": 1e39}).rows["train"]
    is_hi = rows.targets == 0
    assert np.isfinite(rows.weights).all()
    np.testing.assert_allclose(rows.weights[is_hi], len(is_hi) / is_hi.sum(), rtol=1e-6)
    with pytest.raises(DataError, match="sample weight times class weight is infinite; give smaller weights"):
        prepared(X, Y, model=LINEAR, sample_weight=np.full(ROWS, 1e200), class_weight={"hi": 1e200})


def test_the_column_of_weights_is_no_input():
    data = frame(weight=TIMES.astype(float))
    without = prepared(frame(), target="kind")
    with_weights = prepared(data, target="kind", sample_weight="weight")
    assert with_weights.n_columns == without.n_columns == 3
    for part, batch in without.rows.items():
        for a, b in zip(
            jax.tree.leaves(batch.inputs), jax.tree.leaves(with_weights.rows[part].inputs), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    assert "weight" not in str(with_weights.encoding.to_json())


def test_a_column_and_an_array_say_the_same():
    weight = GENERATOR.uniform(0, 2, ROWS)
    by_column = prepared(frame(weight=weight), target="kind", sample_weight="weight")
    by_array = prepared(frame(), target="kind", sample_weight=weight)
    np.testing.assert_array_equal(by_column.rows["train"].weights, by_array.rows["train"].weights)
    places = split(ROWS, seed=0, classes=np.unique(Y, return_inverse=True)[1]).train
    expected = weight[places] / weight[places].mean()
    np.testing.assert_allclose(by_array.rows["train"].weights, expected, rtol=1e-6)


@pytest.mark.parametrize("options", [{"sample_weight": TIMES}, {"class_weight": "balanced"}], ids=str)
def test_rows_that_steer_are_weighted_and_test_rows_are_not(options):
    rows = prepared(X, Y, model=LINEAR, **options).rows
    for part in ("train", "validation"):
        assert len(set(rows[part].weights.tolist())) > 1
    by_class = dict(zip(rows["train"].targets.tolist(), rows["train"].weights.tolist(), strict=True))
    if "class_weight" in options:
        expected = np.array([by_class[code] for code in rows["validation"].targets.tolist()])
        np.testing.assert_allclose(rows["validation"].weights, expected / expected.mean(), rtol=1e-6)
    np.testing.assert_array_equal(rows["test"].weights, np.ones(len(rows["test"].weights)))


def test_validation_rows_that_all_weigh_nothing_count_alike():
    parts = split(ROWS, seed=0, classes=np.unique(Y, return_inverse=True)[1])
    weight = np.ones(ROWS)
    weight[parts.validation] = 0.0
    rows = prepared(X, Y, model=LINEAR, sample_weight=weight).rows
    np.testing.assert_array_equal(rows["validation"].weights, np.ones(len(parts.validation)))


def test_the_metrics_of_other_rows_are_not_weighted():
    """What the summary says of the test rows is what `evaluate`, which knows no weights, says of them."""
    options = {**WHOLE, "test_fraction": 0.3}
    weight = 10.0 ** GENERATOR.uniform(-2, 2, ROWS)
    run = ds.train(LINEAR, X, Y, sample_weight=weight, class_weight={"hi": 20.0}, **options)
    held_out = prepared(X, Y, model=LINEAR, test_fraction=0.3, validation_fraction=0.0).rows["test"]
    labels = np.array(run.classes)[held_out.targets]
    expected = run.evaluate(held_out.inputs, labels)
    for name, value in run.summary["metrics"]["test"].items():
        assert value == pytest.approx(expected[name], rel=1e-6)
    assert run.summary["metrics"]["test"]["loss"] == pytest.approx(expected["log_loss"], rel=1e-5)


def test_balanced_is_scikit_learns():
    rows = prepared(X, Y, model=LINEAR, class_weight="balanced").rows["train"]
    expected = compute_class_weight("balanced", classes=np.unique(rows.targets), y=rows.targets)
    np.testing.assert_allclose(rows.weights, expected[rows.targets], rtol=1e-6)
    by_class = [rows.weights[rows.targets == code].sum() for code in range(3)]
    np.testing.assert_allclose(by_class, len(rows.weights) / 3, rtol=1e-5)  # all classes count alike


def test_balanced_hears_the_rare_class():
    generator = np.random.default_rng(1)
    labels = np.where(generator.random(400) < 0.05, "rare", "common")
    inputs = (generator.normal(0, 1, (400, 3)) + (labels == "rare")[:, None] * 0.8).astype(np.float32)
    for_two = (lambda key, example: {"w": np.zeros((3, 2), np.float32), "b": np.zeros(2, np.float32)}, apply)
    recall = {}
    for weight in (None, "balanced"):
        run = ds.train(for_two, inputs, labels, class_weight=weight, **{**WHOLE, "epochs": 60})
        recall[weight] = np.mean(run.predict(inputs)[labels == "rare"] == "rare")
    assert recall["balanced"] > recall[None] + 0.3


def test_class_and_sample_weights_multiply():
    rows = prepared(X, Y, model=LINEAR, sample_weight=TIMES, class_weight={"hi": 3.0, "lo": 0.5})
    plain = prepared(X, Y, model=LINEAR, sample_weight=TIMES)
    factor = np.array([{"hi": 3.0, "lo": 0.5, "mid": 1.0}[label] for label in plain.encoding.classes])
    train = plain.rows["train"]
    expected = train.weights * factor[train.targets]
    np.testing.assert_allclose(rows.rows["train"].weights, expected / expected.mean(), rtol=1e-6)


def test_labels_that_are_numbers_may_be_named_as_numbers_or_texts():
    codes = np.array([0, 0, 1, 2])
    expected = np.array([1, 2, 0.5], np.float32)
    for named in ({1: 2, 2: 0.5}, {"1": 2, "2": 0.5}):
        np.testing.assert_array_equal(class_weights(named, [0, 1, 2], codes), expected)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"mif": 2}, r"'mif' is not a class\. Did you mean 'mid'\? The classes are 'hi', 'lo', 'mid'"),
        ({"hi": -1}, r"hi=-1: must be a number of at least 0"),
        ({"hi": float("nan")}, "must be a number of at least 0"),
        ({"hi": float("inf")}, "must be a number of at least 0"),
        ({"hi": "much"}, "must be a number of at least 0"),
        ({"hi": 0, "lo": 0, "mid": 0}, "0 for every class"),
        ("fair", "must be 'balanced'"),
        ([1, 2, 3], "must be 'balanced'"),
    ],
    ids=str,
)
def test_bad_class_weights(weights, said):
    with pytest.raises(OptionError, match=said):
        prepared(X, Y, model=LINEAR, class_weight=weights)


def test_class_weights_are_not_for_regression():
    with pytest.raises(OptionError, match="--class-weight is for classification, but this is regression"):
        prepared(X, X[:, 0], model=LINEAR, class_weight="balanced")


def with_one(value):
    weight = np.ones(ROWS)
    weight[41] = value
    return weight


BAD = {
    "negative": (with_one(-0.5), r"missing, negative or infinite in 1 rows \(first: -0\.5 in row 42\)"),
    "nan": (with_one(np.nan), r"in 1 rows \(first: nan in row 42\)"),
    "infinite": (with_one(np.inf), r"in 1 rows \(first: inf in row 42\)"),
    "all zero": (np.zeros(ROWS), "is 0 in every row; at least one must count"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_sample_weights(kind):
    weight, said = BAD[kind]
    with pytest.raises(DataError, match=said):
        prepared(X, Y, model=LINEAR, sample_weight=weight)
    with pytest.raises(DataError, match=said):
        prepared(frame(weight=weight), target="kind", sample_weight="weight")


def test_training_rows_of_no_weight_are_refused():
    split = prepared(np.arange(ROWS, dtype=np.float32)[:, None], Y, model=LINEAR).rows
    places = split["test"].inputs[:, 0].astype(int)
    weight = np.zeros(ROWS)
    weight[places] = 1
    with pytest.raises(DataError, match="every training row has weight 0"):
        prepared(X, Y, model=LINEAR, sample_weight=weight)


def test_other_bad_sample_weights():
    with pytest.raises(DataError, match=r"has shape \(4,\), but there are 90 rows"):
        prepared(X, Y, model=LINEAR, sample_weight=np.ones(4))
    with pytest.raises(DataError, match="sample_weight: must hold numbers"):
        prepared(X, Y, model=LINEAR, sample_weight={})
    with pytest.raises(OptionError, match="must be an array where the data is an array"):
        prepared(X, Y, model=LINEAR, sample_weight="weight")
    with pytest.raises(DataError, match="must hold numbers"):
        prepared(frame(weight=["heavy"] * ROWS), target="kind", sample_weight="weight")
    with pytest.raises(DataError, match="wieght"):
        prepared(frame(weight=TIMES), target="kind", sample_weight="wieght")
    with pytest.raises(
        OptionError, match="'kind' is the column to predict; it cannot be dropped or be the weight"
    ):
        prepared(frame(), target="kind", sample_weight="kind")
    with pytest.raises(DataError, match="weight"):
        prepared(frame(weight=TIMES), target="kind", sample_weight="weight", drop=("weight",))


@pytest.mark.slow
def test_by_the_command_line(command, csv, table, tmp_path):
    """A column of weights 0 makes its rows unheard: a label that is wrong there does no harm."""
    columns = table(n=200)
    columns["heard"] = [1.0 if i % 2 else 0.0 for i in range(200)]
    columns["kind"] = [
        "dear" if h and k == "dear" else "cheap"
        for h, k in zip(columns["heard"], columns["kind"], strict=True)
    ]
    data = csv("things.csv", columns)
    words = ["train", data, "--target", "kind", "--drop", "price", "--hidden", 8, "--epochs", 40, "--quiet"]
    words += ["--learning-rate", 0.02, "--batch-size", 32]
    recall = {}
    truth = np.array(table(n=200)["kind"])
    for name, more in (("heard", ["--sample-weight", "heard", "--class-weight", "balanced"]), ("all", [])):
        answer = command(*words, *more, "--out", tmp_path / name)
        assert answer.code == 0, answer.err
        said = ds.Run.load(tmp_path / name).predict(data)
        recall[name] = np.mean(said[truth == "dear"] == "dear")
    assert recall["heard"] > 0.8 > recall["all"]


def test_the_first_rows_may_weigh_nothing():
    """What the loss begins at and what a race is measured on are rows that count."""
    many = GENERATOR.normal(0, 1, (9000, 3)).astype(np.float32)
    weight = np.ones(len(many))
    weight[:8900] = 0
    options = {**WHOLE, "validation_fraction": 0.1, "batch_size": 512, "epochs": 1, "sample_weight": weight}
    run = ds.train(many, many[:, 0] > 0, model="linear", **options)
    assert 0 < run.summary["loss_at_start"] < 1
    options |= {"learning_rate": "auto", "validation_fraction": 0.0, "batch_size": "full"}
    assert ds.train(many, many[:, 0] > 0, model="linear", **options).summary["steps_tuning"] > 0


def test_the_loss_of_an_epoch_is_that_of_the_rows_that_count():
    """Batches without any weight do not count as batches without any loss."""
    rows = GENERATOR.normal(0, 1, (1000, 3)).astype(np.float32)
    weight = np.zeros(len(rows))
    weight[GENERATOR.permutation(len(rows))[:30]] = GENERATOR.uniform(0.5, 2, 30)
    options = {**WHOLE, "batch_size": 8, "epochs": 1, "learning_rate": 1e-9, "guard": False}
    run = ds.train(rows, rows[:, 0] > 0, hidden=(8,), dropout=0.0, sample_weight=weight, **options)
    measured = run.summary["metrics"]["train"]["loss"]
    np.testing.assert_allclose(run.history["train_loss"].to_pylist(), measured, rtol=1e-5)
