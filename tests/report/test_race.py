"""How the learning rate was chosen, on the page."""

import json

import pytest

from downslope.report.contents import read_contents
from downslope.report.page import write_report
from downslope.report.panels import race_panel
from downslope.report.race import race_of


def arm(rate, loss, fate, error=0.01):
    return {
        "learning_rate": rate, "loss": loss, "gap": 0.02, "standard_error": error, "age": 80, "steps": 100,
        "fate": fate,
    }  # fmt: skip


ARMS = [arm(0.001, 0.4, "dropped"), arm(0.003, 0.21, "chosen"), arm(0.01, None, "diverged", None)]


@pytest.fixture
def raced(make):
    """`raced(values)`: a run folder with a race among its events."""

    def build(values, message="learning rate 0.003 (chosen among 3 by a race of 300 steps: so)"):
        folder = make()
        event = {"kind": "learning-rate", "step": 0, "epoch": 0, "seconds": 0.1, "message": message}
        with open(folder / "events.jsonl", "a") as file:
            file.write(json.dumps({**event, "values": values}) + "\n")
        return folder

    return build


def test_the_race_is_drawn(raced):
    panel = race_panel(
        read_contents(
            raced(
                {
                    "arms": ARMS,
                    "held_out": "90 validation rows",
                    "annealed": True,
                    "learning_rate": 0.004,
                }
            )
        )
    )
    assert panel.story == "Learning rate 0.003 (chosen among 3 by a race of 300 steps: so)."
    assert "90 validation rows" in panel.reading
    assert "but for the two rates just below the best" in panel.reading
    traces = {trace.name: trace for trace in panel.figure.data if trace.name}
    assert list(traces["nearest to what is taken"].x) == [0.003]
    assert list(traces["nearest to what is taken"].error_y.array) == [0.02]
    assert list(traces["taken"].x) == [0.004, 0.004]
    assert list(traces["other arms"].y) == [0.4]
    assert list(traces["diverged"].x) == [0.01]


def test_no_race_no_figure(make):
    assert race_panel(read_contents(make())) is None


DAMAGED = [None, [], {}, {"arms": 3}, {"arms": [1]}, {"arms": [{"learning_rate": "x"}]}]


@pytest.mark.parametrize("values", [*DAMAGED, {"arms": [arm(-1, 1, "")]}])
def test_a_damaged_race_is_left_out(raced, values):
    folder = raced(values)
    assert race_of(read_contents(folder).events) is None
    write_report(folder)


def test_hostile_words_are_text(raced):
    hostile = "<img src=x onerror=alert(1)>"
    folder = raced({"arms": ARMS, "held_out": hostile}, message=hostile)
    page = write_report(folder).read_text()
    assert hostile not in page
    assert "&lt;img" in page
