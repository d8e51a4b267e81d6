"""A descent that is interrupted, or killed, and taken up again ends where it would have ended."""

import dataclasses
import signal

import numpy as np
import pytest

from downslope import rules
from downslope.errors import RunFolderError
from downslope.training import loop
from downslope.training.checkpoint import Checkpoints
from downslope.training.loop import descend
from downslope.training.plan import Plan

# An epoch has 13 steps: one call of 8, because nobody knows yet how long a step takes, and then one by one.
PLAN = Plan(epochs=4, batch_size=8, learning_rate=0.05, seed=3, checkpoint_every=1e9)
OFTEN = dataclasses.replace(PLAN, checkpoint_every=0.0)
ROWS = 100

# Reading a damaged checkpoint leaves tensorstore's other reads behind, which end after their event loop.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def one_step_per_call(monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_PER_STRETCH", 1e-9)


class CrashError(Exception):
    """What a test does instead of pulling the plug."""


def interrupt_at(*steps):
    """A listener that presses Ctrl-C when so many steps are done."""
    left = list(steps)

    def listen(event):
        if left and event.step >= left[0] and event.kind in ("progress", "epoch"):
            left.pop(0)
            signal.raise_signal(signal.SIGINT)

    return listen


def crash_at(step):
    def listen(event):
        if event.kind == "checkpoint" and event.step >= step:
            raise CrashError

    return listen


def sitting(made, folder, listener=None, plan=PLAN, **options):
    checkpoints = Checkpoints(folder)
    try:
        return descend(
            made.problem,
            plan,
            made.start(),
            listeners=[listener] if listener else [],
            checkpoints=checkpoints,
            **options,
        )
    finally:
        checkpoints.close()


@pytest.mark.parametrize(
    "rule",
    [rules.adam(), rules.momentum(), rules.sgd(), rules.schedule_free_adamw()],
    ids=lambda rule: rule.name,
)
def test_interrupted_and_resumed_is_uninterrupted(setting, tmp_path, rule, identical, without_seconds):
    made = setting(ROWS, rule=rule)
    whole = descend(made.problem, PLAN, made.start())
    # In the first epoch, between two epochs, in the middle, just before the end.
    for sitting_number, step in enumerate((9, 26, 36, 51)):
        end = sitting(made, tmp_path / "c", interrupt_at(step), resume=sitting_number > 0)
        assert end.progress.stopped_because == "interrupted"
        assert step <= end.progress.epoch * 13 + end.progress.position < 52
    end = sitting(made, tmp_path / "c", resume=True)
    assert end.progress.stopped_because == whole.progress.stopped_because == "all epochs done"
    assert identical(end.params, whole.params)
    assert identical(end.model_state, whole.model_state)
    assert without_seconds(end.progress.history) == without_seconds(whole.progress.history)
    assert (end.progress.best_epoch, end.progress.best_loss) == (
        whole.progress.best_epoch,
        whole.progress.best_loss,
    )


def test_crashed_and_resumed_is_uninterrupted(setting, tmp_path, identical, without_seconds):
    made = setting(ROWS)
    whole = descend(made.problem, OFTEN, made.start())
    for step, resume in ((10, False), (20, True)):
        with pytest.raises(CrashError):
            sitting(made, tmp_path / "c", crash_at(step), plan=OFTEN, resume=resume)
    end = sitting(made, tmp_path / "c", resume=True)
    assert identical(end.params, whole.params)
    assert without_seconds(end.progress.history) == without_seconds(whole.progress.history)


def test_early_stopping_counts_on(setting, tmp_path, identical):
    made = setting(16, noise=0.0, schedule="constant", validation=16)
    plan = dataclasses.replace(PLAN, epochs=100, learning_rate=0.3, patience=6)
    whole = descend(made.problem, plan, made.start())
    assert "no better validation loss" in whole.progress.stopped_because
    waiting = whole.progress.best_epoch * 2 + 4  # two epochs into the patience, of two batches each
    sitting(made, tmp_path / "c", interrupt_at(waiting), plan=plan)
    end = sitting(made, tmp_path / "c", plan=plan, resume=True)
    assert end.progress.stopped_because == whole.progress.stopped_because
    assert end.progress.epoch == whole.progress.epoch
    assert identical(end.params, whole.params)


def test_a_finished_descent_has_nothing_left_to_do(setting, tmp_path, identical):
    made = setting()
    whole = sitting(made, tmp_path / "c")
    told = []
    again = sitting(made, tmp_path / "c", told.append, resume=True)
    assert identical(again.params, whole.params)
    assert again.progress.history == whole.progress.history
    resumed = next(event for event in told if event.kind == "resumed")
    assert "nothing left to do: all epochs done" in resumed.message


def test_seconds_add_up(setting, tmp_path):
    made = setting(ROWS)
    first = sitting(made, tmp_path / "c", interrupt_at(16))
    told = []
    second = sitting(made, tmp_path / "c", told.append, resume=True)
    assert second.progress.seconds > first.progress.seconds
    resumed = next(event for event in told if event.kind == "resumed")
    assert resumed.step == 16
    assert "resumed at step 16 (epoch 2)" in resumed.message
    seconds = [row["seconds"] for row in second.progress.history]
    assert seconds == sorted(seconds)


def test_without_a_checkpoint_it_is_begun_again(setting, tmp_path, identical, without_seconds):
    """As after a kill before the first was written."""
    whole, again = (sitting(setting(), tmp_path / name, resume=name == "c") for name in "bc")
    assert identical(whole.params, again.params)
    assert without_seconds(whole.progress.history) == without_seconds(again.progress.history)


def test_a_checkpoint_of_another_network_is_refused(setting, tmp_path):
    sitting(setting(rule=rules.sgd()), tmp_path / "c", interrupt_at(3))
    with pytest.raises(RunFolderError, match="cannot be read"):
        sitting(setting(rule=rules.adam()), tmp_path / "c", resume=True)


def test_checkpoints_are_as_rare_as_asked(setting, tmp_path):
    told = []
    sitting(setting(ROWS), tmp_path / "c", told.append)
    assert [event.step for event in told if event.kind == "checkpoint"] == [52]  # the end alone
    told.clear()
    sitting(setting(ROWS), tmp_path / "d", told.append, plan=dataclasses.replace(OFTEN, epochs=1))
    assert [event.step for event in told if event.kind == "checkpoint"] == [8, 9, 10, 11, 12, 13]


def test_a_failed_descent_can_only_be_begun_again(setting, tmp_path):
    made = setting(rule=rules.sgd(), schedule="constant")
    plan = dataclasses.replace(PLAN, learning_rate=1e30)
    for resume in (False, True):
        assert sitting(made, tmp_path / "c", plan=plan, resume=resume).progress.failed
        assert Checkpoints(tmp_path / "c").latest() is None


@pytest.mark.slow
def test_a_failure_after_a_checkpoint_happens_again(setting, tmp_path, identical):
    made = setting(ROWS, rule=rules.sgd(), schedule="constant")
    plan = dataclasses.replace(OFTEN, epochs=60, learning_rate=1.5)
    end = sitting(made, tmp_path / "c", plan=plan)
    assert end.progress.failed
    again = sitting(made, tmp_path / "c", plan=plan, resume=True)
    assert again.progress.stopped_because == end.progress.stopped_because
    assert identical(again.params, end.params)
    assert all(np.isfinite(leaf).all() for leaf in again.params.values())
