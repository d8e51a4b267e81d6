"""Arrays and progress on disk: the newest two, whole or not at all."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from downslope.errors import RunFolderError
from downslope.training.checkpoint import Checkpoints

# Reading a damaged checkpoint leaves tensorstore's other reads behind, which end after their event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

TREE = {
    "w": jnp.arange(12.0).reshape(3, 4),
    "n": jnp.int32(7),
    "half": jnp.ones(3, jnp.bfloat16),
    "none": (),
    "empty": jnp.zeros((0, 2)),
}


def at(step):
    return {**TREE, "n": jnp.int32(step)}


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of steps 1 to 4."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2, 3, 4):
        checkpoints.save(step, at(step), {"step": step})
    checkpoints.close()
    return tmp_path / "checkpoints"


def reopened(folder):
    checkpoints = Checkpoints(folder)
    try:
        return checkpoints.latest(), checkpoints.restore(TREE)
    finally:
        checkpoints.close()


def steps(folder):
    return sorted(path.name for path in folder.iterdir())


def test_round_trip(folder, identical):
    step, (arrays, progress) = reopened(folder)
    assert step == 4
    assert progress == {"step": 4}
    assert identical(arrays, at(4))
    assert arrays["half"].dtype == jnp.bfloat16


def test_only_the_newest_two_are_kept(folder):
    assert steps(folder) == ["3", "4"]


def test_a_step_is_saved_once(folder):
    checkpoints = Checkpoints(folder)
    checkpoints.save(4, at(99), {"step": 99})
    checkpoints.close()
    assert reopened(folder)[1][1] == {"step": 4}


def test_what_is_saved_is_what_it_was_then(tmp_path):
    """The next compiled call may take the buffers of the state while it is being written."""
    checkpoints = Checkpoints(tmp_path / "c")
    double = jax.jit(lambda tree: jax.tree.map(lambda leaf: leaf * 2, tree), donate_argnums=0)
    state = {"w": jnp.arange(100_000.0)}
    checkpoints.save(1, state, {})
    state = double(state)
    jax.block_until_ready(state)
    checkpoints.close()
    reread = Checkpoints(tmp_path / "c")
    np.testing.assert_array_equal(reread.restore(state)[0]["w"], np.arange(100_000.0))
    reread.close()


@pytest.mark.parametrize("name", ["9.orbax-checkpoint-tmp", "9.orbax-checkpoint-tmp-1712345678"])
def test_one_that_was_being_written_is_not_taken_for_a_whole_one(folder, name):
    shutil.copytree(folder / "4", folder / name)
    step, (_, progress) = reopened(folder)
    assert step == 4
    assert progress == {"step": 4}


def broken(folder, damage):
    newest = folder / "9"
    if damage == "empty":
        newest.mkdir()
        return
    shutil.copytree(folder / "4", newest)
    if damage == "no progress":
        shutil.rmtree(newest / "progress")
    elif damage == "no arrays":
        shutil.rmtree(newest / "arrays")
    elif damage == "no commit file":
        (newest / "_CHECKPOINT_METADATA").unlink()
        shutil.rmtree(newest / "arrays")
    else:
        files = [path for path in (newest / "arrays").rglob("*") if path.is_file()]
        for path in files:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", ["empty", "no progress", "no arrays", "no commit file", "truncated"])
def test_a_damaged_one_is_never_read_as_if_it_were_whole(folder, damage):
    """It is passed over, or it is refused by name; what it must not do is to give numbers."""
    broken(folder, damage)
    refusal = None
    try:
        _, (arrays, progress) = reopened(folder)
    except RunFolderError as error:
        refusal = str(error)
        shutil.rmtree(folder / "9")  # as it says
        _, (arrays, progress) = reopened(folder)
    assert (progress, int(arrays["n"])) == ({"step": 4}, 4)
    if refusal is not None:
        assert refusal.startswith(f"{folder / '9'}: this checkpoint cannot be read (")
        assert "delete that folder to resume from the one before" in refusal


def test_other_shapes_are_refused(folder):
    checkpoints = Checkpoints(folder)
    with pytest.raises(RunFolderError, match="cannot be read"):
        checkpoints.restore({**TREE, "w": jnp.zeros((5, 4))})
    checkpoints.close()


def test_nothing_to_restore(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.latest() is None
    with pytest.raises(RunFolderError, match="no checkpoint to resume from"):
        checkpoints.restore(TREE)
    checkpoints.close()


def test_no_pickle(folder):
    for path in folder.rglob("*"):
        if path.is_file():
            assert b"\x80\x04\x95" not in path.read_bytes(), path  # how a pickle of protocol 4 begins
