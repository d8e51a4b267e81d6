"""`downslope sharpness` and `downslope landscape`, as typed."""

import json
import shutil

import pytest


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(finished["classification"], tmp_path / "run")


def test_sharpness(command, run):
    answer = command("sharpness", run, "--rows", 20)
    assert answer.code == 0, answer
    said = dict(line.split(maxsplit=1) for line in answer.out.splitlines() if not line.startswith("step"))
    assert "20 of" in said["loss"]
    assert said["verdict"].split(":")[0] in ("Not settled", "A saddle", "A minimum")
    assert said["report"] == str(run / "report.html")
    as_json = json.loads(command("sharpness", run, "--rows", 20, "--json").out)
    assert as_json["verdict"] in ("not settled", "saddle", "minimum")


def test_landscape(command, run, tmp_path):
    answer = command("landscape", run, "--resolution", 5)
    assert answer.code == 0, answer
    assert "5 × 5 points" in answer.out
    assert "squared distances" in answer.out
    shutil.copytree(run, tmp_path / "again")
    answer = command("landscape", run, "again", "--resolution", 5)
    assert "run and again lie in one valley" in answer.out
    assert json.loads(command("landscape", run, "again", "--json").out)["resolution"] == 51


def test_watching(command, tmp_path):
    done = command(
        "train", "iris", "--epochs", 2, "--hidden", 4, "--watch-sharpness", "--out", tmp_path / "w", "--quiet"
    )
    assert done.code == 0, done
    assert json.loads((tmp_path / "w" / "config.json").read_text())["watch_sharpness"] is True


@pytest.mark.parametrize("name", ["sharpness", "landscape"])
def test_what_cannot_be_used(command, run, finished, files, name, tmp_path):
    (tmp_path / "empty").mkdir()
    before = files(tmp_path)
    wrong = {
        ("nowhere",): "nowhere: no such run folder",
        ("empty",): "empty: not a run folder",
        (run, "--rows", 0): "--rows must be a whole number of at least 1",
        (run, "--data", "gone.csv"): "gone.csv: there is no such file",
        (run, "--data", "iris"): "iris: no column 'kind'",
        (): "Missing argument 'RUN'",
    }
    if name == "landscape":
        wrong |= {
            (run, "--resolution", 2): "--resolution must be a whole number from 3 to 301, got 2",
            (run, "--resolution", 302): "--resolution must be a whole number from 3 to 301, got 302",
            (run, "--resolution", "fine"): "--resolution': Input should be a valid integer",
            (run, "--seed", -1): "--seed must be a whole number from 0",
            (run, "nowhere"): "nowhere: no such run folder",
            (run, finished["regression"]): "another network than",
        }
    for words, message in wrong.items():
        answer = command(name, *words)
        assert answer.code == 2, words
        assert message in answer.error
        assert answer.out == ""
    assert files(tmp_path) == before


def test_nothing_is_compiled_before_a_refusal(command, run, finished, compiled):
    for words in ((run, "--resolution", 999), (run, finished["regression"]), (run, "--data", "iris")):
        assert command("landscape", *words).code == 2
    assert compiled == []
