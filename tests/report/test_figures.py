import math

import pytest

from downslope.report import figures, read_contents, results, theme


def trace(figure, name):
    return next(one for one in figure.data if one.name == name)


def test_the_cost_figure_holds_the_history(make):
    contents = read_contents(make())
    figure = figures.cost_figure(contents.history, 33, contents.events)
    for name, column in (("training", "train_loss"), ("validation", "validation_loss")):
        assert list(trace(figure, name).x) == contents.history["epoch"]
        assert list(trace(figure, name).y) == pytest.approx(contents.history[column], rel=1e-5)


def test_the_kept_epoch_and_the_events_are_marked(make):
    contents = read_contents(make())
    figure = figures.cost_figure(contents.history, 33, contents.events)
    best = trace(figure, "kept: epoch 33")
    assert list(best.x) == [33]
    assert best.y[0] == contents.history["validation_loss"][32]
    marks = trace(figure, "events")
    assert [text.split(":")[0] for text in marks.text] == ["resumed", "plateau", "early-stop"]
    assert list(marks.x) == [16, 30, 48]


def test_without_validation_the_mark_sits_on_the_training_curve():
    figure = figures.cost_figure(
        {"epoch": [1, 2], "train_loss": [1.0, 0.5], "validation_loss": [None, None]}, 2
    )
    assert [one.name for one in figure.data] == ["training", "kept: epoch 2"]
    assert figure.data[1].y[0] == 0.5


@pytest.mark.parametrize("values", [[1.0, 0.5], [1e-9, 1e4], [0.9, 1.1], [3.0, 3.0]])
def test_log_labels_are_whole_numbers_in_reach_of_the_data(values):
    axis = figures.cost_figure({"epoch": [1, 2], "train_loss": values}, log=True).layout.yaxis
    assert axis.type == "log"
    assert axis.tickmode == "array"
    assert [float(text) for text in axis.ticktext] == pytest.approx(list(axis.tickvals))
    low, high = min(values) / 10, max(values) * 10
    assert 1 <= sum(low <= tick <= high for tick in axis.tickvals) <= 36


def test_long_histories_are_thinned_but_keep_their_ends_and_the_best():
    rows = 50_000
    history = {"epoch": list(range(1, rows + 1)), "train_loss": [1 / n for n in range(1, rows + 1)]}
    kept = figures.thinned(history, keep=31_417)
    assert len(kept["epoch"]) <= figures.MAX_POINTS
    assert {1, 31_417, rows} <= set(kept["epoch"])
    assert kept["train_loss"][-1] == 1 / rows


def test_the_confusion_figure_holds_counts_and_shares():
    figure = results.confusion_figure(["a", "b"], [[9, 1], [0, 0]])
    cells = figure.data[0]
    assert [list(row) for row in cells.z] == [[0.9, 0.1], [0.0, 0.0]]
    assert [list(row) for row in cells.text] == [["9<br>90%", "1<br>10%"], ["", ""]]


def test_a_large_confusion_figure_has_no_text():
    size = results.MAX_CLASSES_WITH_TEXT + 1
    figure = results.confusion_figure(list(range(size)), [[1] * size] * size)
    assert figure.data[0].text is None


def test_residuals_are_predicted_minus_actual():
    figure = results.residual_figure([1.0, 2.0, math.nan], [1.5, 1.0, 1.0], "euros")
    assert list(figure.data[1].x) == [1.5, 1.0]
    assert list(figure.data[1].y) == [0.5, -1.0]


def test_empty_reliability_bins_are_left_out():
    figure = results.reliability_figure([0.1, 0.5, None], [0.2, 0.6, None], [3, 0, 0])
    assert list(figure.data[1].x) == [0.1]


def test_labels_are_shown_letter_for_letter():
    assert theme.as_text("<a href='x'>&") == "&lt;a href='x'&gt;&amp;"
    figure = results.confusion_figure(["<b>bold</b>", "b"], [[1, 0], [0, 1]])
    assert figure.layout.yaxis.ticktext[0] == "&lt;b&gt;bold&lt;/b&gt;"
    event = {"kind": "<i>", "epoch": 1, "message": "<a href='https://example.org'>"}
    figure = figures.cost_figure({"epoch": [1], "train_loss": [1.0]}, events=[event])
    assert trace(figure, "events").text[0].startswith("&lt;i&gt;: &lt;a")


def test_long_labels_keep_both_their_ends():
    names = [f"category of the outcome: {end}" for end in ("good", "bad")]
    shown = list(results.confusion_figure(names, [[1, 0], [0, 1]]).layout.yaxis.ticktext)
    assert shown == ["category of…come: good", "category of…tcome: bad"]
    assert theme.as_text("x" * 28) == "x" * 28


@pytest.mark.parametrize("epochs", [1, 5])
def test_what_never_changes_stands_on_an_axis_from_zero(epochs):
    history = {"epoch": list(range(1, epochs + 1))}
    history |= {name: [0.01] * epochs for name in ("weight_decay", "validation_metric", "train_loss")}
    for figure in (
        figures.weight_decay_figure(history),
        figures.metric_figure(history, "accuracy"),
        figures.cost_figure(history),
    ):
        assert figure.layout.yaxis.rangemode == "tozero"
    history["validation_metric"] = [-0.5] * epochs
    assert figures.metric_figure(history, "R²").layout.yaxis.rangemode is None


def test_accuracy_stays_between_0_and_1():
    history = {"epoch": [1, 2], "validation_metric": [0.9, 1.0]}
    options = figures.metric_figure(history, "accuracy").layout.yaxis.autorangeoptions
    assert (options.clipmin, options.clipmax) == (0, 1)
    assert figures.metric_figure(history, "R²").layout.yaxis.autorangeoptions.clipmin is None


def test_each_light_colour_has_one_dark_partner():
    assert theme.LIGHT.keys() == theme.DARK.keys()
    assert len(set(theme.LIGHT.values())) == len(theme.LIGHT)
