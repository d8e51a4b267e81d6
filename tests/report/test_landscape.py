"""The ground in the report: what is drawn, what is refused, and in a real browser, that it can be seen."""

import json
import math

import pytest

from downslope.errors import RunFolderError
from downslope.report import write_report
from downslope.report.landscape_figures import contour_figure, line_figure, surface_figure, thinned

from .chromium import Chromium, find_chromium

HOSTILE = "</script><script>window.hacked = 1</script><b>%{x}"


def plane(kind="principal", n=7, positive=True):
    x = [0.5 * (place - 2) for place in range(n)]
    y = [0.25 * (place - 3) for place in range(n)]
    losses = [[0.01 * math.exp(min(30, 3 * (a**2 + b**2))) - (0 if positive else 1) for a in x] for b in y]
    path = {
        "step": [0, 10, 20, 30],
        "x": [1.5, 0.5, 0.0, -0.5],
        "y": [0.5, 0.5, 0.0, -0.25],
        "loss": [3.0, 1.0, 0.01, 0.02],
        "loss_on_plane": [2.5, 0.5, 0.01, 0.02],
    }
    shares = {"explained": [0.8, 0.1], "path": path} if kind == "principal" else {"explained": None}
    return {"kind": kind, "x": x, "y": y, "loss": losses, **shares}


def ground(**options):
    return {
        "at": "the kept weights",
        "rows": "all 12 training rows",
        "loss": 0.01,
        "no_path": None,
        "planes": [plane(**options), plane("random")],
    }


LINE = {
    "first": "one",
    "second": HOSTILE,
    "share": [-0.5, 0.0, 0.5, 1.0, 1.5],
    "loss": [2.0, 0.1, 0.7, 0.2, None],
    "ends": [0.1, 0.2],
    "explained": f"one and {HOSTILE} lie in two valleys.",
}
SHARPNESS = {"explained": f"A saddle {HOSTILE}", "limit": "2/step_size is 10"}


@pytest.fixture
def measured(make):
    folder = make()
    for name, content in (("landscape", ground()), ("line", LINE), ("sharpness", SHARPNESS)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_heights_are_logarithms_where_losses_are_far_apart():
    figure = contour_figure(plane())
    contour = figure.data[0]
    assert contour.z[3][2] == pytest.approx(math.log10(0.01), abs=1e-3)
    assert contour.text[3][2] == "0.01"
    linear = contour_figure(plane(positive=False)).data[0]
    assert linear.z[3][2] == pytest.approx(0.01 - 1, abs=1e-3)


def test_the_descent_changes_where_the_weights_were_kept():
    before, after, kept, start = contour_figure(plane()).data[1:]
    assert (before.x[-1], before.y[-1]) == (0.0, 0.0) == (after.x[0], after.y[0]) == (kept.x[0], kept.y[0])
    assert (before.x[0], before.y[0]) == (start.x[0], start.y[0]) == (1.5, 0.5)
    assert (before.line.dash, after.line.dash) == ("solid", "dot")
    assert before.text[0] == "step 0: loss 3"


def test_the_path_lies_on_the_surface():
    surface, before, _ = surface_figure(plane()).data
    lift = before.z[-1] - surface.z[3][2]
    assert 0 < lift < 0.05 * (max(map(max, surface.z)) - min(map(min, surface.z)))
    assert before.z[0] == pytest.approx(math.log10(2.5) + lift, abs=2e-3)


def test_fine_grids_are_thinned_around_zero():
    fine = plane(n=301)
    coarse = thinned(fine)
    assert len(coarse["x"]) <= 101
    assert coarse["loss"][coarse["y"].index(0.0)][coarse["x"].index(0.0)] == 0.01
    assert thinned(plane()) == plane()


def test_losses_that_are_no_numbers_are_holes():
    holed = plane()
    holed["loss"][0][0] = None
    assert contour_figure(holed).data[0].z[0][0] is None
    assert surface_figure(holed).data[0].z[0][0] is None
    assert line_figure(LINE).data[0].y[-1] is None


def test_a_report_has_all_of_it(measured):
    page = write_report(measured).read_text()
    for name in ("ground-0", "ground-0-surface", "ground-1", "line"):
        assert f'<figure id="{name}">' in page
    assert "The plane holds 90" in page
    assert "Where the descent ended" in page
    assert HOSTILE not in page


def test_a_report_without_has_none_of_it(make):
    page = write_report(make()).read_text()
    assert "ground-0" not in page
    assert "Where the descent ended" not in page


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("landscape", {"planes": None}),
        ("landscape", {"planes": [{"kind": "other"}]}),
        ("landscape", {"planes": [{**plane(), "loss": [[1.0]]}]}),
        ("landscape", {"planes": [{**plane(), "x": [1.0, 2.0]}]}),
        ("landscape", {"planes": [{**plane(), "loss": [["<b>"] * 7] * 7}]}),
        ("landscape", {"planes": [{**plane(), "path": {"step": [1]}}]}),
        ("line", {**LINE, "share": [1.0]}),
        ("line", {"loss": []}),
    ],
)
def test_damaged_files_are_refused(make, name, content):
    folder = make()
    (folder / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises(RunFolderError, match=rf"{name}\.json: damaged .*measure again"):
        write_report(folder)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="no Chromium installed")
@pytest.mark.parametrize("phone", [False, True])
def test_it_is_drawn_and_can_be_turned(measured, tmp_path, phone):
    browser = Chromium(tmp_path / "chromium", "--enable-unsafe-swiftshader")
    try:
        browser.set_screen(390 if phone else 1280, dark=phone, phone=phone)
        browser.open(write_report(measured))
        browser.wait_for("document.documentElement.dataset.drawn")
        assert browser.evaluate("document.querySelectorAll('#ground-0 .contour').length") == 1
        assert browser.evaluate("document.querySelectorAll('#ground-0-surface canvas').length") > 0
        assert browser.evaluate("document.documentElement.scrollWidth") <= (390 if phone else 1280)
        assert browser.evaluate("window.hacked") is None
        box = "document.querySelector('#ground-0-surface .plot')"
        moved = f"Plotly.relayout({box}, {{'scene.camera.eye': {{x: 2, y: 0, z: 1}}}})"
        assert browser.evaluate(f"{moved}.then((box) => box.layout.scene.camera.eye.x)") == 2
        # what a graphics driver made of software says about its speed is not the page's
        said = [text for text in browser.console() if "WebGL" not in text and "Canvas2D" not in text]
        assert said == []
    finally:
        browser.close()
