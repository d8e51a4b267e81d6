"""The path of the weights on disk: few, evenly spread, the same whether or not a run was killed."""

import numpy as np
import pytest

from downslope.runs.path import MOST_BYTES, most_snapshots, record, rewind, snapshots, stride


def told(folder, indices, most=8):
    for index in indices:
        if index % stride(index, most) == 0:
            record(folder, index, 10 * index, {"w": np.full(3, index, np.float32)}, most)


@pytest.mark.parametrize("n", [1, 2, 8, 9, 16, 17, 100, 1000])
def test_at_most_so_many_evenly_from_the_start(tmp_path, n):
    told(tmp_path, range(n))
    kept = snapshots(tmp_path)
    assert min(n, 5) <= len(kept) <= 8
    steps = np.diff([snapshot.index for snapshot in kept])
    assert len(set(steps.tolist())) <= 1
    assert kept[0].index == 0
    assert n - 1 - kept[-1].index < stride(n - 1, 8)
    assert [snapshot.step for snapshot in kept] == [10 * snapshot.index for snapshot in kept]


@pytest.mark.parametrize("killed", [3, 9, 30, 33])
@pytest.mark.parametrize("back", [1, 4, 20])
def test_killed_and_taken_up_again(tmp_path, files, killed, back):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    told(tmp_path / "a", range(40))
    told(tmp_path / "b", range(killed + 1))
    again = max(0, killed - back)
    rewind(tmp_path / "b", 10 * again)
    assert all(snapshot.index <= again for snapshot in snapshots(tmp_path / "b"))
    told(tmp_path / "b", range(again + 1, 40))
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_the_last_is_kept_until_the_run_goes_on(tmp_path):
    told(tmp_path, range(11))
    record(tmp_path, 11, 110, {"w": np.zeros(1, np.float32)}, 8)  # not its turn, but the end
    assert [snapshot.index for snapshot in snapshots(tmp_path)] == [0, 2, 4, 6, 8, 10, 11]
    told(tmp_path, range(12, 15))
    assert [snapshot.index for snapshot in snapshots(tmp_path)] == [0, 2, 4, 6, 8, 10, 12, 14]


def test_never_more_than_the_bound():
    for n_bytes in (1, 10_000, 1 << 20, 4 << 20, 100 << 20):
        assert most_snapshots(n_bytes) * n_bytes <= MOST_BYTES
    assert most_snapshots(5 << 20) == 0


def test_other_files_are_left_alone(tmp_path):
    assert snapshots(tmp_path) == []
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "notes.txt").write_text("mine")
    told(tmp_path, range(30))
    rewind(tmp_path, -1)
    assert [path.name for path in (tmp_path / "path").iterdir()] == ["notes.txt"]
