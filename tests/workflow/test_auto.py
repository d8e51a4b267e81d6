"""With no learning rate given: every kind of run gets one, says why, and can be taken up again."""

import json
import signal

import numpy as np
import optax
import pytest

import downslope as ds
from downslope.rules.registry import RULES
from downslope.tuning.budget import steps_to_choose

SMALL = {"hidden": (8,), "quiet": True, "batch_size": 32}
QUICK = {**SMALL, "epochs": 4, "out": False}
QUICK_RULES = ("sgd", "lion", "prodigy", "schedule-free-adamw")


def check(run):
    """The numbers of any finished run with a race."""
    summary = run.summary
    assert summary["learning_rate"] > 0
    assert summary["seconds"]["tune"] > 0
    assert summary["steps_tuning"] > 0
    assert np.isfinite(summary["metrics"]["train"]["loss"])
    return summary


@pytest.mark.parametrize(
    "optimizer",
    [name if name in QUICK_RULES else pytest.param(name, marks=pytest.mark.slow) for name in RULES],
)
def test_every_rule(optimizer):
    events = []
    run = ds.train("iris", optimizer=optimizer, listeners=[events.append], **QUICK)
    check(run)
    race = next(event for event in events if event.kind == "learning-rate")
    tied = [arm["learning_rate"] for arm in race.values["arms"] if arm["fate"] in ("tied", "chosen")]
    assert tied[0] <= run.summary["learning_rate"] <= tied[-1]
    assert race.message.startswith(f"learning rate {run.summary['learning_rate']:g} (chosen among ")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"precision": "float16"},
        {"accumulate": 2, "batch_norm": True, "ema": 0.9},
        {"validation_fraction": 0.0},
        {"schedule": "cosine"},
        {"schedule": "plateau"},
        {"batch_size": "full"},
        {"early_stopping": False, "epochs": None},
        {"max_seconds": 0.3, "epochs": None},
    ],
    ids=str,
)
def test_every_kind_of_run(options):
    events = []
    run = ds.train("iris", **{**QUICK, **options}, listeners=[events.append])
    check(run)
    if "validation_fraction" in options:
        race = next(event for event in events if event.kind == "learning-rate")
        assert race.values["held_out"] == "48 rows lent by the training"


def test_ten_rows():
    X = np.random.default_rng(0).normal(0, 1, (10, 2))
    run = ds.train(X, X @ [1.0, -1.0], out=False, quiet=True)
    check(run)


def test_a_network_of_ones_own():
    from flax import nnx

    X = np.random.default_rng(0).normal(0, 1, (200, 3)).astype(np.float32)
    network = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    run = ds.train(network, X, X @ [1.0, 2.0, 3.0], epochs=20, out=False, quiet=True)
    assert check(run)["metrics"]["test"]["r2"] > 0.9


@pytest.mark.parametrize("scale", [1e-2, 1e2])
def test_inputs_of_any_scale(scale):
    """As they are, not standardised: the rule's own rate cannot be right for both."""
    from flax import nnx

    X = scale * np.random.default_rng(0).normal(0, 1, (400, 4)).astype(np.float32)
    network = nnx.Linear(4, 1, use_bias=False, rngs=nnx.Rngs(0))
    y = X @ np.array([1.0, 2.0, 3.0, -1.0]) / scale
    run = ds.train(network, X, y, optimizer="momentum", epochs=40, out=False, quiet=True)
    assert check(run)["metrics"]["test"]["r2"] > 0.95
    assert (run.summary["learning_rate"] > 0.05) == (scale < 1)


def test_an_untrained_network_of_huge_loss_does_not_make_all_rates_tie():
    from flax import nnx

    events = []
    X = 100 * np.random.default_rng(0).normal(0, 1, (300, 4)).astype(np.float32)
    y, network = X @ np.array([1.0, 2.0, 3.0, -1.0]), nnx.Linear(4, 1, rngs=nnx.Rngs(0))
    run = ds.train(network, X, y, epochs=20, out=False, quiet=True, listeners=[events.append])
    assert check(run)["loss_at_start"] > 1e4
    race = next(event.values for event in events if event.kind == "learning-rate")
    losses = {arm["learning_rate"]: arm["loss"] for arm in race["arms"] if arm["loss"] is not None}
    assert losses[race["learning_rate"]] < 2 * min(losses.values())


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ({"learning_rate": 0.01}, 0.01),
        ({"learning_rate": 0.01, "schedule": "auto"}, 0.01),
        ({"schedule": "line-search"}, 0.002),
        ({"optimizer": optax.adam(1e-3)}, 1.0),
    ],
)
def test_no_race_where_the_rate_is_known(options, rate):
    run = ds.train("iris", **QUICK, **options)
    assert run.summary["learning_rate"] == rate
    assert run.summary["seconds"]["tune"] == run.summary["steps_tuning"] == 0


def test_the_same_seed_chooses_the_same(identical):
    one, other = (ds.train("iris", **QUICK, seed=3) for _ in range(2))
    assert one.summary["learning_rate"] == other.summary["learning_rate"]
    assert identical(one.params, other.params)


