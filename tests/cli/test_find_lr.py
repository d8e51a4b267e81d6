"""`downslope find-lr`: a table, a page, JSON; and one line where something is wrong."""

import json
import re

import pytest


def test_a_table(command, finished):
    answer = command("find-lr", finished["data"], "--target", "price", "--drop", "kind", "--hidden", "8")
    assert (answer.code, answer.err) == (0, "")
    for reading in ("valley", "steepest", "minimum/10"):
        assert re.search(rf"^{reading} +[\d.e-]+ ", answer.out, re.MULTILINE)
    assert re.search(r"^confidence: (good|fair|poor) \(.*steps of adamw", answer.out, re.MULTILINE)


def test_json_and_a_page(command, finished, tmp_path):
    words = ["find-lr", finished["data"], "--target", "kind", "--hidden", "8", "--optimizer", "sgd"]
    answer = command(*words, "--json", "--out", tmp_path / "curve.html", "--steps", "60")
    assert answer.code == 0
    curve = json.loads(answer.out)
    assert len(curve["learning_rates"]) == len(curve["losses"]) == len(curve["smoothed"]) <= 60
    assert curve["suggestions"]
    assert curve["optimizer"] == "sgd"
    page = (tmp_path / "curve.html").read_text()
    assert "Plotly" in page
    assert 'src="http' not in page
    assert str(finished["data"]) not in page  # the name of the file, not where it lies
    assert "default-src 'none'" in page
    for name, rate in curve["suggestions"].items():
        assert re.search(rf"<bdi>{name}</bdi>.*?<bdi>{rate:g}</bdi>", page, re.DOTALL)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--target prise", r"no column 'prise'\. Did you mean 'price'"),
        ("--target price --steps 3", r"--steps must be a whole number of at least 10, got 3"),
        ("--target price --smallest 0", r"--smallest must be a number above 0"),
        ("--target price --smallest 1 --largest 0.5", r"--smallest 1 must be below --largest 0.5"),
        ("--target price --hidden x", r"--hidden must be widths"),
        ("--target price --batch-size x", r"--batch-size must be a whole number or 'full'"),
        ("--target price --optimizer adamm", r"Did you mean 'adam'"),
    ],
)
def test_refusals(command, finished, words, said):
    answer = command("find-lr", finished["data"], *words.split())
    assert answer.code == 2
    assert re.search(said, answer.error), answer.error
