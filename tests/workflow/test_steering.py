"""Weight decay that is steered: it rises where rows are learned by heart, and only there."""

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

import downslope as ds
from downslope.rules.decay import DECOUPLED
from downslope.rules.registry import rule_by_name
from downslope.training.steering import FALL, RISE, SHORTEST_MEMORY, steered
from downslope.workflow.job import new_job
from downslope.workflow.options import options_from

QUICK = {"out": False, "quiet": True, "hidden": (16,), "dropout": 0.0}
OWN = 0.01  # AdamW's
numbers = st.floats(1e-4, 1e4)


def decays(run):
    return run.history["weight_decay"].to_pylist()


@given(decay=numbers, too_weak=st.booleans(), least=numbers, times=st.floats(1.0, 1e4))
def test_stays_between_its_bounds_and_moves_by_its_factors(decay, too_weak, least, times):
    after = steered(decay, too_weak, least, least * times)
    assert least <= after <= least * times
    assert after in (least, least * times, decay * RISE, decay * FALL)


@pytest.mark.parametrize("name", DECOUPLED)
def test_another_decay_than_its_own_is_as_if_the_rule_were_made_with_it(name):
    rng = np.random.default_rng(0)
    params, grads = ({"a": rng.normal(size=(4, 3)), "b": rng.normal(size=3)} for _ in range(2))
    ones = [rule_by_name(name), rule_by_name(name, weight_decay=0.37)]
    states = [rule.init(params) for rule in ones]
    for _ in range(3):
        context = {"step_size": 0.1, "weight_decay": 0.37}
        steered_to, states[0] = ones[0].direction(grads, states[0], params, **context)
        made_with, states[1] = ones[1].direction(grads, states[1], params, step_size=0.1)
        for leaf in params:
            np.testing.assert_array_equal(steered_to[leaf], made_with[leaf])


@pytest.mark.slow
def test_rises_where_rows_are_learned_by_heart_and_helps():
    gains = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(400, 20)).astype(np.float32)
        y = (x[:, 0] + rng.normal(size=400)).astype(np.float32)  # half of it is noise
        runs = [ds.train(x, y, seed=seed, weight_decay=decay, **QUICK) for decay in ("auto", OWN)]
        steps_per_epoch = -(-runs[0].summary["rows"]["train"] // 32)
        most = 1 / (runs[0].summary["learning_rate"] * SHORTEST_MEMORY * steps_per_epoch)
        assert max(decays(runs[0])) > 10 * OWN
        assert max(decays(runs[0])) <= most * (1 + 1e-6)
        assert decays(runs[1]) == [None] * len(decays(runs[1]))
        gains.append(np.log(np.divide(*(run.summary["metrics"]["test"]["loss"] for run in runs))))
    assert np.mean(gains) < -0.05


def test_stays_where_more_is_to_be_learned():
    x = np.random.default_rng(0).uniform(-3, 3, (2000, 1)).astype(np.float32)
    options = {**QUICK, "hidden": (64, 64), "epochs": 30, "learning_rate": 0.005}
    run = ds.train(x, np.sin(2 * x[:, 0]), **options)
    assert np.median(decays(run)) == OWN
    assert run.summary["metrics"]["test"]["r2"] > 0.99


NETWORK = {"hidden": (16,), "dropout": 0.0, "epochs": 2, "learning_rate": 0.01}


def test_where_it_is_steered():
    def is_steered(**options):
        job = new_job("iris", None, False, False, options_from({**NETWORK, **options}))
        return job.plan.least_decay is not None

    assert is_steered()
    assert is_steered(weight_decay="auto", model="linear", hidden=None, dropout=None)
    assert all(is_steered(optimizer=name) for name in DECOUPLED)
    assert not is_steered(weight_decay=OWN)
    assert not is_steered(optimizer="adam")
    assert not is_steered(optimizer=ds.adamw())
    assert not is_steered(validation_fraction=0.0)
    assert not is_steered(model="linear", hidden=None, dropout=None)


def test_a_run_that_is_steered_says_so(tmp_path):
    run = ds.train("iris", **NETWORK, quiet=True, out=tmp_path / "run")
    assert decays(run)[0] is not None
    config = json.loads((run.folder / "config.json").read_text())
    assert config["weight_decay"] == "auto"
    assert "Weight decay</h" in (run.folder / "report.html").read_text()
    assert len(run.plot("weight_decay").data) == 1
    assert config["optimizer"]["hyperparameters"]["weight_decay"] == OWN


def test_only_a_rule_that_can_be_steered():
    with pytest.raises(ds.OptionError, match="--weight-decay auto goes with adamw, nadamw, lion, muon"):
        ds.train("iris", optimizer="sgd", weight_decay="auto", **QUICK)
    with pytest.raises(ds.OptionError, match="at least 0, or 'auto'"):
        ds.train("iris", weight_decay="much", **QUICK)