def interrupt_at(kind, count):
    """A listener that presses Ctrl-C at the `count`-th event of a kind."""
    left = [count]

    def listen(event):
        if event.kind == kind:
            left[0] -= 1
            if left[0] == 0:
                signal.raise_signal(signal.SIGINT)

    return listen


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("epochs", [None, 6])
def test_interrupted_and_resumed_is_undisturbed(tmp_path, epochs, identical, without_seconds):
    """In the race, in the training, and again."""
    options = {**SMALL, "seed": 1, "epochs": epochs}
    whole = ds.train("iris", out=tmp_path / "whole", **options)
    run = ds.train("iris", out=tmp_path / "cut", listeners=[interrupt_at("tuning", 4)], **options)
    assert run.summary["stopped_because"] == "interrupted"
    assert run.summary["steps"] == 0
    for kind, count in (("tuning", 9), ("epoch", 2), ("epoch", 1)):
        run = ds.train(resume=tmp_path / "cut", quiet=True, listeners=[interrupt_at(kind, count)])
        assert run.summary["stopped_because"] == "interrupted"
    run = ds.train(resume=tmp_path / "cut", quiet=True)
    assert identical(run.params, whole.params)
    assert without_seconds(run.history.to_pylist()) == without_seconds(whole.history.to_pylist())
    for key in ("learning_rate", "steps", "steps_tuning", "epochs", "stopped_because", "metrics"):
        assert run.summary[key] == whole.summary[key], key


def test_killed_before_the_first_checkpoint_is_begun_again(tmp_path, identical):
    class KilledError(Exception):
        pass

    def kill(event):
        if event.kind == "epoch":
            raise KilledError

    options = {**SMALL, "seed": 1, "epochs": 5}
    whole = ds.train("iris", out=tmp_path / "whole", **options)
    with pytest.raises(KilledError):
        ds.train("iris", out=tmp_path / "cut", listeners=[kill], **options)
    run = ds.train(resume=tmp_path / "cut", quiet=True)
    assert identical(run.params, whole.params)


def test_what_is_on_disk(tmp_path):
    ds.train("iris", out=tmp_path / "run", **SMALL)
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert (config["learning_rate"], config["schedule"], config["epochs"]) == ("auto", "auto", "auto")
    events = [json.loads(line) for line in (tmp_path / "run/events.jsonl").read_text().splitlines()]
    (race,) = (event for event in events if event["kind"] == "learning-rate")
    arms = race["values"]["arms"]
    assert len(arms) >= 7
    assert set(arms[0]) == {"learning_rate", "loss", "gap", "standard_error", "age", "steps", "fate"}
    assert sum(arm["fate"] == "chosen" for arm in arms) == 1
    page = (tmp_path / "run/report.html").read_text()
    assert "How the learning rate was chosen" in page


def test_choosing_costs_a_tenth_of_a_long_run():
    """By its counts: a network and batches for which a step is long."""
    assert steps_to_choose(20_000, 500_000, 1000) == 2000


def test_the_terminal_says_it_in_one_sentence(command, tmp_path):
    answer = command("train", "iris", "--hidden", "8", "--epochs", "3", "--out", tmp_path / "run")
    assert answer.code == 0
    (line,) = (line for line in answer.out.splitlines() if "chosen among" in line)
    assert line.startswith("learning rate ")
    refused = command("train", "iris", "--learning-rate", "fast")
    assert refused.error == "--learning-rate must be a number or 'auto', got 'fast'"
    assert refused.code == 2


@pytest.mark.slow
def test_a_linear_model_gets_weights_as_large_as_the_columns_ask_for():
    """Columns are so mixed that the loss is 10⁴ times steeper one way than another: weights of ≈ 100."""
    random = np.random.default_rng(0)
    mixed, _ = np.linalg.qr(random.standard_normal((20, 20)))
    hidden, noise = random.standard_normal((2000, 20)), 0.1 * random.standard_normal(2000)
    x = hidden * np.geomspace(1.0, 0.01, 20) @ mixed
    y = hidden @ random.standard_normal(20) + noise
    options = {"model": "linear", "quiet": True, "out": False}
    left = {}
    for decay in (None, 0.01):
        run = ds.train(x, y, weight_decay=decay, **options)
        left[decay] = 1 - run.summary["metrics"]["test"]["r2"]
    assert left[None] < 3 * noise.var() / y.var()
    assert left[None] < left[0.01] / 3


@pytest.mark.parametrize(("options", "decay"), [({"model": "linear"}, 0.0), ({"hidden": (8,)}, 0.01)])
def test_only_the_weights_of_hidden_layers_decay_by_default(tmp_path, options, decay):
    ds.train("iris", out=tmp_path / "run", epochs=1, quiet=True, learning_rate=0.01, **options)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["optimizer"]["hyperparameters"]["weight_decay"] == decay


@pytest.mark.slow
def test_a_sorted_file_starts_no_lower_than_it_is(tmp_path):
    """Its first rows lie near the mean; measured on them alone the descent would seem to climb from there."""
    random = np.random.default_rng(0)
    x = random.normal(size=(30_000, 4)).astype(np.float32)
    y = x @ [1.0, -1.0, 0.5, 0.0] + random.normal(size=30_000) * 3
    order = np.argsort(np.abs(y - y.mean()))
    run = ds.train(x[order], y[order], epochs=2, learning_rate=0.001, out=tmp_path / "run", quiet=True)
    assert run.summary["loss_at_start"] == pytest.approx(1.0, rel=0.3)
    assert not [found for found in run.summary["diagnosis"] if found["name"] == "overshoots"]
