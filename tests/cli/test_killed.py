"""A real process, really killed, ends where it would have ended."""

import json
import os
import re
import shutil
import signal
import time

import numpy as np
import pytest

TRAIN = """
train things.csv --target y --seed 5 --hidden 8 --dropout 0.2 --batch-size 8 --epochs 30
--learning-rate 0.01 --no-early-stopping --checkpoint-every 0
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    generator = np.random.default_rng(0)
    x = generator.normal(0, 1, (3000, 4))
    y = x @ [1.0, -2.0, 0.5, 0.0] + np.sin(3 * x[:, 0]) + generator.normal(0, 0.2, 3000)
    rows = [",".join(f"{cell:.5f}" for cell in (*row, target)) for row, target in zip(x, y, strict=True)]
    (folder / "things.csv").write_text("\n".join(["a,b,c,d,y", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def whole(place, start):
    """The run that nobody disturbs: what it printed, and its folder."""
    process = start(*TRAIN.split(), "--out", "whole", cwd=place)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return out


def events(folder):
    try:
        lines = (folder / "events.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("}")]


def begun(process, folder, checkpoints=2):
    """Wait until the descent is under way and so many checkpoints are behind it."""
    for _ in range(6000):
        if sum(event["kind"] == "checkpoint" for event in events(folder)) >= checkpoints:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("no checkpoint within a minute")


def metrics(printed):
    """The table of metrics at the end of what was printed."""
    return re.findall(r"^(?:train|validation|test) .*$", printed, re.MULTILINE)


def leave_half_a_checkpoint(checkpoints):
    """What a kill in the middle of a write leaves: a newer one that has not got its name yet."""
    whole = [path for path in checkpoints.iterdir() if path.name.isdigit()]
    assert 1 <= len(whole) <= 3
    half = checkpoints / "999999.orbax-checkpoint-tmp-7"
    shutil.copytree(whole[0], half)
    shutil.rmtree(half / "arrays")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_and_resumed_is_undisturbed(place, whole, start, number):
    name = number.name.lower()
    process = start(*TRAIN.split(), "--out", name, cwd=place)
    begun(process, place / name)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    done = max(event["step"] for event in events(place / name))
    assert 0 < done < 30 * 263  # else it came too late
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
        leave_half_a_checkpoint(place / name / "checkpoints")
        assert not (place / name / "summary.json").exists()
    else:
        assert process.returncode == 130
        assert f"interrupted: go on with  downslope train --resume {name}" in err
        assert json.loads((place / name / "summary.json").read_text())["stopped_because"] == "interrupted"

    process = start("train", "--resume", name, cwd=place)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    resumed = next(event for event in events(place / name) if event["kind"] == "resumed")
    assert 0 < resumed["step"] <= done
    for file in ("model.safetensors", "model.json", "encoding.json", "evaluation.json"):
        assert (place / name / file).read_bytes() == (place / "whole" / file).read_bytes(), file
    assert metrics(out) == metrics(whole)
    assert len(metrics(out)) == 3
    summaries = [json.loads((place / run / "summary.json").read_text()) for run in ("whole", name)]
    for key in set(summaries[0]) - {"seconds"}:
        assert summaries[1][key] == summaries[0][key], key
