"""The guard: what it takes for trouble, what it leaves alone, and where it goes back to."""

import dataclasses
import json

import numpy as np
import pytest

from downslope import rules
from downslope.training import loop
from downslope.training.checkpoint import Checkpoints
from downslope.training.guard import BLOCK, SUSTAINED, UNGUARDED, Guard, Guarding, Trouble, Watch
from downslope.training.loop import descend
from downslope.training.plan import Plan
from downslope.training.step import Pace

PLAN = Plan(epochs=40, batch_size=8, learning_rate=1.5, seed=3, checkpoint_every=1e9)
GUARDED = dataclasses.replace(PLAN, guard=Guard())


def noise(n, level, seed=0):
    return level * np.exp(0.3 * np.random.default_rng(seed).normal(size=n))


@pytest.mark.parametrize("seed", range(10))
def test_losses_that_start_near_0_may_be_of_either_sign(seed):
    losses = 1e-6 * np.random.default_rng(seed).normal(size=4000)
    assert Watch(0.0).see(losses) is None
    assert Watch(1e-8).see(losses - np.linspace(0, 1e-6, 4000)) is None
    growing = losses + 1e-9 * 1.05 ** np.arange(4000).clip(0, 500)
    assert Watch(0.0).see(growing) is not None
    assert Watch(1e-9).see(np.append(1e-9, np.abs(losses) + 1e-4)) is not None


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


def test_an_excursion_that_does_not_come_back_below_the_start_is_trouble():
    """As of wine at a rate of 10: four steps an epoch, a rise in the first, and then the loss of guessing."""
    guessing = 1.09 * noise(400, 1.0) ** 0.1
    losses = np.concatenate([[1.2], noise(30, 3000.0), guessing])
    trouble = Watch(1.14).see(losses)
    assert trouble is not None
    assert trouble.steps == 3 * BLOCK
    assert "did not come back" in trouble.words
    assert trouble.before == 1.2
    assert Watch(1.14).see(np.concatenate([[1.2], guessing])) is None


def test_two_blocks_in_a_row_are_trouble_at_once():
    """As of iris at 2.5: the second block's median is far above the start, the first's mean."""
    losses = np.concatenate([[1.8], noise(23, 1.5), noise(BLOCK, 100.0), noise(400, 0.6)])
    trouble = Watch(1.2).see(losses)
    assert trouble is not None
    assert trouble.steps == 2 * BLOCK


def test_an_excursion_that_comes_back_is_left_alone():
    catapult = np.concatenate([[2.4], noise(20, 30.0), noise(500, 1.0)])
    assert Watch(2.3).see(catapult) is None
    # where the loss has not yet begun to fall, it is enough to be back where it was
    flat = noise(1000, 2.3) ** 0.1 * 2.1
    flat[500 : 500 + BLOCK // 2 - 1] = 1e4
    assert Watch(2.3).see(np.concatenate([flat, flat])) is None


@pytest.mark.parametrize("seed", range(3))
def test_what_is_learned_already_may_get_somewhat_worse_first(seed):
    fine_tuning = noise(1000, 0.4, seed) * np.concatenate([np.linspace(1, 2, 200), np.linspace(2, 0.5, 800)])
    assert Watch(0.4).see(np.concatenate([[0.5], fine_tuning])) is None


def test_dead_answers_are_trouble_only_after_an_excursion():
    watch = Watch(2.3)
    assert watch.see(noise(320, 1.2)) is None
    assert watch.hear(True, 320) is None  # there may be nothing to be learned
    losses = noise(320, 1.2)
    losses[40:60] = 1e6
    watch = Watch(2.3)
    assert watch.see(losses) is None
    assert watch.hear(True, 40) is None  # a moment ago
    assert watch.hear(False, 10) is None
    assert watch.hear(True, 40) is None
    trouble = watch.hear(True, 40)
    assert trouble is not None
    assert trouble.for_good
    assert "same answer" in trouble.words


def test_an_end_far_above_the_start_is_trouble():
    watch = Watch(1.0)
    assert watch.see(np.full(10, 50.0)) is None  # too few steps for a block
    assert watch.conclude(60.0) is None  # the first of them stands for the start
    watch = Watch(1.0)
    assert watch.see(np.append(1.0, np.full(9, 50.0))) is None
    trouble = watch.conclude(50.0)
    assert trouble is not None
    assert trouble.for_good
    assert watch.conclude(2.0) is None
    assert watch.conclude(None) is None


def test_few_steps_that_end_far_above_the_start_are_taken_back(setting):
    """Ten steps are less than a block: only the end tells that they did not descend."""
    made = setting(100, rule=rules.sgd(), schedule="constant", validation=None)
    plan = dataclasses.replace(GUARDED, batch_size=100, epochs=10, learning_rate=3.0)
    told = []
    end = descend(made.problem, plan, made.start(), listeners=[told.append])
    assert not end.progress.failed
    back = [event for event in told if event.kind == "rolled-back"]
    assert back
    assert {event.values["back_to"] for event in back} == {0}
    assert len(end.progress.history) == 10
    assert end.progress.history[-1]["train_loss"] < end.progress.start_loss
    unguarded = descend(made.problem, dataclasses.replace(plan, guard=UNGUARDED), made.start())
    assert not unguarded.progress.failed
    assert unguarded.progress.history[-1]["train_loss"] > 3 * end.progress.start_loss


def test_what_the_watch_remembers_is_json():
    watch = Watch(2.3)
    watch.see(np.concatenate([[2.4], noise(BLOCK, 30.0)]))
    watch.hear(True, 3)
    assert watch.away == 1
    assert Watch.from_json(json.loads(json.dumps(watch.to_json(), allow_nan=False))) == watch


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


def test_after_a_roll_back_the_rate_rises_anew(setting, monkeypatch):
    """Trouble at step 300 of 600, back to a snapshot; rows tell the rate of their last step."""
    see, hit = Guarding.see, []

    def trouble_at_300(guarding, losses):
        real, hit[:] = see(guarding, losses), [*hit, len(losses)]
        first = sum(hit) >= 300 > sum(hit[:-1])
        return Trouble("diverged", "the loss rose", len(losses), 1.0, 9.0) if first else real

    monkeypatch.setattr(Guarding, "see", trouble_at_300)
    made, told = setting(80, rule=rules.sgd(), schedule="constant"), []
    plan = dataclasses.replace(GUARDED, epochs=60, learning_rate=0.1)
    end = descend(made.problem, plan, made.start(), listeners=[told.append])
    (back,) = (event for event in told if event.kind == "rolled-back")
    assert back.values["back_to"] <= 300 - SUSTAINED * BLOCK
    after = [row for row in end.progress.history if row["step"] > back.values["back_to"]]
    assert len(after) > 10
    for row in after:
        risen = min((row["step"] - back.values["back_to"]) / 60, 1.0)  # over a tenth of all steps
        assert row["learning_rate"] == pytest.approx(0.05 * risen)


def test_a_rise_begins_with_its_first_step():
    pace = Pace(0.1, 100, warm_from=np.float32(40), warm_steps=np.float32(4))
    assert [float(pace.warmth(step)) for step in (40, 41, 43, 44, 99)] == [0.25, 0.5, 1.0, 1.0, 1.0]


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


@pytest.mark.slow
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
