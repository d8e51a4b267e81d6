"""The page of a comparison: the numbers of the results, safe text, drawn in a real browser."""

import copy
import json
import re

import pytest

from downslope.report import (
    comparison as page,
    comparison_figures as figures,
    dimensions_figure as dimensions,
)
from downslope.report.theme import DARK, LIGHT
from downslope.study import compare as study
from downslope.study.compare import Arm, ArmRun

from .chromium import Chromium, find_chromium

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
DRAWN = "document.documentElement.dataset.drawn"


def run(seed, end, diverged=False):
    losses = [2.0, 1.5, float("nan")] if diverged else [2.0, max(1.0, end), end]
    metrics = None if diverged else {"loss": end + 0.1, "accuracy": 1 - end / 4}
    return ArmRun(seed, 0.1, [0, 5, 10], [0.0, 1.0, 2.0], [0.0, 0.25, 0.5], losses, diverged, metrics)


def results_of(compared="rules", data="digits", target="digit"):
    trials = [{"learning_rate": 0.1, "validation_loss": 0.3}, {"learning_rate": 1.0, "validation_loss": None}]
    arms = [
        Arm("adam", "adam", 32, 0.1, trials, "", [run(0, 0.3), run(1, 0.4), run(2, 0.35)]),
        Arm("lion", "lion", 32, 0.1, trials, "", [run(0, 0.6), run(1, 0.5), run(2, 0, diverged=True)]),
        Arm("random-search", "random-search", 32, 1.0, trials, "60 tries", [run(s, 1.8) for s in range(3)]),
        Arm("sgd", "sgd", 32, 9.0, trials, "", [run(s, 0, diverged=True) for s in range(3)]),
    ]
    content = {
        "compared": compared,
        "data": data,
        "target": target,
        "task": "classification",
        "model": "mlp",
        "rows": {"train": 100, "validation": 10, "test": 20},
        "measured_on": "test",
        "metric": "accuracy",
        "loss": "softmax-cross-entropy",
        "seeds": [0, 1, 2],
        "budget": "2 epochs",
        "interrupted": False,
        "seconds": 3.0,
        "devices": ["cpu:0"],
        "start_loss": study.start_loss(arms),
        "target_loss": study.target_loss(arms),
        "tau": study.TAU,
        "verdict": study.verdict(arms),
        "ranking": study.ranking(arms),
        "profile": study.profile(arms),
        "arms": [study.arm_json(arm, arms, "accuracy") for arm in arms],
    }
    return json.loads(json.dumps(content, allow_nan=False))


def dimension_results():
    rows = [
        {
            "method": m,
            "dimensions": d,
            "losses": [9],
            "log10": p,
            "measured": d < 8,
            "formula": p,
            "tried": d < 8,
        }
        for m, per in (("descent", 0.1), ("random-search", 1.0), ("grid-search", 1.5))
        for d in (1, 4, 16, 64)
        for p in [per * d]
    ]
    for row in rows:
        row["measured"] = row["tried"] = row["method"] == "descent" or row["dimensions"] < 8
    return {"compared": "dimensions", "seeds": [0], "interrupted": False, "seconds": 1.0, "rows": rows}


def test_lines_are_medians_and_bands_the_range():
    drawn = figures.loss_figure(results_of(), "passes")
    adam = next(trace for trace in drawn.data if trace.name == "adam")
    assert list(adam.x) == [0, 1, 2]
    assert list(adam.y) == [2.0, 1.0, 0.35]
    high, low = drawn.data[0], drawn.data[1]
    assert (list(high.y), list(low.y)) == ([2.0, 1.0, 0.4], [2.0, 1.0, 0.3])
    (line,) = drawn.layout.shapes
    assert line.y0 == results_of()["target_loss"]


def test_an_arm_that_diverged_is_drawn_to_where_its_numbers_end():
    drawn = figures.loss_figure(results_of(), "passes")
    (sgd,) = [trace for trace in drawn.data if trace.name and trace.name.startswith("sgd")]
    assert sgd.name == "sgd (3 of 3 diverged)"
    assert list(sgd.y) == [2.0, 1.5]
    (cross,) = [trace for trace in drawn.data if trace.marker.symbol == "x"]
    assert (list(cross.x), list(cross.y)) == ([1.0], [1.5])


def test_every_seed_is_a_dot():
    drawn = figures.held_out_figure(results_of())
    assert list(drawn.data[0].x) == pytest.approx([0.4, 0.5, 0.45])
    assert list(drawn.data[1].x) == pytest.approx([0.45])
    assert list(drawn.layout.yaxis.ticktext) == ["adam", "lion", "random-search", "sgd"]
    assert [note.text for note in drawn.layout.annotations] == ["1 of 3 diverged", "3 of 3 diverged"]


def test_a_search_has_no_learning_rate_to_draw():
    drawn = figures.rates_figure(results_of())
    assert drawn is not None
    assert {trace.legendgroup for trace in drawn.data} == {"adam", "lion", "sgd"}
    given = results_of()
    for arm in given["arms"]:
        arm["trials"] = []
    assert figures.rates_figure(given) is None


