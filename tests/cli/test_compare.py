"""`downslope compare` as it is typed."""

import json
import signal

import pytest

SMALL = ["--target", "kind", "--drop", "price", "--hidden", "8", "--batch-size", "16"]


def test_a_table_a_verdict_and_a_page(command, csv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [csv(), *SMALL, "--rules", "gd,adam", "--seeds", 2, "--budget", 3]
    answer = command("compare", *words)
    assert answer.code == 0, answer.err
    page = tmp_path / "comparisons" / "things-1" / "comparison.html"
    assert page.is_file()
    lines = answer.out.splitlines()
    assert lines[-1].endswith("comparisons/things-1/comparison.html")
    assert any(line.startswith("verdict") for line in lines)
    (header,) = [line for line in lines if line.startswith("update rule")]
    assert "test loss" in header
    assert sum(line.startswith(("adam ", "gradient-descent ")) for line in lines) == 2
    again = command("compare", *words, "--quiet")
    assert (again.code, again.out, again.err) == (0, "", "")
    assert (tmp_path / "comparisons" / "things-2").is_dir()


def test_json_is_all_that_is_printed(command, csv, tmp_path):
    out = tmp_path / "there"
    answer = command(
        "compare",
        csv(),
        *SMALL,
        "--learning-rates",
        "0.01,1e9",
        "--seeds",
        1,
        "--budget",
        2,
        "--out",
        out,
        "--json",
    )
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(answer.out)
    assert found["folder"] == str(out)
    assert {name: value for name, value in found.items() if name != "folder"} == json.loads(
        (out / "results.json").read_text()
    )
    assert [arm["summary"]["diverged"] for arm in found["arms"]] == [0, 1]


def test_dimensions_take_no_data(command, tmp_path):
    out = tmp_path / "curse"
    answer = command("compare", "--dimensions", "1,2,…,64", "--seeds", 2, "--budget", 1000, "--out", out)
    assert answer.code == 0, answer.err
    assert "formula: 10" in answer.out
    assert (out / "comparison.html").is_file()
    refused = command("compare", "digits", "--dimensions", "1,2")
    assert refused.code == 2
    assert refused.error == "--dimensions trains no network on data; leave out DATA"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rules", "adm"], "--rules: unknown 'adm'. Did you mean 'adam'"),
        (["--rules", "sdg,momentm"], "unknown 'sdg'. Did you mean 'sgd'"),
        (["--rules", ","], "--rules names none"),
        (["--budget", "30x"], "such as 20, or a time, such as 30s or 2min; got '30x'"),
        (["--seeds", "0"], "--seeds must be a whole number of at least 1, got 0"),
        (["--batch-sizes", "1,half"], "--batch-sizes must be whole numbers or 'full'"),
        (["--learning-rates", "0.1;1"], "--learning-rates must be numbers above 0"),
        (["--dimensions", "8,4"], "ascending whole numbers"),
        (["--dimensions", "2", "--budget", "30s"], "how many losses a search may look at"),
        (["--dimensions", "2", "--rules", "adam"], "leave out --rules"),
        (["--hidden", "wide"], "--hidden must be widths"),
        (["--target", "nothing"], "no column 'nothing'"),
    ],
)
def test_bad_input_is_one_line_before_anything_compiles(
    command, words, said, compiled, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    answer = command("compare", *words)
    assert answer.code == 2
    assert said in answer.error
    assert (answer.out, list(tmp_path.iterdir()), compiled) == ("", [], [])


@pytest.mark.slow
def test_ctrl_c_prints_what_is_finished(start, tmp_path):
    process = start(
        "compare",
        "iris",
        "--hidden",
        "4",
        "--rules",
        "sgd",
        "--seeds",
        "5000",
        "--budget",
        "20",
        cwd=tmp_path,
    )
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("rate"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err == ""
    assert "interrupted: this is what was finished" in out
    assert any(line.startswith("sgd ") for line in out.splitlines())
    results = json.loads((tmp_path / "comparisons" / "iris-1" / "results.json").read_text())
    assert results["interrupted"]
    assert 1 <= len(results["arms"][0]["runs"]) < 5000
