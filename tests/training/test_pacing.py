"""How long, and when to anneal."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from downslope import rules
from downslope.stepsize.phases import Phases, phased
from downslope.training import length, loop
from downslope.training.guard import Guard, Guarding, Trouble
from downslope.training.length import prefer_the_end, watch_clock
from downslope.training.loop import descend
from downslope.training.pacing import Pacing, only_bounces
from downslope.training.plan import Plan
from downslope.training.session import Session
from downslope.training.step import make_step

OPEN = Pacing(warmup=2, epochs=60, waits=0.25, fewest=4)
PLAN = Plan(epochs=60, batch_size=8, learning_rate=0.3, seed=3, checkpoint_every=1e9, pacing=OPEN)


@pytest.fixture
def paced(setting):
    """`paced(n)`: a problem whose schedule goes by phases."""

    def build(n=50, **options):
        made = setting(n, **{"rule": rules.sgd(), "noise": 0.0, **options})
        step = make_step(made.problem.objective, made.problem.rule, phased())
        return made._replace(problem=dataclasses.replace(made.problem, step=step, schedule=phased()))

    return build


def stands_still(losses, training=-9.0, n_validation=100, pacing=OPEN):
    """Whether these validation losses stand still; the training loss is far below them if nothing is said."""
    return pacing.stands_still(losses, [training] * len(losses), n_validation)


def test_standing_still():
    falling = [1 / epoch for epoch in range(1, 40)]
    assert not any(stands_still(falling[:epoch]) for epoch in range(1, 40))
    risen = [1.0, 0.5, 0.4, 0.41, 0.42, 0.43]
    assert not stands_still(risen)  # one epoch too early
    assert stands_still([*risen, 0.44])
    assert stands_still([1.0, 0.5, *[0.4999] * 4])  # too small an improvement to count
    assert not stands_still([1.0, 0.5, *[0.49] * 4])
    assert stands_still([-1.0, -2.0, *[-2.0] * 4])  # a loss may be negative
    assert stands_still([1.0, *[None] * 4])  # and unknown
    assert not stands_still([1.0] * 50, pacing=dataclasses.replace(OPEN, waits=None))


def test_waiting_grows_with_the_run():
    losses = [1.0] * 30 + [0.5] + [0.6] * 4
    assert not stands_still(losses)
    assert stands_still([*losses, *[0.6] * 8])


def test_waiting_longer_while_nothing_is_learned_by_heart():
    losses = [1.0, 0.5, *[0.5] * 4]
    assert stands_still(losses, training=0.5)
    assert not stands_still(losses, training=0.7)
    assert not stands_still([*losses, *[0.5] * 3], training=0.7)
    assert stands_still([*losses, *[0.5] * 4], training=0.7)
    assert stands_still(losses, training=0.7, n_validation=25)  # these few may be lower by chance
    assert stands_still(losses, training=None)
    assert not stands_still([0.0, -1.0, *[-1.0] * 4], training=-0.8)


def test_a_fixed_length_is_kept(paced):
    pacing = dataclasses.replace(OPEN, epochs=10, waits=None)
    made = paced()
    end = descend(made.problem, dataclasses.replace(PLAN, epochs=10, pacing=pacing), made.start())
    assert (end.progress.epoch, end.progress.stopped_because) == (10, "all epochs done")
    rates = [row["learning_rate"] for row in end.progress.history]
    assert rates[1:5] == pytest.approx([0.3] * 4)  # of the last step of each epoch
    assert rates[5:] == pytest.approx([0.3 * (35 - done) / 35 for done in (6, 13, 20, 27, 34)])


def test_a_rise_is_told_from_bouncing():
    generator = np.random.default_rng(0)
    noise = generator.normal(0, 0.02, (1000, 12))
    rising = 0.005 * np.arange(12)  # over all, as much as three times the noise
    assert np.mean([only_bounces(0.5 + losses) for losses in noise]) > 0.94
    assert np.mean([only_bounces(0.5 - rising + losses) for losses in noise]) == 1
    assert np.mean([only_bounces(0.5 + rising + losses) for losses in noise]) < 0.25
    assert only_bounces([-0.5, -0.4, -0.5, -0.4, -0.5])
    assert not only_bounces([0.5, 0.4, 0.5])  # too few to tell
    assert not only_bounces([0.5, 0.4, None, 0.5, 0.4])


@pytest.mark.parametrize("bounces", [True, False])
def test_an_open_length_ends_annealed(paced, monkeypatch, identical, bounces):
    """At a rate that bounces on noisy rows the weights wander; annealed, they come to rest lower.

    From the lowest validation loss, unless that was luck.
    """
    monkeypatch.setattr(length, "only_bounces", lambda losses: bounces)
    weights_after, gone_back_to = [], []
    close, turn = loop.close_epoch, length._turn_back

    def closed(session):
        weights_after.append(jax.tree.map(np.asarray, session.state.params))
        close(session)

    def turned(session):
        turn(session)
        gone_back_to.append(jax.tree.map(np.asarray, session.state.params))

    monkeypatch.setattr(loop, "close_epoch", closed)
    monkeypatch.setattr(length, "_turn_back", turned)
    events = []
    made = paced(400, validation=200, noise=0.5)
    end = descend(made.problem, PLAN, made.start(), listeners=[events.append])
    told = next(event for event in events if event.kind == "annealing")
    assert end.progress.stopped_because == "annealed after the validation loss stood still"
    assert end.progress.epoch == told.values["epochs"] < 60
    losses = [row["validation_loss"] for row in end.progress.history]
    at_full_rate = losses[: told.epoch]
    best = 1 + int(np.argmin(at_full_rate))
    assert best < told.epoch
    assert told.values["from_epoch"] == (told.epoch if bounces else best)
    assert identical(gone_back_to, [] if bounces else [weights_after[best - 1]])
    assert end.progress.epoch == told.epoch + max(best, OPEN.fewest)
    assert losses[-1] < np.median(at_full_rate) / 2
    assert end.progress.history[-1]["learning_rate"] < 0.3 / 10


@pytest.mark.parametrize(("train_loss", "kept"), [(0.4, 3), (0.52, 3), (0.6, 2), (None, 2)])
def test_the_end_is_kept_unless_the_training_loss_has_risen(train_loss, kept):
    """On two validation rows that both weights get right, nothing else tells them apart."""
    session = finished(train_loss, np.zeros(2))
    prefer_the_end(session)
    assert (session.progress.best_epoch, session.kept) == (kept, f"of epoch {kept}")


@pytest.mark.parametrize(("worse_by", "kept"), [(-1.0, 3), (0.5, 3), (1.5, 2), (3.0, 2)])
def test_the_end_is_kept_unless_it_is_worse_by_more_than_a_standard_error(worse_by, kept):
    noise = np.random.default_rng(0).normal(size=400)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    session = finished(0.5, noise + worse_by / np.sqrt(400))
    prefer_the_end(session)
    assert session.progress.best_epoch == kept


def finished(train_loss, losses):
    """A session after 3 epochs, the 2nd kept: its validation losses are 0, those of the end `losses`."""
    history = [{"train_loss": loss, "validation_loss": 0.0} for loss in (0.9, 0.5, train_loss)]
    rows = SimpleNamespace(weights=np.ones(len(losses)))
    return SimpleNamespace(
        plan=SimpleNamespace(pacing=OPEN),
        progress=SimpleNamespace(history=history, best_epoch=2, epoch=3, best_loss=0.0),
        problem=SimpleNamespace(validation=rows),
        validation=[rows],
        kept="of epoch 2",
        weights=lambda: "of epoch 3",
        losses=lambda weights, validation: losses if weights == "of epoch 3" else np.zeros(len(losses)),
    )


@pytest.mark.slow
def test_an_open_length_is_resumed_bit_for_bit(paced, tmp_path, identical, without_seconds, monkeypatch):
    from downslope.training.checkpoint import Checkpoints

    monkeypatch.setattr(length, "only_bounces", lambda losses: False)  # turned back: more to remember
    made = paced(40, validation=200)
    whole = descend(made.problem, PLAN, made.start())
    turn = int(whole.progress.phases["decay_from"])
    monkeypatch.setattr(loop, "SECONDS_PER_STRETCH", 1e-9)
    sittings = [turn - 7, turn - 5, turn, turn + 3, turn + 5]  # before, on and after the turning point
    for number, step in enumerate([*sittings, 10**9]):
        checkpoints = Checkpoints(tmp_path / "c")
        monkeypatch.setattr(loop, "interrupts", _interrupted_at(step))
        plan = dataclasses.replace(PLAN, checkpoint_every=0.0)
        end = descend(made.problem, plan, made.start(), checkpoints=checkpoints, resume=number > 0,
                      listeners=[_SEEN.append])  # fmt: skip
        checkpoints.close()
    assert identical(end.params, whole.params)
    assert without_seconds(end.progress.history) == without_seconds(whole.progress.history)


_SEEN = []


def _interrupted_at(step):
    """Ctrl-C as soon as so many steps are done."""
    from contextlib import contextmanager

    @contextmanager
    def interrupts():
        _SEEN.clear()
        yield lambda: any(event.step >= step for event in _SEEN)

    return interrupts


def test_a_time_limit_is_annealed_into(paced, monkeypatch):
    """The clock goes on by itself: the decay begins in time, and the rate ends low."""
    clock = iter(range(10**6))
    monkeypatch.setattr(loop.time, "monotonic", lambda: 0.01 * next(clock))
    made = paced(400)
    events = []
    pacing = dataclasses.replace(OPEN, epochs=1000, waits=None)
    plan = dataclasses.replace(PLAN, max_seconds=3.0, epochs=1000, pacing=pacing)
    end = descend(made.problem, plan, made.start(), listeners=[events.append])
    assert "time limit" in end.progress.stopped_because
    assert any(event.kind == "annealing" for event in events)
    assert end.progress.history[-1]["learning_rate"] < 0.3 / 3


@pytest.fixture
def clock_of_steps(monkeypatch):
    """The clock of a session: a step takes 0.01 s, those that were undone too; all else takes none."""
    done = property(lambda session: 0.01 * (session.steps_done + session.progress.undone))
    monkeypatch.setattr(Session, "seconds", done)


@pytest.mark.parametrize("pacing", [None, dataclasses.replace(OPEN, epochs=1000, waits=None)])
def test_what_an_epoch_cut_short_by_the_clock_says_it_did(paced, setting, clock_of_steps, pacing):
    made, events = paced(80_000) if pacing else setting(80_000, rule=rules.sgd(), noise=0.0), []
    plan = dataclasses.replace(PLAN, epochs=1000, max_seconds=50.0, pacing=pacing, learning_rate=0.01)
    end = descend(made.problem, plan, made.start(), listeners=[events.append])
    (row,) = end.progress.history
    assert 2500 < row["step"] < 10_000  # in an epoch
    assert events[-1].kind == "finished"
    assert {event.step for event in events if event.kind in ("epoch", "finished")} == {row["step"]}


@pytest.mark.parametrize("bad", [1, 2])
def test_an_epoch_cut_short_that_goes_wrong_is_taken_back(paced, clock_of_steps, monkeypatch, bad):
    """The first measurements of the validation rows are not numbers: it is no end, however little is left."""
    real, measured = loop.evaluate, []

    def evaluated(*arguments):
        measured.append(real(*arguments))
        return measured[-1]._replace(loss=np.nan) if len(measured) <= bad else measured[-1]

    monkeypatch.setattr(loop, "evaluate", evaluated)
    made, events = paced(80_000), []
    pacing = dataclasses.replace(OPEN, epochs=1000, waits=None)
    plan = dataclasses.replace(
        PLAN, epochs=1000, max_seconds=50.0, pacing=pacing, learning_rate=0.01, guard=Guard()
    )
    end = descend(made.problem, plan, made.start(), listeners=[events.append])
    assert sum(event.kind == "rolled-back" for event in events) == bad
    kept = [row["epoch"] for row in end.progress.history]
    assert end.progress.best_epoch == (kept[-1] if kept else 0)
    assert ("annealed" in end.progress.stopped_because) <= bool(kept)


def test_a_roll_back_takes_back_where_the_decay_would_begin(paced, monkeypatch, identical):
    """Trouble from the 350th step on, the lowest validation loss at that very step: neither was."""
    see, recover, hit, seen = Guarding.see, loop.recover, [], []

    def trouble_at_350(guarding, losses):
        guarding.steps = getattr(guarding, "steps", 0) + len(losses)
        real = see(guarding, losses)
        if hit or guarding.steps < 351:
            return real
        hit.append(guarding.steps)
        return Trouble("diverged", "the loss rose", len(losses), 1.0, 9.0)

    def recovered(session, trouble):
        before = int(session.turning.step)
        recover(session, trouble)
        seen.append((before, session.progress.best_epoch, identical(session.turning.params, session.kept[0])))

    monkeypatch.setattr(Guarding, "see", trouble_at_350)
    monkeypatch.setattr(loop, "recover", recovered)
    made = paced(400, validation=64)
    plan = dataclasses.replace(PLAN, learning_rate=0.002, guard=Guard())
    descend(made.problem, plan, made.start())
    assert seen == [(350, 6, True)]


class Clocked:
    """As much of a session as `watch_clock` looks at; a step takes 0.01 s, from the 150th on `later`."""

    def __init__(self, later=0.01, taken_over=0):
        self.plan = SimpleNamespace(pacing=OPEN, max_seconds=3.0)
        self.progress = SimpleNamespace(tuned={"continued_steps": taken_over}, phases={})
        self.later, self.steps_done, self.taken_over = later, taken_over, taken_over
        self.seconds_per_step = self.watched_from = None

    @property
    def phases(self):
        return Phases(0)._replace(**self.progress.phases)

    @property
    def seconds(self):
        own = self.steps_done - self.taken_over
        return 0.01 * min(own, 150) + self.later * max(own - 150, 0)

    elapsed = seconds

    def tell(self, *_):
        self.told_at = self.seconds

    def descend(self):
        """Return whether the decay came to its end before the time limit did."""
        while self.seconds < self.plan.max_seconds:
            before = self.seconds
            self.steps_done += 5
            self.seconds_per_step = (self.seconds - before) / 5
            watch_clock(self)
            if self.steps_done >= self.phases.end:
                return True
        return False


@pytest.mark.parametrize("later", [0.002, 0.01, 0.015, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("taken_over", [0, 34, 5000])
def test_a_decay_comes_to_its_end_in_time(later, taken_over):
    """Also where the steps become slower, as on a machine that others begin to use; and whatever was done
    while the rate was chosen, which is not of this clock."""
    session = Clocked(later, taken_over)
    assert session.descend()
    assert session.told_at >= (1 - OPEN.decay) * 3.0  # and not for having begun at once
    assert later < 0.01 or session.seconds > 0.8 * 3.0
