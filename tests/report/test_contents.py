import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from downslope.errors import RunFolderError
from downslope.report import read_contents, write_report


def test_reads_a_finished_run(make):
    contents = read_contents(make(epochs=12))
    assert contents.name == "houses-1"
    assert contents.history["epoch"] == list(range(1, 13))
    assert contents.summary["task"] == "classification"
    assert [event["kind"] for event in contents.events].count("checkpoint") == 2
    assert contents.columns[4]["width"] == 2
    assert contents.evaluation is not None


@pytest.mark.parametrize("name", ["events.jsonl", "encoding.json", "evaluation.json"])
def test_optional_files_may_be_absent(make, name):
    folder = make()
    (folder / name).unlink()
    assert write_report(folder).exists()


@pytest.mark.parametrize("name", ["config.json", "summary.json", "history.parquet"])
def test_required_files_are_named_when_missing(make, name):
    folder = make()
    (folder / name).unlink()
    with pytest.raises(RunFolderError, match=rf"{name}: missing.*--resume"):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_folder_that_does_not_exist(tmp_path):
    with pytest.raises(RunFolderError, match="no such run folder; give one that"):
        read_contents(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("config.json", "{", "not JSON"),
        ("config.json", "[1]", "a JSON object was expected, not a list"),
        ("config.json", b"\xff\xfe", "not UTF-8"),
        ("summary.json", "{}", "'task' is None"),
        ("summary.json", '{"task": "regression", "metrics": {"test": 1}}', "'metrics' is not an object"),
        ("summary.json", '{"task": "regression", "metrics": {}, "rows": 3}', "'rows' is not an object"),
        (
            "summary.json",
            '{"task": "regression", "metrics": {}, "devices": 1}',
            "'devices' is not a list",
        ),
        ("history.parquet", "PAR1", "not Parquet"),
        ("history.parquet", "", "not Parquet"),
        ("events.jsonl", '{"kind"\n{"kind": "best"}\n', "line 1 is not JSON"),
        ("events.jsonl", "3\n", "line 1 is not a JSON object"),
        ("encoding.json", "nonsense", "not JSON"),
        ("evaluation.json", '{"classes": ["a", "b"], "confusion": [[1, 2], [3]]}', "table of 2 by 2"),
        ("evaluation.json", '{"classes": ["a"], "confusion": [[-1]]}', "table of 1 by 1"),
        ("evaluation.json", '{"classes": [], "confusion": []}', "'classes' is not a list of names"),
        ("evaluation.json", '{"actual": [1], "predicted": []}', "equally long lists actual, predicted"),
        ("evaluation.json", '{"roc": {"fpr": [0]}}', "'roc' does not hold equally long"),
        ("evaluation.json", '{"reliability": 3}', "'reliability' does not hold"),
    ],
)
def test_damaged_files_are_named_with_a_remedy(make, name, content, what):
    folder = make()
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunFolderError, match=rf"{name}: damaged \(.*{what}.*; restore it"):
        write_report(folder)


def test_history_without_a_needed_column(make):
    folder = make()
    pq.write_table(pa.table({"epoch": [1], "loss": [0.5]}), folder / "history.parquet")
    with pytest.raises(RunFolderError, match="no column 'train_loss'; it has epoch, loss"):
        read_contents(folder)


def test_half_a_last_event_is_what_a_killed_run_leaves(make):
    folder = make()
    with (folder / "events.jsonl").open("a") as events:
        events.write('{"kind": "be')
    assert len(read_contents(folder).events) == 6


def test_values_that_are_not_finite_become_gaps(make):
    folder = make()
    table = pa.table({"epoch": [1, 2, 3], "train_loss": [0.5, float("nan"), float("inf")]})
    pq.write_table(table, folder / "history.parquet")
    assert read_contents(folder).history["train_loss"] == [0.5, None, None]
    assert write_report(folder).exists()


def test_describe_is_read_tolerantly(make):
    folder = make()
    for describe in (None, "text", 3, [1, {"column": "a"}]):
        (folder / "encoding.json").write_text(json.dumps({"describe": describe}))
        assert write_report(folder).exists()
