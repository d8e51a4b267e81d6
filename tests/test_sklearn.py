"""The estimators do what scikit-learn asks of its own, and what `train` does."""

import inspect
import pickle
from dataclasses import fields

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import downslope as ds
from downslope.sklearn import DownslopeClassifier, DownslopeRegressor
from downslope.workflow.options import TrainOptions

QUICK = {"epochs": 30, "learning_rate": 0.01, "hidden": (16,)}
BOTH = [DownslopeClassifier, DownslopeRegressor]


def houses(rows: int = 300) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    area = generator.integers(40, 200, rows)
    district = generator.choice(["north", "south", "west"], rows)
    place = pd.Series(district).map({"north": 1, "south": 2, "west": 3})
    frame = pd.DataFrame({"area": area.astype(float), "district": district, "price": 900.0 * area * place})
    frame.loc[::17, "area"] = np.nan
    frame["dear"] = np.where(frame["price"] > frame["price"].median(), "dear", "cheap")
    return frame


@pytest.mark.slow  # some hundred fits
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(900)
@parametrize_with_checks(
    [DownslopeClassifier(**QUICK), DownslopeRegressor(**QUICK)],
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": "rows are drawn into batches and held out by chance"
    },
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", BOTH)
def test_parameters_are_options_of_train_with_its_defaults(estimator):
    options = {field.name: field.default for field in fields(TrainOptions)}
    given = {name: one.default for name, one in inspect.signature(estimator).parameters.items()}
    assert given.pop("random_state") == options["seed"]
    assert given.pop("verbose") is False
    assert {name: options[name] for name in given} == given
    assert set(options) - set(given) - {"class_weight"} == {
        "target", "task", "test", "test_fraction", "drop", "header", "delimiter", "sample_weight",
        "watch_sharpness", "seed", "checkpoint_every",
    }  # fmt: skip
    assert ("class_weight" in given) == (estimator is DownslopeClassifier)


@pytest.mark.slow
def test_classifier_on_arrays_in_a_pipeline_and_cross_validation():
    X, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), DownslopeClassifier(**QUICK))
    assert is_classifier(pipeline)
    assert cross_val_score(pipeline, X, y, cv=3).min() > 0.9


def test_regressor_within_another_estimator():
    X, y = load_diabetes(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    linear, ours = (
        TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp).fit(X, y)
        for regressor in (LinearRegression(), DownslopeRegressor(**QUICK))
    )
    assert is_regressor(ours)
    assert ours.score(X_test, y_test) > linear.score(X_test, y_test) - 0.05


@pytest.mark.slow
def test_a_search_over_learning_rates():
    X, y = load_breast_cancer(return_X_y=True)
    search = GridSearchCV(DownslopeClassifier(**QUICK), {"learning_rate": [1e-7, 0.01]}, cv=2)
    search.fit(X, y)
    assert search.best_params_ == {"learning_rate": 0.01}
    assert search.best_score_ > 0.9


@pytest.mark.parametrize("kind", [lambda frame: frame, pl.from_pandas], ids=["pandas", "polars"])
def test_frames_need_no_encoding(kind):
    frame = houses()
    X, y = frame[["area", "district"]], frame["dear"]
    model = DownslopeClassifier(**QUICK).fit(kind(X), y)
    assert model.feature_names_in_.tolist() == ["area", "district"]
    assert model.classes_.tolist() == ["cheap", "dear"]
    assert model.score(kind(X), y) > 0.9
    proba = model.predict_proba(kind(X))
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, rtol=1e-12)
    assert (model.classes_[proba.argmax(axis=1)] == model.predict(kind(X))).all()


def test_named_at_fit_and_bare_at_predict_and_the_other_way_round():
    frame = houses()[["area", "price"]]
    y = frame["area"].fillna(100.0)
    named, bare = (DownslopeRegressor(**QUICK).fit(X, y) for X in (frame, frame.to_numpy()))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(named.predict(frame.to_numpy()), named.predict(frame))
    with pytest.warns(UserWarning, match="fitted without feature names"):
        np.testing.assert_array_equal(bare.predict(frame), bare.predict(frame.to_numpy()))


def test_a_column_may_have_the_name_that_the_target_would_get():
    frame = houses().rename(columns={"area": "target", "district": "target_"})[["target", "target_"]]
    assert DownslopeRegressor(**QUICK).fit(frame, houses()["price"]).predict(frame).shape == (300,)


