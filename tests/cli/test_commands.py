"""What the commands print and write when all is well."""

import csv
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import downslope as ds

SMALL = ["--hidden", "8", "--epochs", "3", "--batch-size", "16", "--learning-rate", "0.01"]


@pytest.fixture
def things(csv, tmp_path, monkeypatch):
    """A file `things.csv` in the folder where the commands are run."""
    monkeypatch.chdir(tmp_path)
    return csv()


def test_from_a_file_to_predictions_and_a_report(things, tmp_path, command, table):
    answer = command("train", "things.csv", "--target", "kind", "--drop", "price", "--out", "run", *SMALL)
    assert (answer.code, answer.err) == (0, "")
    out = answer.out.splitlines()
    assert out[0].startswith("data     things.csv: 120 rows × 4 columns (train 84 · validation 12 · test 24)")
    assert any(line.strip().startswith("classification: 'kind' has 2 distinct text values") for line in out)
    assert any(line.startswith("model    mlp 8 → 8 → 2") for line in out)
    assert any(line.startswith("descent  adamw, learning rate 0.01") for line in out)
    assert [line.split("  ")[0] for line in out if line.startswith("epoch ")] == [
        "epoch 1/3",
        "epoch 2/3",
        "epoch 3/3",
    ]
    assert out[-1] == "report   run/report.html"
    assert "\x1b" not in answer.out  # no terminal, no control sequences
    summary = ds.Run.load("run").summary
    shown = next(line for line in out if line.startswith("test ")).split()
    assert [float(number) for number in shown[1:]] == [
        round(summary["metrics"]["test"][name], 4) for name in ("loss", "accuracy", "log_loss")
    ]

    answer = command("predict", "run", "things.csv", "--out", "predicted.csv")
    assert answer == (0, "120 predictions in predicted.csv\n", "")
    with open("predicted.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["kind"]
    assert [row[0] for row in rows[1:]] == ds.Run.load("run").predict("things.csv").tolist()

    answer = command("predict", "run", "things.csv", "--proba")
    rows = list(csv.reader(answer.out.splitlines()))
    assert rows[0] == ["kind", "probability_cheap", "probability_dear"]
    shares = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]])
    np.testing.assert_allclose(shares, ds.Run.load("run").predict_proba("things.csv"), rtol=1e-6)
    assert [row[0] for row in rows[1:]] == np.array(["cheap", "dear"])[shares.argmax(axis=1)].tolist()

    answer = command("evaluate", "run", "things.csv", "--json")
    found = json.loads(answer.out)
    assert found.pop("rows") == 120
    assert found == pytest.approx(ds.Run.load("run").evaluate("things.csv"))
    lines = dict(line.rsplit(None, 1) for line in command("evaluate", "run", "things.csv").out.splitlines())
    assert lines == {
        "rows": "120",
        "loss": f"{found['loss']:.4f}",
        "accuracy": f"{found['accuracy']:.4f}",
        "log loss": f"{found['log_loss']:.4f}",
    }

    page = (tmp_path / "run" / "report.html").read_bytes()
    (tmp_path / "run" / "report.html").unlink()
    answer = command("report", "run")
    assert answer == (0, "run/report.html\n", "")
    assert (tmp_path / "run" / "report.html").read_bytes() == page


@pytest.mark.parametrize(
    ("options", "split"),
    [
        ([], "test"),
        (["--test-fraction", 0], "validation"),
        (["--test-fraction", 0, "--validation-fraction", 0], None),
    ],
)
def test_the_runs_own_data_is_called_so(things, command, options, split):
    words = ["--target", "kind", "--drop", "price", "--out", "run", *SMALL, *options]
    assert command("train", "things.csv", *words).code == 0
    (note,) = command("evaluate", "run", "things.csv").err.splitlines()
    said = "note: things.csv: the run was trained on"
    if split is None:
        assert note == f"{said} these rows"
    else:
        accuracy = ds.Run.load("run").summary["metrics"][split]["accuracy"]
        assert note == f"{said} most of these rows; on its {split} rows accuracy was {accuracy:.4f}"
    rows = Path("things.csv").read_text().splitlines(keepends=True)
    Path("others.csv").write_text("".join([rows[0], *rows[:0:-1]]))  # in another order, another file
    assert command("evaluate", "run", "others.csv").err == ""
    (as_json,) = command("evaluate", "run", "things.csv", "--json").err.splitlines()
    assert as_json == note


