"""The guard: what it takes for trouble, what it leaves alone, and where it goes back to."""

import dataclasses

import numpy as np
import pytest

from downslope import rules
from downslope.training import loop
from downslope.training.checkpoint import Checkpoints
from downslope.training.guard import BLOCK, Guard, Watch
from downslope.training.loop import descend
from downslope.training.plan import Plan

PLAN = Plan(epochs=40, batch_size=8, learning_rate=1.5, seed=3, checkpoint_every=1e9)
GUARDED = dataclasses.replace(PLAN, guard=Guard())


def noise(n, level, seed=0):
    return level * np.exp(0.3 * np.random.default_rng(seed).normal(size=n))


@pytest.mark.parametrize("seed", range(5))
def test_healthy_losses_are_left_alone(seed):
    falling = noise(3000, 1.0, seed) * np.linspace(2, 0.1, 3000)
    assert Watch(2.0).see(falling) is None
    heavy = np.random.default_rng(seed).pareto(1.5, 3000)  # batches of one row, with outliers
    assert Watch(float(heavy.mean())).see(heavy) is None


@pytest.mark.parametrize("length", [1, 5, BLOCK // 2 - 1])
def test_a_spike_is_left_alone(length):
    losses = noise(1000, 0.3)
    losses[500 : 500 + length] = 1e6
    assert Watch(2.3).see(losses) is None


def test_a_sustained_rise_is_trouble_however_the_losses_come():
    losses = np.concatenate([noise(640, 0.3), noise(200, 2.5)])
    whole = Watch(2.3).see(losses)
    assert whole is not None
    assert whole.kind == "diverged"
    assert whole.steps == 640 + 2 * BLOCK
    for size in (1, 7, 100):
        watch = Watch(2.3)
        for start in range(0, len(losses), size):
            trouble = watch.see(losses[start : start + size])
            if trouble is not None:
                assert start + trouble.steps == whole.steps
                assert (trouble.before, trouble.after) == (whole.before, whole.after)
                break
        else:
            pytest.fail("not seen")


def test_a_rise_above_the_start_is_trouble_at_once():
    trouble = Watch(2.3).see(noise(200, 50.0))
    # the first loss may stand for a start that was measured without dropout
    assert trouble is None
    trouble = Watch(2.3).see(np.concatenate([[2.4], noise(200, 50.0)]))
    assert trouble is not None
    assert trouble.steps == 2 * BLOCK


def test_skipped_steps_are_not_trouble():
    losses = noise(640, 0.3)
    losses[::3] = np.nan
    assert Watch(2.3).see(losses) is None


def test_it_recovers_by_halving(setting):
    """Plain descent on a straight line diverges above a rate of about 1."""
    made = setting(100, rule=rules.sgd(), schedule="constant")
    assert descend(made.problem, dataclasses.replace(PLAN, epochs=60), made.start()).progress.failed
    told = []
    end = descend(
        made.problem, dataclasses.replace(GUARDED, epochs=60), made.start(), listeners=[told.append]
    )
    assert not end.progress.failed
    back = [event for event in told if event.kind == "rolled-back"]
    assert 1 <= len(back) <= 3
    assert back[-1].values["learning_rate"] == pytest.approx(1.5 / 2 ** len(back))
    assert end.progress.history[-1]["learning_rate"] == pytest.approx(1.5 / 2 ** len(back))
    assert [row["epoch"] for row in end.progress.history] == list(range(1, 61))
    assert {row["epoch"] for row in end.progress.layers} == set(range(1, 61))
    assert end.progress.history[-1]["validation_loss"] < 0.1
    assert len(made.traces) == 2  # one for each of the two descents


def test_then_the_alternative_then_the_end(setting):
    made = setting(100, rule=rules.sgd(), schedule="constant")
    plan = dataclasses.replace(GUARDED, learning_rate=1e30)
    told = []
    end = descend(made.problem, plan, made.start(), listeners=[told.append])
    assert end.progress.failed
    kinds = [event.kind for event in told if event.kind not in ("epoch", "progress", "compiled", "finished")]
    assert kinds == ["rolled-back"] * 3 + ["non-finite"]
    assert all(np.isfinite(leaf).all() for leaf in end.params.values())
    told.clear()
    plan = dataclasses.replace(plan, guard=Guard(alternatives=(0.1,)))
    end = descend(made.problem, plan, made.start(), listeners=[told.append])
    assert not end.progress.failed
    assert [event.kind for event in told].count("other-rate") == 1
    assert end.progress.history[-1]["learning_rate"] == pytest.approx(0.1)
    assert end.progress.best_loss < 0.1


@pytest.mark.parametrize("plan", [GUARDED, dataclasses.replace(GUARDED, learning_rate=0.05)])
def test_how_it_is_cut_does_not_matter(setting, monkeypatch, identical, without_seconds, plan):
    ends = []
    for seconds in (1e-4, 1e9):
        monkeypatch.setattr(loop, "SECONDS_PER_STRETCH", seconds)
        made = setting(100, rule=rules.momentum(), schedule="constant")
        ends.append(descend(made.problem, plan, made.start()))
    assert identical(ends[0].params, ends[1].params)
    assert without_seconds(ends[0].progress.history) == without_seconds(ends[1].progress.history)


def test_a_guard_that_does_nothing_changes_nothing(setting, identical):
    made = setting(100)
    calm = dataclasses.replace(PLAN, learning_rate=0.05, epochs=20)
    unguarded = descend(made.problem, calm, made.start())
    guarded = descend(made.problem, dataclasses.replace(calm, guard=Guard()), made.start())
    assert guarded.progress.undone == 0
    assert identical(guarded.params, unguarded.params)


class CrashError(Exception):
    """What a test does instead of pulling the plug."""


def test_crashed_after_a_roll_back_and_resumed_is_uninterrupted(
    setting, tmp_path, identical, without_seconds
):
    made = setting(100, rule=rules.momentum(), schedule="constant")
    plan = dataclasses.replace(GUARDED, checkpoint_every=0.0, epochs=30)
    whole = descend(made.problem, plan, made.start())
    assert whole.progress.undone > 0

    def crash_at(saves):
        left = [saves]

        def listen(event):
            left[0] -= event.kind == "checkpoint"
            if left[0] == 0:
                raise CrashError

        return listen

    def sitting(listeners, resume):
        checkpoints = Checkpoints(tmp_path / "c")
        try:
            return descend(
                made.problem, plan, made.start(), listeners=listeners, checkpoints=checkpoints, resume=resume
            )
        finally:
            checkpoints.close()

    for saves, resume in ((9, False), (12, True)):
        with pytest.raises(CrashError):
            sitting([crash_at(saves)], resume)
    end = sitting([], True)
    assert identical(end.params, whole.params)
    assert without_seconds(end.progress.history) == without_seconds(whole.progress.history)
    assert end.progress.layers == whole.progress.layers
