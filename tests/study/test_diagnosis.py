"""Descents made to have each fault, and healthy ones."""

import numpy as np
import pytest

from downslope.study.diagnosis import diagnose, in_short

N = 40


def history(train, validation=None, rates=None, norms=None, steps_per_epoch=20):
    epochs = np.arange(1, len(train) + 1)
    return {
        "epoch": epochs.tolist(),
        "step": (steps_per_epoch * epochs).tolist(),
        "train_loss": list(train),
        "validation_loss": [None] * len(train) if validation is None else list(validation),
        "learning_rate": [1e-3] * len(train) if rates is None else list(rates),
        "gradient_norm": [None] * len(train) if norms is None else list(norms),
    }


def names(*arguments, **options):
    return [finding.name for finding in diagnose(*arguments, **options) if finding.alarm]


def healthy(seed=0):
    """Falls, flattens, is noisy, and is annealed."""
    place = np.arange(N)
    jitter = 1 + 0.03 * np.random.default_rng(seed).normal(size=N)
    train = (2.3 * np.exp(-place / 4) + 0.05) * jitter
    return train, (2.3 * np.exp(-place / 4) + 0.1) * jitter, 1e-3 * (1 + np.cos(np.pi * place / N)) / 2


SUMMARY = {"loss_at_start": 2.4, "batch_size": 32, "rows": {"train": 2000}, "optimizer": "adamw"}


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_descent_alarms_nobody(seed):
    train, validation, rates = healthy(seed)
    found = diagnose(history(train, validation, rates), SUMMARY)
    assert [finding for finding in found if finding.alarm] == []
    (line,) = in_short(found, SUMMARY["loss_at_start"], float(train[-1]))
    assert line.startswith("healthy: the training loss fell from 2.4 to ")


def test_nothing_recorded_is_nothing_found():
    assert diagnose({}) == []
    assert diagnose(history([])) == []
    assert diagnose(history([None, 1.0])) == []


def test_overshoots():
    train, *_ = healthy()
    train[2] = 9.0
    (finding,) = diagnose(history(train), SUMMARY)
    assert finding.name == "overshoots"
    assert finding.evidence["epoch"] == 3
    assert "9" in finding.words
    assert finding.next_step


def test_dropout_alone_overshoots_nothing():
    """The loss of the start is measured without it, and so are the validation's."""
    barely = history([1.16, 1.15, 1.16], [0.839, 0.839, 0.838])
    assert "overshoots" not in names(barely, {**SUMMARY, "loss_at_start": 0.839})
    risen = history([1.16, 1.15, 1.16], [1.2, 1.3, 1.2])
    assert "overshoots" in names(risen, {**SUMMARY, "loss_at_start": 0.839})


def test_oscillates():
    valley = 1 + 0.5 * (-1.0) ** np.arange(N) * 0.99 ** np.arange(N)
    assert "oscillates" in names(history(valley, steps_per_epoch=1))
    sharp = {"largest": 300.0, "smallest": 1.0}
    plain = {**SUMMARY, "optimizer": "sgd"}
    rates = [0.01] * N
    train, *_ = healthy()
    assert "oscillates" in names(history(train, rates=rates), plain, sharpness=sharp)
    assert "oscillates" not in names(history(train, rates=rates), plain, sharpness={"largest": 100.0})


def test_too_slow():
    assert names(history(np.linspace(2.4, 2.0, N)), SUMMARY) == ["too slow"]
    place = np.arange(N)
    cosine = 1e-6 * (1 + np.cos(np.pi * place / N)) / 2  # straight against the way, not against the epochs
    walked = np.cumsum(cosine)
    train = 2.4 - 0.3 * walked / walked[-1]
    assert names(history(train, rates=cosine), SUMMARY) == ["too slow"]


def test_plateau():
    rng = np.random.default_rng(0)
    assert names(history(2.4 + 0.01 * rng.normal(size=N)), SUMMARY) == ["plateau"]
    stairs = np.concatenate([[2.4, 1.8], np.full(20, 1.5), np.linspace(1.4, 0.2, 18)])
    assert "plateau" in names(history(stairs), SUMMARY)


def test_over_fits():
    place = np.arange(N)
    train = 2.3 * np.exp(-place / 5)
    validation = 1.0 + 0.1 * np.abs(place - 4)
    assert names(history(train, validation), SUMMARY) == ["over-fits"]
    mild = 1.0 + 0.01 * np.abs(place - 20)
    assert names(history(train, mild), SUMMARY) == []


def test_over_fitting_is_seen_behind_an_annealed_end():
    """The validation loss doubles, and comes down again as the rate falls; but not to where it was."""
    place = np.arange(N)
    train = 2.3 * np.exp(-place / 5)
    validation = 0.67 + 0.65 * np.minimum(place / 6, 1)
    validation[-6:] = 0.79
    (found,) = diagnose(history(train, validation), SUMMARY)
    assert "rose from 0.67 to 1.32 and ended at 0.79 while the training loss went on falling" in found.words


