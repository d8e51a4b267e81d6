"""What is said of runs, against the definitions written out."""

import json
import math

import numpy as np
import pytest

from downslope.study import compare as study
from downslope.study.compare import Arm, ArmRun

INF = math.inf


def run(losses, seed=0, test=None, diverged=False):
    """A run measured at steps 0, 10, 20, … with the given validation losses."""
    steps = [10 * place for place in range(len(losses))]
    metrics = None if diverged else {"loss": test or losses[-1], "accuracy": 1 - losses[-1] / 10}
    passes, seconds = [step / 5 for step in steps], [step / 100 for step in steps]
    return ArmRun(seed, 0.1, steps, passes, seconds, list(losses), diverged, metrics)


def arm(name, *runs):
    return Arm(name, "sgd", 8, 0.1, runs=list(runs))


def random_arms(seed, n_arms=4, n_seeds=3):
    """Arms of falling losses, some of which diverged; every seed has the start of its own."""
    draws = np.random.default_rng(seed)
    starts = draws.uniform(2, 3, n_seeds)
    arms = []
    for place in range(n_arms):
        runs = []
        for number, start in enumerate(starts):
            falls = np.exp(-draws.uniform(0.1, 1.5) * np.arange(1, 9)) * start + draws.uniform(0, 0.3)
            diverged = bool(draws.random() < 0.25)
            losses = [start, *falls[:3], math.nan] if diverged else [start, *falls]
            runs.append(run(losses, number, test=float(draws.uniform(0.1, 1)), diverged=diverged))
        arms.append(arm(f"arm {place}", *runs))
    return arms


@pytest.mark.parametrize("values", [[1.0], [4.0, 1.0], [3.0, 1.0, 2.0], [5.0, 1.0, 2.0, 4.0]])
def test_the_spread_of_numbers_is_numpys(values):
    assert study.spread(values) == {"median": np.median(values), "low": min(values), "high": max(values)}


@pytest.mark.parametrize(
    ("values", "median"),
    [([1.0, INF], None), ([1.0, 2.0, INF], 2.0), ([1.0, INF, INF], None), ([INF], None), ([-INF, 3.0], None)],
)
def test_a_run_that_diverged_pulls_the_median(values, median):
    assert study.spread(values)["median"] == median


def test_the_target_is_a_share_of_the_way_from_the_start_to_the_best():
    good, poor = arm("good", run([2.0, 1.0, 0.5])), arm("poor", run([2.2, 2.0, 1.5]))
    assert study.target_loss([good, poor], tau=0.1) == pytest.approx(0.5 + 0.1 * (2.1 - 0.5))
    assert study.target_loss([arm("up", run([1.0, 2.0], diverged=True))]) is None


def test_a_target_below_zero_has_a_meaning():
    """A loss may be negative; 1.05 × best would lie below the best."""
    falling = arm("falling", run([1.0, -1.0]))
    target = study.target_loss([falling], tau=0.05)
    assert target == pytest.approx(-0.9)
    assert study.arrival(falling.runs[0], target) == 1


def test_arriving_is_the_first_measurement_at_or_below_the_target():
    once = run([2.0, 1.0, 0.5, 0.7, 0.4])
    assert study.arrival(once, 0.5) == 2
    assert study.arrival(once, 0.3) is None
    assert study.cost_of_arrival(once, 0.5, "steps") == 20
    assert study.cost_of_arrival(once, 0.5, "passes") == 4
    assert study.cost_of_arrival(once, 0.5, "seconds") == 0.2
    assert study.cost_of_arrival(once, 0.3, "steps") == INF
    assert study.arrival(run([2.0, 0.1, 9.0], diverged=True), 0.5) is None
    assert study.arrival(once, None) is None


@pytest.mark.parametrize("seed", range(5))
def test_the_summary_is_the_medians_of_the_runs(seed):
    arms = random_arms(seed)
    target = study.target_loss(arms)
    for one in arms:
        said = study.summary(one, target, "accuracy")
        steps = []
        for single in one.runs:
            below = [s for s, loss in zip(single.steps, single.losses, strict=True) if loss <= target]
            steps.append(INF if single.diverged or not below else below[0])
        middle = sorted(steps)[1]
        assert said["steps_to_target"]["median"] == (middle if middle < INF else None)
        assert said["reached"] == sum(step < INF for step in steps)
        tests = sorted(INF if single.diverged else single.metrics["loss"] for single in one.runs)
        assert said["held_out_loss"]["median"] == (tests[1] if tests[1] < INF else None)
        accuracies = sorted(-INF if single.diverged else single.metrics["accuracy"] for single in one.runs)
        assert said["metric"]["median"] == (accuracies[1] if accuracies[1] > -INF else None)
        assert said["diverged"] == sum(single.diverged for single in one.runs)


