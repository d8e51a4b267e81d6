import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plotly.offline import get_plotlyjs

from downslope.errors import RunFolderError
from downslope.report import read_contents, render_report, write_report

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&lt;"
MAX_BYTES = 6_000_000


class Page(HTMLParser):
    """What a browser would make of the page: its elements and its text outside scripts and styles."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.words, self.scripts, self._inside = [], [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def figures(self):
        place = [attrs.get("id") for tag, attrs in self.elements if tag == "script"].index("figures")
        return json.loads(self.scripts[place])


@pytest.fixture(params=["classification", "regression"])
def folder(make, request):
    return make(task=request.param)


def test_writes_one_file_and_leaves_nothing_else(folder):
    before = set(os.listdir(folder))
    path = write_report(folder)
    assert path == folder / "report.html"
    assert set(os.listdir(folder)) == before | {"report.html"}
    assert path.read_text(encoding="utf-8") == render_report(read_contents(folder))


def test_an_old_report_survives_a_failed_one(folder):
    old = write_report(folder).read_bytes()
    (folder / "summary.json").write_text("{")
    with pytest.raises(RunFolderError):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == old


def test_a_report_that_cannot_be_written(folder):
    (folder / "report.html").mkdir()
    with pytest.raises(RunFolderError, match=r"report.html: cannot be written"):
        write_report(folder)
    assert not list(folder.glob(".report*"))


def test_the_parts_stand_in_order(make):
    page = Page(render_report(read_contents(make(classes=["no", "yes"])))).text
    parts = [
        "Predicts “ocean_proximity” right for",
        "Training ended after",
        "parameters",
        "The cost function falling",
        "Learning rate",
        "Gradient norm",
        "Right and wrong, class by class",
        "Can its confidence be trusted?",
        "(ROC)",
        "What the columns became",
        "Configuration",
        "versions",
    ]
    places = [page.index(part) for part in parts]
    assert places == sorted(places)


def test_figures_by_task(make):
    assert set(Page(render_report(read_contents(make(classes=["no", "yes"])))).figures()) == {
        "cost",
        "learning-rate",
        "gradient-norm",
        "metric",
        "confusion",
        "reliability",
        "roc",
    }
    figures = Page(render_report(read_contents(make(task="regression")))).figures()
    assert {"predicted", "residuals"} < set(figures)
    assert "confusion" not in figures


def test_every_figure_in_the_page_has_a_place_and_words(folder):
    page = Page(render_report(read_contents(folder)))
    boxes = {attrs["data-figure"]: attrs for _, attrs in page.elements if "data-figure" in attrs}
    assert boxes.keys() == page.figures().keys()
    assert all(attrs["aria-label"] for attrs in boxes.values())
    tags = [tag for tag, _ in page.elements]
    assert tags.count("figure") == tags.count("figcaption") == len(boxes)


def test_plotly_is_there_once_and_the_page_is_small(folder):
    page = render_report(read_contents(folder))
    assert page.count(get_plotlyjs()) == 1
    assert len(page.encode()) < MAX_BYTES


def test_nothing_points_to_the_network(folder):
    page = Page(render_report(read_contents(folder)))
    for tag, attrs in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster", "background", "ping"):
            assert attrs.get(name, "data:").startswith("data:"), (tag, name)
    policy = next(attrs["content"] for _, attrs in page.elements if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"https?:|\*|script-src[^;]*unsafe", policy)


def test_hostile_names_are_text(make):
    folder = make(classes=[HOSTILE, "b"])
    for name in ("config.json", "summary.json"):
        content = json.loads((folder / name).read_text())
        content |= {"target": HOSTILE, "data": HOSTILE, "optimizer": HOSTILE, "stopped_because": HOSTILE}
        content |= {HOSTILE: HOSTILE}
        if name == "summary.json":
            content |= {"devices": [HOSTILE], "versions": {HOSTILE: HOSTILE}, "precision": HOSTILE}
        (folder / name).write_text(json.dumps(content))
    column = dict.fromkeys(("column", "became", "width", "note"), HOSTILE)
    (folder / "encoding.json").write_text(json.dumps({"describe": [column]}))
    event = {"kind": HOSTILE, "step": HOSTILE, "epoch": 3, "seconds": HOSTILE, "message": HOSTILE}
    (folder / "events.jsonl").write_text(json.dumps(event) + "\n")
    folder = folder.rename(folder.with_name("<script>alert(3)<"))
    page = Page(render_report(read_contents(folder)))
    tags = [tag for tag, _ in page.elements]
    assert tags.count("script") == 4
    assert "img" not in tags
    assert page.text.count("<script>alert(1)</script>") >= 12
    assert "<script>alert(3)<" in page.text
    for trace in page.figures()["confusion"]["data"]:
        assert "<script" not in json.dumps(trace)


def test_a_name_that_utf8_cannot_write(make):
    folder = make()
    (folder / "config.json").write_text('{"data": "\\ud800.csv"}')
    assert "?.csv" in write_report(folder).read_text(encoding="utf-8")


def test_a_run_without_a_finished_epoch(make):
    folder = make()
    pq.write_table(pa.table({"epoch": pa.array([], pa.int64()), "train_loss": pa.array([], pa.float64())}),
                   folder / "history.parquet")  # fmt: skip
    page = Page(render_report(read_contents(folder)))
    assert "No epoch was finished" in page.text
    assert "cost" not in page.figures()


def test_a_loss_below_zero_has_no_log_buttons(make):
    folder = make()
    pq.write_table(pa.table({"epoch": [1, 2], "train_loss": [1.0, -1.0]}), folder / "history.parquet")
    page = Page(render_report(read_contents(folder)))
    assert not [attrs for _, attrs in page.elements if "data-scale" in attrs]


def test_the_largest_run_stays_under_the_limit(make):
    generator = np.random.default_rng(0)
    names = [f"a class with quite a long name, number {n}" for n in range(1000)]
    folder = make(epochs=20_000)
    evaluation = json.loads((folder / "evaluation.json").read_text())
    curve = np.sort(generator.random(100_000)).tolist()
    evaluation |= {
        "classes": names,
        "confusion": generator.integers(0, 1000, (1000, 1000)).tolist(),
        "roc": {"fpr": curve, "tpr": curve, "auc": 0.5},
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    column = {"column": "c" * 500, "became": "standardised number", "width": 1, "note": "n" * 500}
    (folder / "encoding.json").write_text(json.dumps({"describe": [column] * 5000}))
    (folder / "events.jsonl").write_text(json.dumps({"kind": "best", "epoch": 1, "message": "m"}) * 1)
    assert write_report(folder).stat().st_size < MAX_BYTES
    assert "… and 4,700 more rows." in Page((folder / "report.html").read_text()).text


def test_the_largest_readable_confusion_matrix_stays_under_the_limit(make):
    names = [f"a class with quite a long name, number {n}" for n in range(60)]
    assert write_report(make(epochs=5000, classes=names)).stat().st_size < MAX_BYTES


def test_reports_need_no_jax():
    code = "import sys, downslope.report; assert 'jax' not in sys.modules and 'flax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