def test_json_is_one_object_and_nothing_else(things, command):
    answer = command("train", "things.csv", "--target", "price", "--json", "--out", "run", *SMALL)
    assert (answer.code, answer.err) == (0, "")
    found = json.loads(answer.out)  # which refuses anything before or after
    assert found.pop("folder") == "run"
    assert found == ds.Run.load("run").summary
    assert found["task"] == "regression"


def test_quiet_prints_nothing(things, command):
    answer = command("train", "things.csv", "--target", "kind", "--quiet", *SMALL)
    assert answer == (0, "", "")
    assert ds.Run.load("runs/things-1").summary["epochs"] == 3


def test_folders_are_numbered(things, command):
    for number in (1, 2):
        answer = command("train", "things.csv", "--target", "kind", *SMALL)
        assert answer.out.splitlines()[-1] == f"report   runs/things-{number}/report.html"


def test_overwrite(things, command):
    words = ["train", "things.csv", "--target", "kind", "--out", "run", *SMALL]
    assert command(*words).code == 0
    assert command(*words).code == 2
    assert command(*words, "--overwrite", "--seed", "1").code == 0
    assert json.loads((things.parent / "run" / "config.json").read_text())["seed"] == 1


def test_every_option_reaches_the_run(things, csv, command, table):
    """Each as typed is found again in config.json; all together make a run."""
    csv("test.tsv", table(40, seed=3), delimiter="\t")
    csv("train.tsv", delimiter="\t")
    typed = {
        "--target": ("kind", "kind"),
        "--task": ("classification", "classification"),
        "--test": ("test.tsv", str(things.parent / "test.tsv")),
        "--validation-fraction": ("0.25", 0.25),
        "--drop": ("price", ["price"]),
        "--delimiter": ("tab", "tab"),
        "--model": ("mlp", "mlp"),
        "--hidden": ("6, 5", [6, 5]),
        "--activation": ("gelu", "gelu"),
        "--dropout": ("0.25", 0.25),
        "--ramps": ("3", 3),
        "--loss": ("binary-cross-entropy", "binary-cross-entropy"),
        "--learning-rate": ("0.03", 0.03),
        "--schedule": ("linear", "linear"),
        "--batch-size": ("10", 10),
        "--epochs": ("2", 2),
        "--max-seconds": ("100", 100.0),
        "--seed": ("7", 7),
        "--checkpoint-every": ("5", 5.0),
    }
    words = [word for option, (text, _) in typed.items() for word in (option, text)]
    words += ["--optimizer", "lamb", "--weight-decay", "0.07"]
    words += ["--batch-norm", "--layer-norm", "--no-early-stopping"]
    answer = command("train", "train.tsv", "--out", "run", *words)
    assert answer.code == 0, answer.err
    config = json.loads((things.parent / "run" / "config.json").read_text())
    for option, (_, value) in typed.items():
        assert config[option[2:].replace("-", "_")] == value, option
    assert config["optimizer"]["name"] == "lamb"
    assert config["optimizer"]["hyperparameters"]["weight_decay"] == 0.07
    assert (config["batch_norm"], config["layer_norm"], config["early_stopping"]) == (True, True, False)
    assert config["header"] is True
    summary = ds.Run.load("run").summary
    assert summary["rows"] == {"train": 90, "validation": 30, "test": 40}


def test_without_a_header(things, command, tmp_path):
    text = things.read_text().splitlines()
    (tmp_path / "bare.csv").write_text("\n".join(text[1:]) + "\n")
    words = ["--no-header", "--target", "column_6", "--drop", "column_5", "--out", "run", *SMALL]
    assert command("train", "bare.csv", *words).code == 0
    answer = command("predict", "run", "bare.csv")  # without saying so again
    assert answer.out.splitlines()[0] == "column_6"
    assert len(answer.out.splitlines()) == 121