def test_the_table_says_what_the_summary_holds():
    results = results_of()
    table = page.summary_table(results)
    assert list(table.header[:4]) == ["update rule", "rate", "test loss", "range"]
    first, second, third, last = table.rows
    assert first[:4] == ["adam", "0.1", "0.45", "0.4 – 0.5"]
    assert first[5:8] == ["3 of 3", "10", "2"]
    assert second[3] == "0.6 – diverged"
    assert second[5:8] == ["0 of 3", "–", "–"]
    assert third[1] == "radius 1"
    assert last[2] == "diverged"
    runs = page.run_table(results)
    assert runs is not None
    assert len(runs.rows) == 12


def test_headlines_tell_the_best_and_the_failures():
    said = page.headlines(results_of())
    assert said[0] == results_of()["verdict"] == "adam came lowest, from every seed."
    assert "sgd diverged from 3 of 3 seeds." in said
    assert "lion diverged from 1 of 3 seeds." in said
    assert "random-search came only 12 % of the way down." in said[2].replace("\N{NO-BREAK SPACE}", " ")


def test_who_was_equally_fast_is_named_together():
    results = copy.deepcopy(results_of())
    first, second = (results["arms"][place]["summary"] for place in results["ranking"][:2])
    for said, seconds in ((first, 0.02), (second, 0.01)):
        said["passes_to_target"]["median"], said["seconds_to_target"]["median"] = 0.5, seconds
    names = [arm["name"] for arm in results["arms"] if arm["summary"]["passes_to_target"]["median"] == 0.5]
    quickest = results["arms"][results["ranking"][1]]["name"]
    said = page.headlines(results)[1]
    assert said.startswith(f"{names[0]} and {names[1]} needed the fewest passes over the rows")
    assert f": 0.5; {quickest} the least time: 10" in said


def test_the_best_metric_is_that_of_the_arm_that_has_it():
    """An arm that is seldom wrong, but then sure of it, has a higher loss than others."""
    results = copy.deepcopy(results_of())
    assert page.tiles(results)[0][1:] == ("91.2\N{NO-BREAK SPACE}%", "adam, test rows")
    lion = next(arm for arm in results["arms"] if arm["name"] == "lion")
    lion["summary"]["metric"]["median"] = 0.95
    assert page.tiles(results)[0] == ("best accuracy", "95\N{NO-BREAK SPACE}%", "lion, test rows")
    for arm in results["arms"]:
        arm["summary"]["metric"]["median"] = None
    assert page.tiles(results)[0][1] == "–"


def test_a_number_is_not_torn_from_its_per_cent():
    text = page.render_comparison(results_of(), {"seed": 0})
    shown = re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL)
    assert "95\N{NO-BREAK SPACE}% of the way" in shown
    assert re.findall(r"\d %", shown) == []


def test_every_colour_has_one_partner_in_the_dark():
    palettes = figures.palettes()
    assert palettes["light"].keys() == palettes["dark"].keys()
    partners = {}
    for name, colour in palettes["light"].items():
        assert partners.setdefault(colour, palettes["dark"][name]) == palettes["dark"][name]
    assert palettes["light"].items() >= LIGHT.items()
    assert palettes["dark"].items() >= DARK.items()


@pytest.mark.parametrize(
    ("log10", "text"),
    [(0.0, "1"), (0.48, "3"), (3.5, "3,160"), (6.0, "10⁶"), (9.9999, "10¹⁰"), (99.5, "3.2 · 10⁹⁹")],
)
def test_powers_of_ten_are_readable(log10, text):
    assert dimensions.power(log10) == text


def test_powers_that_leave_the_picture_stay_in_the_table():
    table = page.summary_table(dimension_results())
    assert [row[0] for row in table.rows] == ["1", "4", "16", "64"]
    assert table.rows[-1][4] == "formula: 10⁹⁶"
    assert dimensions.dimensions_figure(dimension_results()).layout.yaxis.range[1] == dimensions.HIGHEST_POWER


def test_names_are_text():
    text = page.render_comparison(results_of(data=HOSTILE, target=HOSTILE), {"data": HOSTILE})
    assert "<script>window" not in text
    assert len(re.findall(r"<script", text)) == 4


def test_a_page_is_light_enough():
    text = page.render_comparison(results_of(), {"seed": 0})
    assert len(text.encode()) < 6_000_000


@pytest.fixture
def browser(tmp_path):
    chromium = Chromium(tmp_path / "chromium")
    yield chromium
    chromium.close()


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="no Chromium installed")
@pytest.mark.parametrize(
    "results", [results_of(data=HOSTILE), dimension_results()], ids=["arms", "dimensions"]
)
@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_it_is_drawn_without_a_complaint_or_a_request(results, phone, browser, tmp_path):
    file = tmp_path / "comparison.html"
    file.write_text(page.render_comparison(results, {"data": HOSTILE}), encoding="utf-8")
    width = 390 if phone else 1280
    browser.set_screen(width, dark=phone, phone=phone)
    browser.open(file)
    browser.wait_for(DRAWN)
    browser.evaluate("document.querySelectorAll('details').forEach((box) => { box.open = true; })")
    drawn = "document.querySelectorAll('[data-figure] .main-svg').length"
    assert browser.evaluate(drawn) >= len(list(page.panels(results)))
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("window.hacked") is None
    assert browser.console() == []
    assert [url for url in browser.requested() if not url.startswith(("data:", "blob:"))] == [file.as_uri()]
