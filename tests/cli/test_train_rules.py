"""Every rule of the command line trains, and `downslope rules` has a line for each."""

import numpy as np
import pytest

from downslope.rules.registry import RULES, rule_by_name
from downslope.workflow.train import train


@pytest.mark.slow
@pytest.mark.parametrize("name", list(RULES))
def test_every_name_trains(name):
    """At the rule's own rate; what races for one is tested where they are."""
    small = {"model": "linear", "epochs": 3, "batch_size": 32, "out": False, "quiet": True}
    run = train("iris", optimizer=name, learning_rate=rule_by_name(name).learning_rate, **small)
    assert run.summary["optimizer"] == name
    assert run.summary["epochs"] == 3
    losses = run.history["train_loss"].to_pylist()
    assert np.isfinite(losses).all()
    assert len(set(losses)) == 3  # it moved
    for metrics in run.summary["metrics"].values():
        assert all(np.isfinite(value) for value in metrics.values())


def test_rules_has_a_line_for_each(command):
    answer = command("rules")
    assert answer.code == 0
    assert not answer.err
    head, *lines, foot = answer.out.splitlines()
    assert head.split() == ["rule", "adapts", "memory", "paper"]
    assert foot == "memory: numbers kept per parameter"
    assert [line.split()[0] for line in lines] == list(RULES)
    for line, info in zip(lines, RULES.values(), strict=True):
        assert [cell.strip() for cell in line.split("  ") if cell.strip()] == [
            info.name,
            info.adapts,
            info.memory,
            info.paper,
        ]


def test_the_optimizer_that_was_asked_for_is_said(command, tmp_path):
    words = ["train", "iris", "--optimizer", "lion", "--epochs", 1, "--hidden", 4, "--out", tmp_path / "run"]
    answer = command(*words)
    assert answer.code == 0
    assert any(line.startswith("descent  lion, learning rate ") for line in answer.out.splitlines())
    assert any(line.startswith("device   cpu:0") for line in answer.out.splitlines())