def test_noisy_gradient():
    rng = np.random.default_rng(0)
    train = np.concatenate([np.linspace(2.4, 1, 5), 1 + 0.3 * rng.normal(size=N - 5)])
    summary = {**SUMMARY, "batch_size": 2}
    assert names(history(train), summary) == ["noisy gradient"]
    annealed = np.linspace(1e-3, 0, N)
    assert names(history(train, rates=annealed), summary) == []
    assert names(history(train), {**summary, "batch_size": 500}) == []


def layers(**norms):
    return [
        {"epoch": epoch, "layer": name, "gradient_norm": norm, "update_ratio": 1e-3}
        for epoch in range(1, 9)
        for name, norm in norms.items()
    ]


def test_layers():
    train, validation, rates = healthy()
    told = history(train, validation, rates)
    assert names(told, SUMMARY, layers=layers(first=1.0, last=0.01)) == []
    assert names(told, SUMMARY, layers=layers(first=1e-7, last=1.0)) == ["vanishing gradients"]
    assert names(told, SUMMARY, layers=layers(first=1e6, last=1.0)) == ["exploding gradients"]


def test_dead_units():
    train, validation, rates = healthy()
    told = history(train, validation, rates)
    assert names(told, {**SUMMARY, "dead_units": {"hidden layer 1": 0.6}}) == ["dead units"]
    assert names(told, {**SUMMARY, "dead_units": {"hidden layer 1": 0.02}}) == []
    dead = {**SUMMARY, "dead_units": {"hidden layer 1": 0.6}, "model": "mlp 3 → 8 → 1, silu"}
    (finding,) = (one for one in diagnose(told, dead) if one.name == "dead units")
    assert "--activation leaky-relu, or --batch-norm" in finding.next_step  # not what is used already


def test_settled():
    place = np.arange(N)
    train = 2.4 * np.exp(-place / 3)
    told = history(train, norms=np.exp(-place / 3), rates=1e-3 * np.linspace(1, 0, N))
    (finding,) = diagnose(told, SUMMARY)
    assert (finding.name, finding.alarm) == ("settled", False)
    assert finding.words.startswith("levelled off: ")
    not_yet = {"verdict": "not settled", "smallest": 0.1, "largest": 1}
    assert diagnose(told, SUMMARY, sharpness=not_yet) == []
    (finding,) = diagnose(told, SUMMARY, sharpness={"largest": 10.0, "smallest": 0.1})
    assert "minimum" in finding.words
    (finding,) = diagnose(told, SUMMARY, sharpness={"largest": 10.0, "smallest": -5.0})
    assert "saddle" in finding.words
    assert finding.alarm


def test_recovered_and_diverged():
    train, *_ = healthy()
    back = {"kind": "rolled-back", "step": 12, "values": {"learning_rate": 0.05}}
    (finding,) = diagnose(history(train), SUMMARY, events=[back])
    assert finding.name == "recovered by the guard"
    assert "0.05" in finding.words
    end = {"kind": "non-finite", "step": 40, "message": "the loss became nan. Try less"}
    found = names(history(train), {**SUMMARY, "stopped_because": "the loss became nan"}, events=[back, end])
    assert found == ["diverged"]  # with one cure


@pytest.mark.parametrize(
    ("told", "step"),
    [
        ("the loss became nan; too large. Try a learning rate of 0.1", "try a learning rate of 0.1"),
        ("before the first step. Look for extreme values in the data", "look for extreme values in the data"),
        ("the loss became nan. Kept the weights of the start", "lower the learning rate tenfold"),
        ("the loss became nan", "lower the learning rate tenfold"),
    ],
)
def test_there_is_one_cure(told, step):
    end = {"kind": "non-finite", "step": 40}
    (finding,) = diagnose(history([1.0]), {**SUMMARY, "stopped_because": told}, events=[end])
    assert finding.next_step == step
    assert finding.words == "diverged: " + told.split(". ")[0]


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (0.5, 0.25, "healthy: the training loss fell from 0.5 to 0.25"),
        (0.25, 0.5, "healthy: the training loss rose from 0.25 to 0.5"),
        (0.4821, 0.4822, "healthy: the training loss stayed at 0.482"),
        (None, 0.4821, "healthy"),
    ],
)
def test_in_short_says_which_way_the_loss_went(start, end, words):
    assert in_short([], start, end) == [words]


