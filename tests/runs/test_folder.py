"""The files of a run: written whole or not at all, read without trust."""

import json
import os

import numpy as np
import pytest
from safetensors import SafetensorError

from downslope.errors import RunFolderError
from downslope.runs import folder as runs

CONFIG = {"data": "things.csv", "data_fingerprint": "0" * 64, "seed": 0}


def test_the_next_free_name(tmp_path):
    assert runs.next_free(tmp_path, "iris") == tmp_path / "iris-1"
    for name in ("iris-1", "iris-9", "iris-10", "iris-x", "iris-2-old", "other-30", "my-iris-50"):
        (tmp_path / name).mkdir()
    assert runs.next_free(tmp_path, "iris") == tmp_path / "iris-11"
    assert runs.next_free(tmp_path / "nowhere", "a[b]") == tmp_path / "nowhere" / "a[b]-1"


def test_what_may_become_a_run_folder(tmp_path):
    run, empty, other, file = (tmp_path / name for name in ("run", "empty", "other", "file"))
    runs.create(run, CONFIG)
    empty.mkdir()
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    file.write_text("x")
    for overwrite in (False, True):
        runs.check_free(tmp_path / "new", overwrite)
        runs.check_free(empty, overwrite)
        with pytest.raises(RunFolderError, match="is a file, not a folder"):
            runs.check_free(file, overwrite)
        with pytest.raises(RunFolderError, match="holds files that are not a run's"):
            runs.check_free(other, overwrite)
    with pytest.raises(RunFolderError, match="holds a run already; add --overwrite"):
        runs.check_free(run, overwrite=False)
    runs.check_free(run, overwrite=True)
    assert (other / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("config", ["{}", '{"model_type": "bert"}', "[]", "not JSON"])
def test_another_programs_config_does_not_make_a_run(tmp_path, config):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "config.json").write_text(config)
    (tmp_path / "theirs" / "vocabulary.txt").write_text("precious")
    with pytest.raises(RunFolderError, match="not a run's"):
        runs.check_free(tmp_path / "theirs", overwrite=True)


def test_a_damaged_run_may_be_replaced(tmp_path):
    """As its own messages advise: "train again with --overwrite"."""
    runs.create(tmp_path / "run", CONFIG)
    (tmp_path / "run" / "config.json").write_text('{"data": ')
    (tmp_path / "run" / "summary.json").write_text("")
    (tmp_path / "run" / "checkpoints").mkdir()
    runs.check_free(tmp_path / "run", overwrite=True)
    with pytest.raises(RunFolderError, match="add --overwrite"):
        runs.check_free(tmp_path / "run", overwrite=False)


def test_create_replaces_everything(tmp_path):
    folder = tmp_path / "deep" / "run"
    runs.create(folder, CONFIG)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "old").write_text("old")
    runs.create(folder, {**CONFIG, "seed": 1})
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert runs.read_json(folder / "config.json")["seed"] == 1
    assert [path.name for path in folder.parent.iterdir()] == ["run"]  # nothing temporary is left


def test_of_two_runs_that_begin_at_once_one_is_refused(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for _ in range(2):
        runs.check_free(folder, overwrite=False)
    runs.create(folder, CONFIG, overwrite=False)
    with pytest.raises(RunFolderError, match="another run has begun there"):
        runs.create(folder, {**CONFIG, "seed": 1}, overwrite=False)
    assert runs.read_json(folder / "config.json") == CONFIG
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_create_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match="cannot be written"):
        runs.create(tmp_path / "file" / "run", CONFIG)
    assert (tmp_path / "file").read_text() == "x"


