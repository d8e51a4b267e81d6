"""The runs under a folder: found, read as they grow, and nothing outside it."""

import json
import os
import time

import numpy as np
import pytest

from downslope import train
from downslope.errors import NonFiniteError
from downslope.lab import runs as page
from downslope.lab.app import create_app
from downslope.lab.library import QUIET_SECONDS, Library
from downslope.runs.folder import write_history

PORT = 8123
SECRET = "a secret outside"
GIVEN = {"compare": ["a"], "measure": "validation_loss", "across": "epoch", "scale": "log"}


def make(folder, epochs=3, finished=True, report=True, target="y", planned=5, **said):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"data": "digits", "target": target, "epochs": planned}))
    grow(folder, epochs)
    if finished:
        summary = {
            "stopped_because": "all epochs done",
            "failed": False,
            "task": "classification",
            "metrics": {"test": {"accuracy": 0.925, "loss": 0.2}},
            **said,
        }
        (folder / "summary.json").write_text(json.dumps(summary))
    if report:
        (folder / "report.html").write_text(f"report of {folder.name}")
    return folder


def grow(folder, epochs):
    rows = [
        {"epoch": n, "step": 10 * n, "train_loss": 1 / n, "validation_loss": 1.1 / n, "seconds": 0.1 * n,
         "validation_metric": 1 - 0.5 / n, "learning_rate": 0.1, "gradient_norm": None}
        for n in range(1, epochs + 1)
    ]  # fmt: skip
    write_history(folder, rows)


def age(folder, seconds):
    then = time.time() - seconds
    for path in folder.iterdir():
        os.utime(path, (then, then))


@pytest.fixture
def outside(tmp_path):
    """A run beside the folder of runs."""
    folder = make(tmp_path / "outside")
    for name in ("config.json", "report.html", "history.parquet", "summary.json"):
        (folder / name).write_text(SECRET)
    return folder


@pytest.fixture
def client(runs):
    return create_app(runs, PORT).server.test_client()


def get(client, address):
    return client.get(address, base_url=f"http://127.0.0.1:{PORT}")


def test_runs_are_found_newest_first_and_not_inside_each_other(runs):
    make(runs / "old")
    age(runs / "old", 100)
    make(runs / "group" / "new")
    make(runs / "group" / "new" / "inner")
    make(runs / ".hidden")
    (runs / "no run").mkdir()
    assert Library(runs).names() == ["group/new", "old"]


def test_a_folder_that_is_not_there_has_no_runs(tmp_path):
    assert Library(tmp_path / "nothing").lines() == []


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "a/../../outside",
        "..",
        "/etc",
        "//etc",
        "a/../../../../../../etc",
        "a\0b",
        "x" * 5000,
        "",
    ],
)
def test_names_cannot_leave_the_folder(runs, outside, name):
    make(runs / "a")
    library = Library(runs)
    for filename in ("report.html", "config.json", "passwd"):
        assert library.file(name, filename) is None
    assert library.file(str(outside), "report.html") is None
    assert library.file("a", "../../outside/report.html") is None
    assert library.file("a", "report.html") is not None


@pytest.mark.parametrize(
    "address",
    ["/report/../outside", "/report/..%2foutside", "/report/a/../../outside", "/report/a/..%2f..%2foutside",
     "/report/%2e%2e/outside", "/report//etc/passwd", "/report/a%00", "/report/missing", "/report/"],
)  # fmt: skip
def test_addresses_cannot_leave_the_folder(client, runs, outside, address):
    make(runs / "a")
    answer = get(client, address)
    assert SECRET not in answer.text
    assert answer.status_code in (404, 308) or "<title>" in answer.text  # the lab's own page
    assert get(client, "/report/a").text == "report of a"


def test_links_cannot_leave_the_folder(client, runs, outside):
    (runs / "linked").symlink_to(outside)
    inside = make(runs / "inside", finished=False, report=False)
    for name in ("report.html", "summary.json"):
        (inside / name).symlink_to(outside / name)
    (inside / "history.parquet").unlink()
    (inside / "history.parquet").symlink_to(outside / "history.parquet")
    (runs / "circle").mkdir()
    (runs / "circle" / "config.json").symlink_to(runs / "circle" / "config.json")
    library = Library(runs)
    assert library.file("linked", "report.html") is None
    (line,) = [line for line in library.lines() if line.name == "inside"]
    assert not line.has_report
    assert line.progress == "0 of 5 epochs"
    assert SECRET not in repr(library.lines())
    for address in ("/report/linked", "/report/inside"):
        assert get(client, address).status_code == 404


def test_a_link_that_stays_inside_is_followed(runs):
    make(runs / "real")
    (runs / "alias").symlink_to(runs / "real")
    assert Library(runs).file("alias", "report.html") == (runs / "real" / "report.html").resolve()


def test_what_is_said_of_a_run(runs):
    make(runs / "a", target="price")
    (line,) = Library(runs).lines()
    assert (line.state, line.about, line.progress) == ("finished", "price of digits", "3 of 5 epochs")
    assert line.result.replace("\N{NO-BREAK SPACE}", " ") == "test: 92.5 % right"
    assert line.has_report


