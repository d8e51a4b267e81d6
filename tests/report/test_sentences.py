import math
from dataclasses import replace

import pytest

from downslope.report import read_contents
from downslope.report.formatting import NO_BREAK
from downslope.report.sentences import (
    commonest_mistake,
    commonest_share,
    cost_story,
    findings,
    headline,
    mean_guess_error,
    what_happened,
)


def plain(sentence):
    return sentence.replace(NO_BREAK, " ")


def with_evaluation(contents, **evaluation):
    return replace(contents, evaluation={"split": "test", **evaluation})


def without(contents, *splits):
    metrics = {k: v for k, v in contents.summary["metrics"].items() if k not in splits}
    return replace(contents, summary=contents.summary | {"metrics": metrics})


def test_classification_stands_next_to_the_commonest_class(make):
    contents = with_evaluation(read_contents(make()), classes=["a", "b"], confusion=[[40, 4], [6, 50]])
    assert plain(headline(contents)) == (
        "Predicts “ocean_proximity” right for 92.6 % of 4,128 test rows it had never seen "
        "(always guessing the commonest class would be right for 56 %)."
    )


def test_regression_stands_next_to_the_mean(make):
    contents = with_evaluation(
        read_contents(make(task="regression")), actual=[100000.0, 300000.0], predicted=[0.0, 0.0]
    )
    assert plain(headline(contents)) == (
        "Predicts “median_house_value” with R² 0.811 on 4,128 test rows it had never seen: "
        "off by 32,000 on average (always guessing the mean would be off by about 100,000)."
    )


def test_a_model_no_better_than_guessing_is_called_so(make):
    contents = with_evaluation(read_contents(make()), classes=["a", "b"], confusion=[[95, 0], [5, 0]])
    assert "worse than always guessing the commonest class (95 %)" in plain(headline(contents))
    contents = with_evaluation(contents, classes=["a", "b"], confusion=[[926, 0], [74, 0]])
    assert "no better than always guessing the commonest class (92.6 %)" in plain(headline(contents))
    contents = read_contents(make(task="regression"))
    contents = with_evaluation(contents, actual=[1.0, 2.0], predicted=[1.0, 2.0])
    assert "worse than always guessing the mean (about 0.5)" in headline(contents)
    contents = with_evaluation(contents, actual=[0.0, 64001.0], predicted=[0.0, 0.0])
    assert "no better than always guessing the mean (about 32,000)" in headline(contents)


def test_a_rare_class_gets_as_many_digits_as_it_takes(make):
    contents = with_evaluation(read_contents(make()), classes=["a", "b"], confusion=[[59904, 24], [20, 52]])
    metrics = {"test": {"accuracy": 0.99927}}
    said = plain(headline(replace(contents, summary=contents.summary | {"metrics": metrics})))
    assert "right for 99.93 % of" in said
    assert "(always guessing the commonest class would be right for 99.88 %)" in said


def test_the_baseline_is_left_out_where_it_is_of_another_split(make):
    contents = read_contents(make())
    assert "guessing" not in headline(replace(contents, evaluation=None))
    assert contents.evaluation is not None
    other = replace(contents, evaluation=contents.evaluation | {"split": "validation"})
    assert "guessing" not in headline(other)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (["test"], "1,651 validation rows that chose the best weights"),
        (["test", "validation"], "14,861 training rows that it learned from"),
        (["test", "validation", "train"], "how good it is remains open"),
    ],
)
def test_a_less_honest_split_is_called_so(make, missing, words):
    assert words in headline(without(read_contents(make()), *missing))


def test_what_happened(make):
    assert plain(what_happened(read_contents(make(epochs=48)))) == (
        "Training ended after 48 epochs: the validation loss had not improved for 12 epochs. "
        "The weights kept are those of epoch 33, the best. The whole run took 12.4 s on cpu."
    )


def test_the_weights_of_the_start_are_not_those_of_an_epoch(make):
    contents = read_contents(make())
    why = "the loss became inf. Try a learning rate of 0.1"
    summary = contents.summary | {"best_epoch": 0, "epochs": 1, "stopped_because": why}
    assert what_happened(replace(contents, summary=summary)).startswith(
        f"Training ended after 1 epoch: {why}. The weights of the start were kept. The whole"
    )


def test_a_failed_descent_says_so_first(make):
    contents = read_contents(make())
    why = "the loss became nan at step 8. Try a learning rate of 0.1"
    failed = replace(contents, summary=contents.summary | {"failed": True, "stopped_because": why})
    assert headline(failed).startswith("The descent failed. What was kept of it predicts “")
    assert "nan" not in what_happened(failed)  # the diagnosis says it, once


def test_what_curvature_says_is_not_contradicted(make):
    place = range(40)
    falling = [math.exp(-epoch / 3) for epoch in place]
    history = {"epoch": [epoch + 1 for epoch in place], "train_loss": falling, "gradient_norm": falling}
    contents = replace(read_contents(make()), history=history, events=[])
    ((_, words, _),) = findings(contents)
    assert words.startswith("Levelled off: the gradient is down to ")
    assert words.endswith("and the loss no longer falls")
    assert findings(replace(contents, sharpness={"verdict": "not settled", "largest": 1.0})) == []
    ((_, minimum, _),) = findings(replace(contents, sharpness={"verdict": "minimum"}))
    assert minimum.startswith("Settled in a minimum: ")


def test_a_bare_summary_still_makes_sentences(make):
    contents = replace(read_contents(make()), summary={"task": "regression", "metrics": {"test": {}}})
    assert "remains open" in headline(contents)
    assert what_happened(contents) == "Training ended."


def test_baselines():
    assert commonest_share({"confusion": [[3, 1], [0, 6]]}) == pytest.approx(0.6)
    assert commonest_share({"confusion": [[0]]}) is None
    assert commonest_share(None) is None
    assert mean_guess_error({"actual": [0.0, 10.0, None]}) == pytest.approx(5.0)
    assert mean_guess_error({}) is None


def test_cost_story_takes_its_numbers_from_the_history(make):
    history = {"epoch": [1, 2, 3], "train_loss": [2.0, 1.0, 0.5], "validation_loss": [2.0, 0.75, 1.0]}
    contents = replace(read_contents(make()), history=history)
    assert cost_story(contents) == (
        "The training cost went from 2 to 0.5; on the validation rows it was lowest, 0.75, at epoch 2."
    )


def test_cost_story_of_one_epoch_and_of_none_that_helped(make):
    one = {"epoch": [1], "train_loss": [0.4821], "validation_loss": [0.5]}
    contents = read_contents(make())
    assert cost_story(replace(contents, history=one)) == (
        "The training cost was 0.482; on the validation rows it was 0.5."
    )
    still = {"epoch": [1, 2], "train_loss": [0.4821, 0.4822]}
    assert cost_story(replace(contents, history=still)) == "The training cost stayed at 0.482."


def test_commonest_mistake():
    assert "“b” taken for “a”: 1 row." in commonest_mistake(["a", "b"], [[5, 0], [1, 5]])
    assert commonest_mistake(["a", "b"], [[5, 0], [0, 5]]) == "It made no mistake here."