def test_create_leaves_nothing_behind_where_it_fails(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        runs.create(tmp_path / "run", {"rate": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_json_round_trip(tmp_path):
    content = {"a": [1, 2.5, None, True, "ünïcode → ∞"], "b": {"c": 1e-300}}
    runs.write_json(tmp_path / "x.json", content)
    assert runs.read_json(tmp_path / "x.json") == content


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_has_no_numbers_that_are_not_finite(tmp_path, number):
    runs.write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        runs.write_json(tmp_path / "x.json", {"a": number})
    assert runs.read_json(tmp_path / "x.json") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_writing_is_all_or_nothing(tmp_path, monkeypatch):
    runs.write_json(tmp_path / "x.json", {"a": 1})

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        runs.write_json(tmp_path / "x.json", {"a": 2})
    with pytest.raises(OSError, match="No space left"):
        runs.write_weights(tmp_path / "w.safetensors", {"w": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    assert runs.read_json(tmp_path / "x.json") == {"a": 1}


def test_weights_round_trip(tmp_path):
    arrays = {
        "params/linears/0/kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T,  # not contiguous
        "scalar": np.float32(3.0),
        "whole": np.arange(3, dtype=np.int32),
        "none": np.zeros((0, 4), np.float32),
    }
    runs.write_weights(tmp_path / "w.safetensors", arrays)
    found = runs.read_weights(tmp_path / "w.safetensors")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_full_disk_is_an_operating_system_error(tmp_path, monkeypatch):
    def full(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(runs, "save_file", full)
    with pytest.raises(OSError, match="No space left on device"):
        runs.write_weights(tmp_path / "w.safetensors", {"w": np.ones(3)})
    assert list(tmp_path.iterdir()) == []


def test_everyone_may_read_what_is_written(tmp_path):
    runs.write_weights(tmp_path / "w.safetensors", {"w": np.ones(3)})
    runs.write_json(tmp_path / "x.json", {})
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    umask = os.umask(0)
    os.umask(umask)
    assert modes == {0o666 & ~umask}


def test_events_are_lines(tmp_path):
    for step in range(3):
        runs.append_event(tmp_path, {"kind": "checkpoint", "step": step, "message": "zeilen\numbruch → ok"})
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]


def test_events_of_a_killed_run_are_rewound(tmp_path):
    """Half a line is gone, and with it what the resumed run will come to again."""
    for seconds in (0.0, 1.5, 2.5):
        runs.append_event(tmp_path, {"kind": "checkpoint", "seconds": seconds})
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"kind": "fini')
    runs.rewind_events(tmp_path, 1.5)
    runs.append_event(tmp_path, {"kind": "resumed", "seconds": 1.5})
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["seconds"] for line in lines] == [0.0, 1.5, 1.5]


def test_history_round_trip(tmp_path):
    row = dict.fromkeys(runs.HISTORY_SCHEMA.names, 1.5) | {"epoch": 1, "step": 7, "validation_loss": None}
    runs.write_history(tmp_path, [row, {**row, "epoch": 2}])
    table = runs.read_history(tmp_path)
    assert table.schema == runs.HISTORY_SCHEMA
    assert table.to_pylist() == [row, {**row, "epoch": 2}]
    runs.write_history(tmp_path, [])
    assert runs.read_history(tmp_path).num_rows == 0


READERS = {
    "config.json": lambda folder: runs.read_json(folder / "config.json"),
    "summary.json": lambda folder: runs.read_json(folder / "summary.json"),
    "history.parquet": runs.read_history,
    "model.safetensors": lambda folder: runs.read_weights(folder / "model.safetensors"),
}


def whole_run(folder):
    runs.create(folder, CONFIG)
    runs.write_json(folder / "summary.json", {"task": "regression"})
    runs.write_history(folder, [dict.fromkeys(runs.HISTORY_SCHEMA.names, 1)])
    runs.write_weights(folder / "model.safetensors", {"w": np.ones((50, 50))})
    return folder


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "garbage", "binary"])
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_named(tmp_path, name, damage):
    folder = whole_run(tmp_path / "run")
    path = folder / name
    READERS[name](folder)
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(
            {
                "empty": b"",
                "truncated": content[: len(content) // 2],
                "garbage": b"to be or not to be" * 30,
                "binary": bytes(range(256)) * 4,
            }[damage]
        )
    with pytest.raises(RunFolderError) as caught:
        READERS[name](folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_said_in_words(tmp_path):
    with pytest.raises(RunFolderError, match="no such run folder; give one that"):
        runs.read_json(tmp_path / "nowhere" / "summary.json")
    runs.create(tmp_path / "digits-1", CONFIG)
    with pytest.raises(RunFolderError, match=r"digit-1: no such run folder\. Did you mean '.*digits-1'\?"):
        runs.read_json(tmp_path / "digit-1" / "summary.json")
    (tmp_path / "other").mkdir()
    with pytest.raises(RunFolderError, match="not a run folder"):
        runs.read_json(tmp_path / "other" / "summary.json")
    runs.create(tmp_path / "begun", CONFIG)
    with pytest.raises(RunFolderError, match=r"is not finished .* go on with --resume"):
        runs.read_json(tmp_path / "begun" / "summary.json")
    (whole_run(tmp_path / "run") / "model.safetensors").unlink()
    with pytest.raises(RunFolderError, match=r"damaged run folder \(model.safetensors is missing\)"):
        runs.read_weights(tmp_path / "run" / "model.safetensors")


@pytest.mark.parametrize("content", ["[1]", "3", "null", '"text"'])
def test_json_of_another_kind(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunFolderError, match="damaged"):
        runs.read_json(tmp_path / "config.json")