@pytest.mark.parametrize(
    ("first", "last", "is_plateau"),
    [(1.05, 0.98, True), (0.98, 0.97, True), (0.04, 0.002, False), (0.9, 0.8, False)],
)
def test_a_plateau_is_a_loss_that_hardly_fell_from_its_start(first, last, is_plateau):
    """With many rows most of the way may be behind after the first epoch."""
    train = last + (first - last) * np.exp(-np.arange(10.0))
    found = diagnose(history(train), {**SUMMARY, "loss_at_start": 1.0})
    assert ("plateau" in [finding.name for finding in found]) == is_plateau


def test_no_better_than_guessing():
    def found(reached, guessed, metric="log_loss"):
        told = {"guessing": {"split": "test", metric: guessed}, "metrics": {"test": {metric: reached}}}
        return names(history(*healthy()), {**SUMMARY, **told})

    for metric in ("log_loss", "rmse"):
        assert "no better than guessing" in found(0.03, 0.02, metric)
        assert "no better than guessing" not in found(0.01, 0.02, metric)
    assert "no better than guessing" not in found(None, 0.02)


def held_out(rows=200, split="test", **metrics):
    """A healthy descent's summary; each metric is that of the training rows, of the held-out, of guessing."""
    places = {"train": 0, split: 1}
    return SUMMARY | {
        "rows": {"train": 2000, split: rows},
        "metrics": {
            name: {metric: of[place] for metric, of in metrics.items()} for name, place in places.items()
        },
        "guessing": {"split": split, **{metric: of[2] for metric, of in metrics.items()}},
    }


def said_of(summary):
    return in_short(diagnose(history(*healthy()), summary), 2.4, 0.05)


UNSEEN = "rows that the network has not seen are predicted far worse than those that it learned from: "


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        (held_out(r2=(0.22, 0.18, 0.0)), "the network explains only 18 % of the variance of the test rows"),
        (
            held_out(split="validation", r2=(0.1, -0.0002, -0.0003)),
            "the network explains nothing of the variance of the validation rows",
        ),
        (
            held_out(log_loss=(0.66, 0.68, 0.69), accuracy=(0.58, 0.56, 0.52)),
            "the network is right for 56 % of the test rows; always guessing the commonest class would be "
            "for 52 %",
        ),
        (
            held_out(r2=(0.4, -0.0002, -0.0003)),
            f"{UNSEEN}R² is 0.4 there, and -0.0002 on the test rows",
        ),
        (
            held_out(log_loss=(0.08, 0.63, 0.69), accuracy=(0.98, 0.71, 0.52)),
            f"{UNSEEN}98 % are right there, and 71 % of the test rows",
        ),
    ],
)
def test_a_healthy_descent_to_a_network_of_little_use(summary, words):
    first, second = said_of(summary)
    assert first == f"the descent was healthy (the training loss fell from 2.4 to 0.05), but {words}"
    assert second.startswith("next: ")
    assert names(history(*healthy()), summary) == []  # nothing is wrong with the descent


@pytest.mark.parametrize(
    "summary",
    [
        held_out(r2=(0.58, 0.35, 0.0)),  # noisy, and still of use
        held_out(r2=(0.93, 0.82, 0.0)),
        held_out(rows=20, r2=(0.6, 0.1, 0.0)),  # chance
        held_out(rows=20, log_loss=(0.01, 0.6, 0.69), accuracy=(1.0, 0.7, 0.5)),
        # a rare class: the accuracy cannot rise far, but the probabilities tell
        held_out(log_loss=(0.05, 0.07, 0.13), accuracy=(0.98, 0.972, 0.97)),
        # a few mistakes, of which it was sure
        held_out(log_loss=(0.001, 0.4, 0.69), accuracy=(1.0, 0.95, 0.5)),
        held_out(log_loss=(3.0, 4.2, 7.0), accuracy=(0.29, 0.12, 0.001)),  # a thousand classes
        SUMMARY | {"metrics": {"test": {"r2": 0.1}}, "rows": {"test": 200}},  # what guessing gives is unknown
        {**held_out(r2=(0.1, 0.1, 0.0)), "steps": 0},
    ],
)
def test_networks_that_are_of_use_are_called_healthy(summary):
    assert said_of(summary) == ["healthy: the training loss fell from 2.4 to 0.05"]


def test_what_is_learned_by_heart_is_said_once():
    place = np.arange(N)
    told = history(2.3 * np.exp(-place / 5), 1.0 + 0.1 * np.abs(place - 4))
    found = [finding.name for finding in diagnose(told, held_out(r2=(0.9, 0.3, 0.0)))]
    assert found == ["over-fits"]


def test_a_linear_model_has_no_dropout_to_raise():
    (_, step) = said_of({**held_out(r2=(0.9, 0.1, 0.0)), "model": "linear 300 → 1"})
    assert step == "next: get more rows, or use more --weight-decay"