@pytest.mark.parametrize("seed", range(5))
def test_the_profile_is_its_definition(seed):
    arms = random_arms(seed)
    found = study.profile(arms)
    races = []
    for number in range(3):
        runs = [one.runs[number] for one in arms]
        best = min((min(r.losses) for r in runs if not r.diverged), default=None)
        if best is None:
            continue
        start = np.median([r.losses[0] for r in runs])
        for tau in study.PROFILE_TAUS:
            level = best + tau * (start - best)
            races.append(
                [
                    INF
                    if r.diverged
                    else min((p for p, v in zip(r.passes, r.losses, strict=True) if v <= level), default=INF)
                    for r in runs
                ]
            )
    assert found["races"] == len(races) > 0
    for place, one in enumerate(arms):
        for factor, share in zip(found["factors"], found["shares"][one.name], strict=True):
            within = [race[place] <= factor * min(race) * (1 + 1e-9) for race in races]
            assert share == pytest.approx(np.mean(within))
        assert found["shares"][one.name] == sorted(found["shares"][one.name])


def test_races_are_the_seeds_that_all_arms_ran():
    whole = arm("whole", run([2.0, 1.0], 0), run([2.0, 1.0], 1))
    part = arm("part", run([2.0, 1.5], 0))
    assert study.profile([whole, part])["races"] == len(study.PROFILE_TAUS)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([0.1, 0.2], [0.3, 0.4], "first came lowest, from every seed."),
        (
            [0.1, 0.3],
            [0.3, 0.4],
            "first has the lowest median loss, but its runs overlap with those of second.",
        ),
        ([0.5, 0.6], [0.3, 0.4], "second came lowest, from every seed."),
        ([0.1], [0.3], "first came lowest, from the one seed that was run."),
    ],
)
def test_the_verdict_is_clear_only_where_no_seed_overlaps(first, second, said):
    arms = [
        arm(name, *(run([2.0, loss], seed) for seed, loss in enumerate(losses)))
        for name, losses in (("first", first), ("second", second))
    ]
    assert study.verdict(arms) == said


def test_where_all_diverged_nothing_is_best():
    assert study.verdict([arm("a", run([1.0, math.nan], diverged=True))]) == "Every run diverged."


@pytest.mark.parametrize(
    ("losses", "diverged"),
    [
        ([2.0, 1.0, 0.5], False),
        ([2.0, 19.0, 0.5], False),
        ([2.0, 21.0, 0.5], True),
        ([2.0, 1.0, 2.01], False),  # over-fitting
        ([2.0, math.nan, 0.5], True),
        ([2.0, 1.0, math.inf], True),
        ([-1.0, 7.0, -2.0], False),
        ([-1.0, 9.0, -2.0], True),
    ],
)
def test_what_counts_as_diverged(losses, diverged):
    assert study.has_diverged(losses, train_rose=False) is diverged
    assert study.has_diverged(losses, train_rose=True)


def test_how_much_of_the_way_down_an_arm_came():
    good, half = arm("good", run([2.0, 0.5])), arm("half", run([2.0, 1.25]))
    lost, up = arm("lost", run([2.0, 0.1, math.nan], diverged=True)), arm("up", run([2.0, 2.0]))
    found = [study.way_down(one, [good, half, lost, up]) for one in (good, half, lost, up)]
    assert found == [1.0, 0.5, 0.0, 0.0]
    assert study.way_down(lost, [lost]) == 0.0


def test_those_that_diverged_are_ranked_last():
    arms = [arm("bad", run([2.0, math.nan], diverged=True)), arm("good", run([2.0, 1.0]))]
    assert study.ranking(arms) == [1, 0]


def test_an_arm_is_json():
    lost = arm("lost", run([2.0, math.nan], diverged=True))
    content = json.loads(json.dumps(study.arm_json(lost, [lost], "accuracy"), allow_nan=False))
    assert content["runs"][0]["losses"] == [2.0, None]
    assert content["summary"]["held_out_loss"] == {"median": None, "low": None, "high": None}