def test_batch_sizes(things, command):
    for size, steps in (("full", 84), ("1", 1), ("1000000", 84)):
        words = ["--target", "kind", "--epochs", "1", "--model", "linear", "--out", f"run-{size}"]
        words += ["--learning-rate", "0.01"]
        assert command("train", "things.csv", "--batch-size", size, *words).code == 0
        assert ds.Run.load(f"run-{size}").summary["batch_size"] == steps


TOO_LARGE = ("--target", "price", "--out", "run", "--quiet", *SMALL, "--learning-rate", "1e30")


def test_a_rate_that_is_too_large(things, command):
    answer = command("train", "things.csv", *TOO_LARGE)
    assert (answer.code, answer.out, answer.err) == (0, "", "")
    run = ds.Run.load("run")
    assert np.isfinite(run.predict(things)).all()
    assert run.summary["steps_rolled_back"] > 0
    kinds = [json.loads(line)["kind"] for line in Path("run/events.jsonl").read_text().splitlines()]
    assert {"rolled-back", "other-rate"} <= set(kinds)
    assert run.summary["diagnosis"]


def test_a_rate_that_is_too_large_without_the_guard(things, command):
    answer = command("train", "things.csv", *TOO_LARGE, "--no-guard")
    assert answer.code == 1
    assert answer.out == ""
    assert re.search(r"became (nan|inf) at step \d+ \(epoch \d+\)", answer.error)
    run = ds.Run.load("run")
    assert np.isfinite(run.predict(things)).all()
    assert all(np.isfinite(leaf).all() for leaf in _leaves(run.params))
    assert "became" in run.summary["stopped_because"]
    assert command("report", "run").code == 0


def _leaves(tree):
    for leaf in tree.values():
        yield from _leaves(leaf) if isinstance(leaf, dict) else [leaf]


def test_metrics_that_are_undefined_are_null(things, command, tmp_path):
    assert command("train", "things.csv", "--target", "price", "--out", "run", "--quiet", *SMALL).code == 0
    (tmp_path / "one.csv").write_text("\n".join(things.read_text().splitlines()[:2]) + "\n")
    found = json.loads(command("evaluate", "run", "one.csv", "--json").out, parse_constant=pytest.fail)
    assert found["r2"] is None
    assert found["rmse"] >= 0


def test_help_and_version(command):
    assert command("--version") == (0, "downslope 0.1.0\n", "")
    for words in ((), ("--help",)):
        answer = command(*words)
        assert answer.code == 0
        for name in ("train", "predict", "evaluate", "report"):
            assert re.search(rf"^  {name} ", answer.out, re.MULTILINE)
    for name in ("train", "predict", "evaluate", "report"):
        assert command(name, "--help").out.startswith("Usage: downslope " + name)


def test_the_package_is_the_command():
    run = [sys.executable, "-m", "downslope", "--version"]
    answer = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "downslope 0.1.0\n", "")


OPTIONS = """
target task test test-fraction validation-fraction drop no-header delimiter model hidden activation batch-norm
layer-norm dropout loss optimizer learning-rate schedule weight-decay batch-size epochs max-seconds
early-stopping no-early-stopping seed out overwrite checkpoint-every resume quiet json
"""


def test_every_option_is_there(command):
    shown = command("train", "--help").out
    for option in OPTIONS.split():
        assert re.search(rf"--{option}\b", shown), option


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_stopped_before_the_descent(command, monkeypatch, stop):
    """While data is read, say: one line at most, and the exit code of an interruption."""
    import importlib

    def interrupted(*arguments, **options):
        signal.raise_signal(stop)

    monkeypatch.setattr(importlib.import_module("downslope.workflow.train"), "train", interrupted)
    answer = command("train", "iris")
    assert answer.code == 130
    assert answer.out == ""
    assert answer.err == "interrupted\n"


def test_ctrl_c_before_the_first_step(things, command, monkeypatch):
    """The folder is there, so it can be gone on with, from its beginning; but not with the run before it."""
    import importlib

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    words = ["train", "things.csv", "--target", "kind", "--out", "run", "--quiet", *SMALL]
    module = importlib.import_module("downslope.workflow.train")
    with monkeypatch.context() as patched:
        patched.setattr(module, "descend", interrupted)
        answer = command(*words)
        assert answer == (130, "", "interrupted: go on with  downslope train --resume run\n")
    assert command("train", "--resume", "run", "--quiet") == (0, "", "")
    with monkeypatch.context() as patched:
        patched.setattr(module, "problem_of", interrupted)
        answer = command(*words, "--overwrite", "--seed", "7")
        assert answer == (130, "", "interrupted\n")