def test_a_run_that_is_written_to_is_training_and_one_that_is_not_is_unfinished(runs):
    folder = make(runs / "a", finished=False, report=False)
    library = Library(runs)
    (line,) = library.lines()
    assert (line.state, line.progress, line.result) == (
        "training",
        "3 of 5 epochs",
        "validation metric 0.833 so far",
    )
    age(folder, 2 * QUIET_SECONDS)
    assert library.lines()[0].state == "unfinished"


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ({}, "finished"),
        ({"stopped_because": "time limit of 6 s"}, "finished"),
        ({"stopped_because": None}, "finished"),
        ({"stopped_because": "interrupted"}, "interrupted"),
        ({"stopped_because": "the loss became nan at step 2", "failed": True}, "diverged"),
    ],
)
def test_the_state_says_how_a_run_ended(runs, words, said, state):
    make(runs / "a", **said)
    library = Library(runs)
    assert library.lines()[0].state == state
    shown = page.answer(library, GIVEN, None)[2]
    assert state in words(shown)
    assert f"className='state {state}'" in str(shown)


def test_a_training_that_diverges_is_not_called_finished(runs):
    inputs = np.linspace(-1, 1, 60)[:, None]
    options = {"model": "linear", "optimizer": "gradient-descent", "learning_rate": 1e9, "guard": False}
    with pytest.raises(NonFiniteError):
        train(inputs, 3.0 * inputs[:, 0], out=runs / "a", epochs=30, quiet=True, **options)
    assert Library(runs).lines()[0].state == "diverged"


@pytest.mark.parametrize(
    ("planned", "epochs", "progress"),
    [("auto", 126, "126 epochs"), ("auto", 1, "1 epoch"), (1, 1, "1 of 1 epoch"), (None, 2, "2 epochs")],
)
def test_the_progress_is_counted_as_far_as_it_is_known(runs, planned, epochs, progress):
    make(runs / "a", planned=planned, epochs=epochs)
    assert Library(runs).lines()[0].progress == progress


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"metrics": 3}', '{"metrics": {"test": {"accuracy": "x"}}}']
)
@pytest.mark.parametrize("filename", ["config.json", "summary.json", "history.parquet"])
def test_damaged_files_are_shown_and_stop_nothing(runs, filename, content, words):
    folder = make(runs / "a")
    (folder / filename).write_text(content)
    make(runs / "b")
    answer = page.answer(Library(runs), {**GIVEN, "compare": ["a", "b"]}, None)
    assert "b" in words(answer[2])
    assert any(trace["name"] == "b" for trace in answer[0]["data"])


def test_curves_grow_while_a_run_trains_and_nothing_is_sent_when_nothing_changed(runs):
    folder = make(runs / "a", epochs=2, finished=False)
    library = Library(runs)
    first = page.answer(library, GIVEN, None)
    assert first[0]["data"][0]["y"] == [1.1, 0.55]
    again = page.answer(library, GIVEN, first[4])
    assert type(again[0]).__name__ == "NoUpdate"
    grow(folder, 4)
    os.utime(folder / "history.parquet", (time.time() + 1, time.time() + 1))
    more = page.answer(library, GIVEN, first[4])
    assert more[0]["data"][0]["x"] == [1, 2, 3, 4]


def test_several_runs_several_measures(runs):
    for name in "abc":
        make(runs / name)
    library = Library(runs)
    figure = page.answer(
        library, {**GIVEN, "compare": ["a", "c"], "measure": "train_loss", "across": "seconds"}, None
    )[0]
    assert [trace["name"] for trace in figure["data"]] == ["a", "c"]
    assert len({trace["line"]["color"] for trace in figure["data"]}) == 2
    assert figure["data"][0]["x"] == pytest.approx([0.1, 0.2, 0.3])
    assert figure["layout"]["yaxis"]["type"] == "log"
    _, said, *_ = page.answer(library, {**GIVEN, "measure": "gradient_norm"}, None)
    assert "None of the chosen runs" in said[0].children


@pytest.mark.parametrize(
    ("name", "default"), [("measure", "validation_loss"), ("across", "epoch"), ("scale", "log")]
)
def test_an_unknown_choice_is_the_default_in_the_menu_and_in_the_picture(runs, name, default):
    make(runs / "a")
    found = str(page.layout(Library(runs), f"?{name}=bogus"))
    assert f"value='{default}'" in found
    assert "bogus" not in found
    given = {**GIVEN, name: "bogus"}
    assert page.answer(Library(runs), given, None)[0] == page.answer(Library(runs), GIVEN, None)[0]


def test_no_runs_yet_says_how_to_make_one(runs, words):
    assert "downslope train" in words(page.answer(Library(runs), {**GIVEN, "compare": None}, None)[1])


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "a<b>b",
    "%{x}<a href='javascript:alert(1)'>",
    "café ☃ 'q' \"q\"",
    "a?b#c%2f&d",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_and_their_reports_open(client, runs, name):
    if "/" in name:
        name = name.replace("/", "∕")
    make(runs / name, target=name)
    library = Library(runs)
    figure, _, table, ticks, _ = page.answer(library, {**GIVEN, "compare": [name]}, None)
    drawn = figure["data"][0]["name"]
    assert "<" not in drawn
    assert ticks == [{"value": name, "label": name}]
    rows = table.children.children[1].children
    assert rows[0].children[0].children[1].children == name
    link = rows[0].children[-1].children
    assert get(client, link.href).text == f"report of {name}"


def test_an_address_restores_what_was_chosen(runs):
    for name in ("a", "b", "c, d"):
        make(runs / name)
    found = str(page.layout(Library(runs), "?compare=b%0Ac%2C+d%0Agone&measure=train_loss&scale=linear"))
    assert "value=['b', 'c, d']" in found
    assert "value='train_loss'" in found
    assert "value='linear'" in found