def test_the_same_as_train():
    X, y = load_iris(return_X_y=True)
    run = ds.train(X, y, out=False, quiet=True, test_fraction=0.0, seed=3, task="classification", **QUICK)
    model = DownslopeClassifier(**QUICK, random_state=3).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), run.predict_proba(X))
    assert model.n_iter_ == run.summary["epochs"] == 30
    assert "test" not in model.run_.summary["metrics"]


def test_random_state_is_a_generator():
    X, y = load_iris(return_X_y=True)
    seed = int(np.random.default_rng(0).integers(2**31))
    drawn, named = (
        DownslopeClassifier(**QUICK, random_state=state).fit(X, y)
        for state in (np.random.default_rng(0), seed)
    )
    np.testing.assert_array_equal(drawn.predict_proba(X), named.predict_proba(X))


def test_random_state_none_draws_a_seed():
    X, y = load_iris(return_X_y=True)
    seeds = np.random.RandomState(0)
    models = [DownslopeClassifier(**QUICK, random_state=seeds).fit(X, y) for _ in range(2)]
    assert not np.array_equal(models[0].predict_proba(X), models[1].predict_proba(X))


def test_weights_of_rows_and_of_classes():
    generator = np.random.default_rng(1)
    X = generator.normal(size=(400, 2))
    y = np.where(X[:, 0] + generator.normal(size=400) > 0, "yes", "no")
    plain = DownslopeClassifier(**QUICK).fit(X, y).predict_proba(X)[:, 1].mean()
    by_class = DownslopeClassifier(**QUICK, class_weight={"yes": 20.0}).fit(X, y)
    by_row = DownslopeClassifier(**QUICK).fit(X, y, sample_weight=np.where(y == "yes", 20.0, 1.0))
    for model in (by_class, by_row):
        assert model.predict_proba(X)[:, 1].mean() > plain + 0.2


@pytest.mark.parametrize("estimator", BOTH)
def test_pickled_and_cloned(estimator):
    X, y = load_iris(return_X_y=True)
    model = estimator(**QUICK, loss=None if estimator is DownslopeClassifier else "huber:0.123456789").fit(
        X, y
    )
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.run_.evaluate(X, y) == model.run_.evaluate(X, y)
    assert clone(model).get_params() == model.get_params()
    assert not hasattr(clone(model), "run_")


def own_network():
    from flax import nnx

    return nnx.Sequential(lambda x: x.reshape(len(x), -1), nnx.Linear(64, 10, rngs=nnx.Rngs(0)))


def test_a_network_of_your_own_takes_arrays_of_any_shape_and_is_not_pickled():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    images = (X / 16).reshape(-1, 8, 8)
    model = DownslopeClassifier(model=own_network(), epochs=20, learning_rate=0.01).fit(images, y)
    assert model.score(images, y) > 0.9
    with pytest.raises(TypeError, match="of your own cannot be pickled; save it with out="):
        pickle.dumps(model.run_)


@pytest.mark.parametrize(
    ("estimator", "X", "y", "message"),
    [
        (DownslopeClassifier(), [[1.0], [2.0]], [1, 1], "y holds one class only, .*; classification"),
        (DownslopeClassifier(class_weight={"a": 2}), [[1.0], [2.0]], [0, 1], "'a' is not a class; they are"),
        (DownslopeClassifier(class_weight="fair"), [[1.0], [2.0]] * 4, [0, 1] * 4, "must be 'balanced' or"),
        (DownslopeClassifier(optimizer="adamm"), [[1.0], [2.0]], [0, 1], "Did you mean 'adam'"),
        (DownslopeRegressor(hidden=16), [[1.0], [2.0]], [0.0, 1.0], "--hidden must be a list of widths"),
        (DownslopeRegressor(), [[1.0], [2.0]], [0.0, 1.0, 2.0], "inconsistent numbers of samples"),
        (DownslopeRegressor(), [[np.inf], [2.0]], [0.0, 1.0], "contains infinity"),
    ],
)  # fmt: skip
def test_refusals_are_value_errors(estimator, X, y, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, y)


@pytest.mark.parametrize("estimator", BOTH)
def test_not_fitted(estimator):
    with pytest.raises(NotFittedError):
        estimator().predict([[1.0]])
