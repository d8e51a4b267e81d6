"""What the page says beside its figures and in its tables."""

from dataclasses import replace

import pytest

from downslope.report import read_contents, tables
from downslope.report.panels import confusion_panel, cost_panel, result_panels


def panel(contents, name):
    return next(one for one in result_panels(contents) if one.name == name)


def with_config(contents, **options):
    return replace(contents, config={**contents.config, **options})


def test_the_roc_says_which_class_is_found(make):
    assert (
        "“Found” are the rows of “yes”." in panel(read_contents(make(classes=["no", "yes"])), "roc").reading
    )


def test_how_many_rows_are_drawn(make):
    contents = read_contents(make(task="regression"))
    rows = [1.0] * 160
    for count, words in ((160, "All 160 test rows."), (161, "160 of the test rows.")):
        summary = contents.summary | {"rows": {"test": count}}
        evaluation = {"split": "test", "actual": rows, "predicted": rows}
        drawn = panel(replace(contents, summary=summary, evaluation=evaluation), "predicted")
        assert drawn.story == words


@pytest.mark.parametrize("count", [5, 40])
def test_how_to_read_the_confusion_begins_every_sentence_with_a_capital(make, count):
    drawn = confusion_panel(read_contents(make(classes=[f"class {n}" for n in range(count)])))
    assert drawn is not None
    sentences = drawn.reading.split(". ")
    assert [text[0].isupper() for text in sentences] == [True] * len(sentences)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, False),
        ({"class_weight": None, "sample_weight": None}, False),
        ({"class_weight": "balanced"}, True),
        ({"sample_weight": "w"}, True),
    ],
)
def test_weighted_training_losses_are_called_so(make, options, said):
    drawn = cost_panel(with_config(read_contents(make()), **options))
    assert drawn is not None
    assert ("count rows by their weights" in drawn.reading) == said


@pytest.mark.parametrize(("dropout", "said"), [(0.1, True), (0.0, False), (None, False)])
def test_why_the_training_curve_may_lie_above(make, dropout, said):
    contents = with_config(read_contents(make()), dropout=dropout)
    drawn = cost_panel(contents)
    assert drawn is not None
    assert ("The training curve may lie well above the other" in drawn.reading) == said
    history = {**contents.history, "validation_loss": [None] * len(contents.history["epoch"])}
    alone = cost_panel(replace(contents, history=history))
    assert alone is not None
    assert "dropout" not in alone.reading


def test_the_configuration_has_no_braces(make):
    rule = {"name": "adamw", "hyperparameters": {"b1": 0.9, "eps": 1e-8, "betas": [0.5, 1]}}
    contents = with_config(read_contents(make()), optimizer=rule, class_weight={"a": 2.0, "b": 1.0})
    rows = {row[0]: row[1] for row in tables.config_table(contents).rows}
    assert rows["optimizer"] == "adamw (b1 0.9, eps 1e-08, betas 0.5, 1)"
    assert rows["class_weight"] == "a 2, b 1"


def test_the_tile_shows_the_learning_rate_that_the_guard_went_on_with(make):
    contents = read_contents(make())

    def rate(events):
        return next(
            tile[2] for tile in tables.tiles(replace(contents, events=events)) if tile[0] == "optimizer"
        )

    assert rate([]) == "learning rate 0.002"
    back = [{"kind": "rolled-back", "values": {"learning_rate": at}} for at in (500.0, 0.1)]
    assert rate(back) == "learning rate 0.1"
    assert rate([{"kind": "other-rate", "values": None}, {"kind": "rolled-back"}]) == "learning rate 0.002"
