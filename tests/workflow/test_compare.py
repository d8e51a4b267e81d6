"""Arms side by side: the same ground for all, the numbers of the table from the runs, what is refused."""

import json
import math
from contextlib import contextmanager

import jax
import numpy as np
import pytest

import downslope as ds
from downslope.workflow import compare as module
from downslope.workflow.compare_words import QUESTIONS

SMALL = {"target": "kind", "drop": ("price",), "hidden": (8,), "batch_size": 16, "quiet": True}


@pytest.fixture(scope="module")
def things(finished):
    return finished["data"]


@pytest.fixture(scope="module")
def compared(things, tmp_path_factory):
    """A comparison of all kinds of arms, on disk."""
    folder = tmp_path_factory.mktemp("compared") / "one"
    rules = ["gd", "adam", "random-search", "grid-search"]
    options = {**SMALL, "batch_size": None}
    return ds.compare(things, rules=rules, seeds=3, budget=3, out=folder, **options)


def arms(comparison):
    return {arm["name"]: arm for arm in comparison.results["arms"]}


def middle(values):
    """The median in which what is missing counts as infinite."""
    found = sorted(math.inf if value is None else value for value in values)[len(values) // 2]
    return found if math.isfinite(found) else None


@pytest.mark.slow
def test_medians_are_those_of_the_runs_stored_beside_them(compared):
    stored = json.loads((compared.folder / "results.json").read_text())
    target = stored["target_loss"]
    assert len(stored["arms"]) == 4
    for arm in stored["arms"]:
        said, runs = arm["summary"], arm["runs"]
        assert len(runs) == said["runs"] == 3
        losses = [None if run["diverged"] else run["metrics"]["loss"] for run in runs]
        assert said["held_out_loss"]["median"] == middle(losses)
        accuracies = [run["metrics"]["accuracy"] for run in runs]
        assert said["metric"]["median"] == sorted(accuracies)[1]
        for unit in ("steps", "passes", "seconds"):
            costs = []
            for run in runs:
                pairs = zip(run[unit], run["losses"], strict=True)
                costs.append(next((cost for cost, loss in pairs if loss <= target), None))
            assert said[f"{unit}_to_target"]["median"] == middle(costs)


def test_the_table_is_the_results(compared):
    rows = {row["name"]: row for row in compared.table()}
    for name, arm in arms(compared).items():
        assert rows[name]["held_out_loss"] == arm["summary"]["held_out_loss"]["median"]
        assert rows[name]["held_out_loss_low"] == arm["summary"]["held_out_loss"]["low"]
    losses = [row["held_out_loss"] for row in compared.table()]
    assert losses == sorted(losses)


def test_every_arm_starts_from_the_same_weights(compared):
    starts = {
        run["seed"]: {arm["runs"][place]["losses"][0] for arm in compared.results["arms"]}
        for place, run in enumerate(compared.results["arms"][0]["runs"])
    }
    assert [len(found) for found in starts.values()] == [1, 1, 1]
    assert len(set.union(*starts.values())) == 3  # and other seeds elsewhere


def test_a_gradient_counts_as_three_losses(compared):
    """Random search may look three times per step of a rule with such batches; the grid at most so often."""
    by_name = arms(compared)
    steps = by_name["adam"]["runs"][0]["steps"][-1]
    assert f"{3 * steps} tries" in by_name["random-search"]["note"]
    assert by_name["random-search"]["runs"][0]["passes"][-1] == by_name["adam"]["runs"][0]["passes"][-1] == 3
    tries = int(by_name["grid-search"]["note"].split()[0])
    assert tries <= 3 * steps < 3 * tries
    assert by_name["gradient-descent"]["batch_size"] == compared.results["rows"]["train"]
    assert by_name["gradient-descent"]["runs"][0]["steps"][-1] == 3


def test_the_chosen_rate_is_the_lowest_of_two_seeds_and_its_runs_are_the_first(compared):
    for arm in compared.results["arms"]:
        found = [trial for trial in arm["trials"] if trial["second_loss"] is not None]
        best = min(found, key=lambda trial: trial["validation_loss"] + trial["second_loss"])
        assert arm["learning_rate"] == best["learning_rate"]
        judged = [run["cautious"] for run in arm["runs"][:2]]
        assert judged == [best["validation_loss"], best["second_loss"]]
        assert all(run["cautious"] != min(run["losses"]) for run in arm["runs"])  # of one row more
        assert [run["learning_rate"] for run in arm["runs"]] == [arm["learning_rate"]] * 3


@pytest.mark.parametrize(("rule", "batch_size"), [("adam", 16), ("gradient-descent", "full")])
def test_an_arm_is_the_training_that_a_user_would_get(things, rule, batch_size):
    """Same validation losses, same test metrics, bit for bit, as `train` with that rule, rate and seed."""
    options = {**SMALL, "batch_size": batch_size, "out": False}
    epochs, rate = 40, 0.03
    found = ds.compare(things, rules=rule, learning_rates=[rate], seeds=1, budget=epochs, **options)
    run = ds.train(things, optimizer=rule, learning_rate=rate, epochs=epochs, early_stopping=False, **options)
    (arm,) = found.results["arms"]
    (own,) = arm["runs"]
    assert own["steps"][1:] == run.history.column("step").to_pylist()
    assert own["losses"][1:] == run.history.column("validation_loss").to_pylist()
    assert own["metrics"] == run.summary["metrics"]["test"]


def test_the_same_search_gives_the_same_numbers(things):
    def runs():
        found = ds.compare(things, rules=["random-search"], seeds=2, budget=1, out=False, **SMALL)
        return [
            {name: value for name, value in run.items() if name != "seconds"}
            for arm in found.results["arms"]
            for run in arm["runs"]
        ]

    assert runs() == runs()


def test_rates_and_seeds_compile_nothing_again(things):
    built = []

    def listen(event, seconds, **about):
        if event.endswith("backend_compile_duration"):
            built.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    counts = []
    for seeds in (1, 4):
        built.clear()
        ds.compare(things, rules=["momentum"], seeds=seeds, budget=2, out=False, **SMALL)
        counts.append(len(built))
    assert counts[0] >= counts[1]  # three more runs, not one more program


def test_what_is_on_disk_is_what_was_returned(compared):
    again = ds.Comparison.load(compared.folder)
    assert again.results == json.loads(json.dumps(compared.results))
    assert again.verdict == compared.verdict
    assert sorted(path.name for path in compared.folder.iterdir()) == [
        "comparison.html",
        "config.json",
        "results.json",
    ]
    assert again.config["rules"] == ["gradient-descent", "adam", "random-search", "grid-search"]
    with pytest.raises(ds.RunFolderError, match="holds no comparison"):
        ds.Comparison.load(compared.folder.parent)


def test_figures_by_name(compared):
    assert compared.figures == ["loss", "time", "held-out", "rates", "profile"]
    assert compared.plot("rates").layout.xaxis.title.text.startswith("learning rate")
    assert compared.plot() == compared.plot("loss")
    with pytest.raises(KeyError, match="no figure 'nothing'"):
        compared.plot("nothing")
    assert "<table>" in compared._repr_html_()
    assert compared.verdict in repr(compared)


def test_batch_sizes(things):
    found = ds.compare(
        things, batch_sizes=[1, "16", "full"], seeds=1, budget=2, out=False, **{**SMALL, "batch_size": None}
    )
    n_rows = found.results["rows"]["train"]
    assert [arm["batch_size"] for arm in found.results["arms"]] == [1, 16, n_rows]
    assert [arm["rule"] for arm in found.results["arms"]] == ["sgd"] * 3
    steps = [arm["runs"][0]["steps"][-1] for arm in found.results["arms"]]
    assert steps == [2 * n_rows, 2 * -(-n_rows // 16), 2]
    assert {arm["runs"][0]["passes"][-1] for arm in found.results["arms"]} == {2.0}


def test_over_fitting_is_not_divergence():
    """The validation loss ends above its start, while the training loss falls to nothing."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 20)).astype(np.float32)
    y = rng.integers(0, 2, 200)  # nothing can be learned
    options = {"rules": "adam", "learning_rates": 0.02, "hidden": (64,), "dropout": 0.0}
    found = ds.compare(x, y, **options, seeds=1, budget=30, out=False, quiet=True)
    (run,) = found.results["arms"][0]["runs"]
    assert run["losses"][-1] > run["losses"][0]
    assert not run["diverged"]
    assert run["metrics"]["loss"] > 0


def test_a_rate_that_is_too_large_is_shown_as_such(things):
    found = ds.compare(things, learning_rates=[0.1, 1e6], seeds=2, budget=3, out=False, **SMALL)
    good, bad = found.results["arms"]
    assert not any(run["diverged"] for run in good["runs"])
    assert all(run["diverged"] and run["metrics"] is None for run in bad["runs"])
    assert bad["summary"]["diverged"] == 2
    assert bad["summary"]["held_out_loss"]["median"] is None
    assert "rate 1e+06 diverged from 2 of 2 seeds." in found.verdict
    assert not bad["trials"]
    json.dumps(found.results, allow_nan=False)


def test_too_small_good_and_too_large(things):
    found = ds.compare(things, learning_rates="auto", rules="sgd", seeds=2, budget=4, out=False, **SMALL)
    small, good, large = found.results["arms"]
    assert [arm["name"].split(" (")[0] for arm in (small, good, large)] == ["too small", "good", "too large"]
    assert small["learning_rate"] < good["learning_rate"] < large["learning_rate"]
    assert large["runs"][0]["diverged"]
    lowest = [min(run["losses"][0] for run in small["runs"]), good["summary"]["validation_loss"]["median"]]
    assert lowest[1] < small["summary"]["validation_loss"]["median"] <= lowest[0] * 1.5
    assert [len(arm["runs"]) for arm in (small, good, large)] == [2, 2, 2]


def test_a_budget_of_time_is_turned_into_steps(things, monkeypatch):
    monkeypatch.setattr(module.RuleContender, "seconds_per_step", lambda self: 0.01)
    found = ds.compare(things, rules=["sgd"], seeds=2, budget="500ms", out=False, **SMALL)
    (arm,) = found.results["arms"]
    assert [run["steps"][-1] for run in arm["runs"]] == [50, 50]


def interrupted_after(calls, monkeypatch):
    """Make Ctrl-C come when the comparison asks for the so-manieth time; return the list of questions."""
    asked = []

    @contextmanager
    def interrupts():
        def came():
            asked.append(1)
            return len(asked) > calls

        yield came

    monkeypatch.setattr(module, "interrupts", interrupts)
    return asked


def test_interrupted_it_keeps_what_is_finished(things, monkeypatch, tmp_path):
    asked = interrupted_after(math.inf, monkeypatch)
    whole = ds.compare(things, rules=["sgd", "adam"], seeds=3, budget=2, out=False, **SMALL)
    interrupted_after(len(asked) - 10, monkeypatch)  # in the last run or so
    part = ds.compare(things, rules=["sgd", "adam"], seeds=3, budget=2, out=tmp_path / "part", **SMALL)
    assert part.results["interrupted"]
    counts = [len(arm["runs"]) for arm in part.results["arms"]]
    assert counts in ([3, 2], [2, 2])
    for arm in part.results["arms"]:
        for run in arm["runs"]:
            match = arms(whole)[arm["name"]]["runs"][run["seed"]]
            assert run["losses"] == match["losses"]
    assert (tmp_path / "part" / "comparison.html").stat().st_size > 1_000_000


def test_interrupted_at_once_nothing_is_written(things, monkeypatch, tmp_path):
    interrupted_after(0, monkeypatch)
    found = ds.compare(things, rules=["sgd"], seeds=3, budget=2, out=tmp_path / "none", **SMALL)
    assert found.results["arms"] == []
    assert found.verdict == "Nothing was finished."
    assert not (tmp_path / "none").exists()


def test_dimensions(tmp_path):
    found = ds.compare(dimensions=[1, 2, 4, 64], seeds=2, budget=100_000, out=tmp_path / "curse", quiet=True)
    assert [row["dimensions"] for row in found.table()][::3] == [1, 2, 4, 64]
    assert found.figures == ["dimensions"]
    assert found.verdict.startswith("In 64 dimensions descent looks at ")
    assert "does not finish within the budget from most seeds" in found.verdict
    assert ds.Comparison.load(tmp_path / "curse").table() == found.table()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rules": ["adm"]}, "unknown 'adm'. Did you mean 'adam'"),
        ({"rules": ["random-serch"]}, "Did you mean 'random-search'"),
        ({"rules": []}, "names none"),
        ({"seeds": 0}, "--seeds must be a whole number of at least 1, got 0"),
        ({"seeds": True}, "--seeds"),
        ({"seeds": 2, "seed": 2**32 - 1}, "--seed 4294967295 and the 1 after it must be below 2**32"),
        ({"rules": ds.adam()}, "--rules takes names, such as gd,adam; got a Rule"),
        ({"budget": "soon"}, "--budget must be a number of epochs, such as 20, or a time"),
        ({"budget": 0}, "--budget"),
        ({"budget": "-3s"}, "--budget"),
        ({"budget": "nans"}, "--budget"),
        ({"batch_sizes": [0]}, "--batch-sizes must be whole numbers or 'full'"),
        ({"batch_sizes": []}, "--batch-sizes names none"),
        ({"batch_sizes": [8], "learning_rates": [0.1]}, "give one of them"),
        ({"batch_sizes": [8], "rules": ["sgd", "adam"]}, "compares with one update rule"),
        ({"batch_sizes": [8], "rules": "random-search"}, "compares with one update rule"),
        ({"batch_sizes": [8], "batch_size": 16}, "exclude each other"),
        ({"learning_rates": ["fast"]}, "--learning-rates must be numbers above 0"),
        ({"learning_rates": [-1.0]}, "--learning-rates"),
        ({"learning_rate": 0.1}, "compare() takes no 'learning_rate': give learning_rates"),
        ({"epochs": 3}, "give budget"),
        ({"lerning": 3}, "compare() has no argument 'lerning'"),
        ({"schedule": "plateau"}, "--schedule plateau follows what it measures"),
        ({"schedule": "auto"}, "--schedule auto follows what it measures"),
        ({"batch_size": np.int64(0)}, "--batch-size must be a whole number of at least 1 or 'full', got 0"),
        ({"validation_fraction": 0.0}, "no rows to measure"),
        ({"batch_norm": True, "batch_sizes": [1]}, "--batch-norm: a batch of 1 leaves single rows"),
        ({"target": "colur"}, "Did you mean 'colour'"),
        ({"dimensions": "4,2"}, "--dimensions takes no"),
    ],
)
def test_what_cannot_be_meant_is_refused(things, arguments, said, tmp_path):
    options = {"target": "kind", "quiet": True, "out": tmp_path / "nothing", **arguments}
    if "dimensions" in arguments:
        said = "leave out DATA"
    with pytest.raises(ds.InputError) as caught:
        ds.compare(things, **options)
    assert said in str(caught.value)
    assert not (tmp_path / "nothing").exists()


def test_a_folder_is_not_overwritten_by_mistake(things, compared, tmp_path):
    with pytest.raises(ds.RunFolderError, match="holds a comparison already; add --overwrite"):
        ds.compare(things, out=compared.folder, **SMALL)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ds.RunFolderError, match="files that are not a comparison's"):
        ds.compare(things, out=tmp_path, overwrite=True, **SMALL)


def test_regression_is_read_by_r_squared(things):
    found = ds.compare(
        things,
        rules=["adam"],
        learning_rates=[0.01],
        seeds=1,
        budget=5,
        out=False,
        **{**SMALL, "target": "price", "drop": ("kind",)},
    )
    (arm,) = found.results["arms"]
    assert found.results["metric"] == "r2"
    assert arm["summary"]["metric"]["median"] == arm["runs"][0]["metrics"]["r2"]
    assert np.isfinite(arm["runs"][0]["metrics"]["rmse"])


def test_what_is_asked_ends_before_the_seeds_are_counted():
    assert [question[-1] for question in QUESTIONS.values()] == ["?"] * 4
