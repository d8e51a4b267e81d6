"""The proof of the learning rate: its oracle does the work of `train`, its measures mean what they say."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from benchmarks.learning_rate import measures, records
from benchmarks.learning_rate.__main__ import oracle_of, steps_of
from benchmarks.learning_rate.contenders import ABLATIONS, OURS, OWN, RIVALS, UNGUARDED, Contender
from benchmarks.learning_rate.observed import observed
from benchmarks.learning_rate.oracle import Setting, job_of, sweep
from benchmarks.learning_rate.page import page
from benchmarks.learning_rate.workloads import ALL, BASE, Workload, bundled, relabelled, standardised

import downslope as ds
from downslope.tuning import race

pytestmark = pytest.mark.slow

WINE = Workload("wine", bundled("wine"), hidden=(4,))
NORMED = Workload("wine", bundled("wine"), hidden=(4,), batch_norm=True)
SUGAR = Workload("diabetes", bundled("diabetes"), task="regression", hidden=(4,))


@pytest.mark.parametrize(("workload", "rule"), [(NORMED, "momentum"), (SUGAR, "adamw")])
def test_a_lane_of_the_sweep_is_the_descent_that_train_does(workload: Workload, rule: str):
    settings = [Setting(0.003, "cosine", 1), Setting(0.03, "linear", 2)]
    swept = sweep(workload, rule, settings, epochs=6)
    for setting, losses in zip(settings, swept, strict=True):
        given = {"optimizer": rule, "learning_rate": setting.learning_rate, "schedule": setting.schedule}
        run = observed(
            workload, Contender("one", {**given, **UNGUARDED, "epochs": 6}, own_decay=True), setting.seed
        )
        assert losses == pytest.approx(run.losses, rel=2e-4)


def test_what_is_observed_is_what_the_run_says():
    assert WINE.rows is not None
    run = observed(WINE, Contender("ours"), 3)
    again = ds.train(WINE.network, *WINE.rows[0], **WINE.options, seed=3, out=False, quiet=True)
    assert run.losses[-1] == pytest.approx(again.summary["metrics"]["test"]["loss"], rel=1e-5)
    assert run.learning_rate == again.summary["learning_rate"]
    assert run.epochs == again.summary["epochs"] == len(run.losses) - 1
    assert run.steps[-1] == again.summary["steps"] + again.summary["steps_tuning"]
    assert run.seconds == sorted(run.seconds)
    assert f"{run.learning_rate:g}" in run.chosen


def test_an_ablation_changes_the_race_and_nothing_else():
    few = next(one for one in ABLATIONS if one.constants == {"ARMS": 5})
    options, fixed = {"epochs": 60}, {"MOST_WIDENED": 0}
    five = observed(WINE, Contender("5", options, constants={**few.constants, **fixed}), 0)
    assert "among 5" in five.chosen
    assert "among 7" in observed(WINE, Contender("7", options, constants=fixed), 0).chosen
    assert race.ARMS == 7


def test_a_descent_that_diverges_is_seen_and_keeps_what_it_had():
    absurd = Contender("absurd", {"optimizer": "sgd", "learning_rate": 1e30, "epochs": 2, **UNGUARDED})
    run = observed(WINE, absurd, 0)
    assert run.diverged
    assert math.isfinite(run.losses[-1])


def test_everyone_with_options_of_its_own_can_run():
    for contender in (one for one in (*OWN, *RIVALS) if callable(one.options)):
        workload = Workload("wine", bundled("wine"), hidden=()) if contender.linear_only else WINE
        assert contender.enters(workload)
        limited = Contender(
            contender.name, lambda *given, one=contender: {**one.options_for(*given), "epochs": 1}
        )
        assert math.isfinite(observed(workload, limited, 0).losses[-1])


def test_the_test_rows_and_the_units_are_the_same_for_every_seed():
    tests = [job_of(SUGAR, seed=seed).prepared for seed in (0, 1)]
    a, b = (
        (rows.rows["test"].targets * rows.encoding.labels.std + rows.encoding.labels.mean) for rows in tests
    )
    np.testing.assert_allclose(a, b, atol=1e-5)
    assert not np.array_equal(tests[0].rows["train"].targets, tests[1].rows["train"].targets)


def test_perturbations_bite():
    by_name = {one.name: one for one in ALL}
    plain, loud = by_name["wine"], by_name["wine; inputs × 100"]
    assert plain.rows is not None
    assert loud.rows is not None
    np.testing.assert_allclose(loud.rows[0][0], 100 * plain.rows[0][0], rtol=1e-6)
    assert len(by_name["wine; depth × 3"].hidden) == 3 * len(plain.hidden)
    assert job_of(by_name["wine; batches of 4"]).plan.batch_size == 4
    assert len(by_name) == len(ALL) > 4 * len(BASE)


def test_wrong_labels_are_as_many_as_said_and_drawn_from_all():
    labels = np.repeat([0, 1, 2, 3], 2500)
    wrong = relabelled(labels, 0.2)
    assert np.mean(wrong != labels) == pytest.approx(0.2 * 3 / 4, abs=0.02)  # some are drawn as they were
    assert np.bincount(wrong) == pytest.approx(2500, rel=0.05)


def test_constant_columns_are_harmless():
    array = np.array([[1.0, 5.0], [3.0, 5.0], [9.0, 5.0]])
    assert standardised(array, np.array([0, 1])).tolist() == [[-1.0, 0.0], [1.0, 0.0], [7.0, 0.0]]


def run_of(seed: int, losses: list[float], seconds: list[float]) -> dict:
    return {"seed": seed, "losses": losses, "seconds": seconds, "steps": [10 * s for s in seconds]}


def test_the_measures_on_runs_counted_by_hand():
    oracle = [
        run_of(0, [2.0, 1.0], [1.0, 2.0]),
        run_of(1, [2.0, 1.1], [1.0, 3.0]),
        run_of(2, [2.0, 0.9], [1.0, 4.0]),
    ]
    assert measures.target_of(oracle) == 1.0
    assert measures.to_target(oracle, 1.0, "seconds") == 4.0  # 2, never, 4
    runs = [
        run_of(0, [1.009, 1.5], [6.0, 8.0]),
        run_of(1, [3.0, 1.1], [6.0, 8.0]),
        run_of(2, [3.0, 1.0], [6.0, 8.0]),
    ]
    assert measures.ratio(runs, oracle, "seconds") == 2.0  # 6, never, 8
    assert measures.ratio(runs, oracle, "steps") == 2.0
    assert measures.paired_ratio(runs, oracle, "steps") == 3.0  # 6 / 2, 8 / 3, never
    assert measures.regret(runs, oracle) == pytest.approx(1.0 / 0.9 - 1)  # 1.5, 1, 1.11
    assert measures.ratio([run_of(0, [9.0], [1.0])], oracle, "steps") == math.inf
    assert measures.geometric_mean([1.0, 4.0, math.inf]) == 2.0


def test_the_shares_of_a_regret():
    sweep = {
        "adamw": [[0.001, "cosine", [1.21]], [0.1, "cosine", [1.1]], [0.001, "linear", [1.3]]],
        "lion": [[0.001, "cosine", [1.0, 1.0]]],
    }
    rule, rate = measures.shares({"sweep": sweep}, 0.01)
    assert rule == pytest.approx(0.1)
    assert rate == pytest.approx((1.21 * 1.1) ** 0.5 / 1.1 - 1)
    assert measures.shares({"sweep": sweep}, 9.0)[1] == pytest.approx(0.0)  # beyond the sweep: its end


def test_records_come_back_and_are_not_torn(tmp_path):
    record = {
        "workload": "digits; inputs × 100",
        "sweep": {"adamw": [[0.1, "cosine", [math.inf]]]},
        "runs": {},
    }
    records.write(record, tmp_path)
    back = records.read(record["workload"], tmp_path)
    assert back["sweep"] == record["sweep"]
    assert [path.name for path in tmp_path.iterdir()] == ["digits-inputs-100.json"]
    assert records.read("never measured", tmp_path)["runs"] == {}


def test_only_what_is_missing_is_measured_and_the_page_is_written_from_it():
    lines = [[0.01, "cosine", [0.1]]]
    record = {"workload": "wine", "sweep": dict.fromkeys(("momentum", "adamw", "nadamw", "lion"), lines)}
    record |= {"runs": {}, "versions": {"python": "3"}}
    short = {"epochs": 2, "learning_rate": 0.01, "schedule": "constant"}
    ours, rival = Contender(OURS, short), Contender(RIVALS[0].name, short)
    oracle = [asdict(observed(WINE, oracle_of(record), seed)) for seed in range(1)]
    record["runs"]["oracle"] = [{**oracle[0], "seed": seed} for seed in range(10)]
    told: list[str] = []
    for _ in steps_of(WINE, record, [ours, rival], range(2), False, told.append):
        json.dumps(record)
    assert len(told) == 4
    assert not list(steps_of(WINE, record, [ours, rival], range(2), False, told.append))
    text = page([record])
    assert f"| {OURS} |" in text
    assert "MISS" in text or "holds" in text
    assert "adamw 0.01 cosine" in text