def test_ctrl_c_after_the_descent(things, command, monkeypatch):
    """While the run is written down: its last checkpoint is whole, and the hint says how to go on."""
    import importlib

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(importlib.import_module("downslope.workflow.outcome"), "save", interrupted)
        answer = command("train", "things.csv", "--target", "kind", "--out", "run", "--quiet", *SMALL)
    assert answer == (130, "", "interrupted: go on with  downslope train --resume run\n")
    assert command("train", "--resume", "run", "--quiet") == (0, "", "")
    assert command("report", "run").code == 0


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (MemoryError("Unable to allocate 74.5 GiB"), "there is not enough memory; take a smaller network"),
        (RuntimeError("INTERNAL: Out of memory allocating 40000 bytes."), "there is not enough memory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("the disk has gone"), "the disk has gone"),
        (OSError(28, "No space left on device", "runs/x"), "runs/x: No space left on device"),
    ],
)
def test_what_the_machine_lacks_is_said_in_one_line(command, monkeypatch, trouble, said):
    import importlib

    def fails(*arguments, **options):
        raise trouble

    monkeypatch.setattr(importlib.import_module("downslope.workflow.train"), "train", fails)
    answer = command("train", "iris")
    assert (answer.code, answer.out) == (1, "")
    assert answer.error.startswith(said)


def test_a_reader_that_goes_away(finished, environment):
    """`downslope predict … | head -1`: no traceback."""
    program = "from downslope.cli import main; main()"
    words = [sys.executable, "-c", program, "predict", finished["regression"], finished["data"]]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    assert process.returncode in (0, 1)


def test_the_summary_of_every_command_fits_its_line(command):
    answer = command("--help")
    assert "..." not in answer.out.split("Commands:")[1]


def test_ctrl_c_is_answered_in_one_line(things, command, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("downslope.workflow.find.find_learning_rate", interrupted)
    answer = command("find-lr", things, "--target", "y")
    assert (answer.code, answer.error, answer.out) == (130, "interrupted", "")


def test_categories_that_training_never_saw_are_named(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    rows = [f"{'yes' if i % 3 else 'no'},{i % 7},{i % 3}" for i in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["member,x,y", *rows]) + "\n")
    (tmp_path / "b.csv").write_text("member,x,y\nY,1,2\nno,2,1\nY,3,0\n")
    command("train", "a.csv", "--target", "y", "--out", "run", *SMALL)
    note = (
        "note: column 'member': 2 of 3 cells were never seen in training (first: 'Y' in row 1; known are "
        "'no', 'yes')\n"
    )
    assert command("predict", "run", "b.csv").err == note
    assert command("evaluate", "run", "b.csv").err == note
    assert "never seen" not in command("evaluate", "run", "a.csv").err


def test_a_row_alone_is_read_as_in_its_file(tmp_path, monkeypatch, command):
    """Without the words beside them, times of day and versions look like numbers."""
    monkeypatch.chdir(tmp_path)
    kinds = ["09:30", "12:00", "noon"], ["1.1", "1.10", "x"], ["2,350", "323", "1,125"]
    rows = [f"{kinds[0][i % 3]};{kinds[1][i // 3 % 3]};{kinds[2][i // 9 % 3]};{i % 5}" for i in range(90)]
    (tmp_path / "a.csv").write_text("\n".join(["time;version;size;y", *rows]) + "\n")
    command("train", "a.csv", "--target", "y", "--task", "regression", "--out", "run", *SMALL)
    together = command("predict", "run", "a.csv").out.split()[1:]
    for place in (1, 3, 4, 20):
        (tmp_path / "one.csv").write_text(f"time;version;size\n{rows[place].rpartition(';')[0]}\n")
        alone = command("predict", "run", "one.csv").out.split()[1:]
        assert float(alone[0]) == pytest.approx(float(together[place]), rel=1e-5)
