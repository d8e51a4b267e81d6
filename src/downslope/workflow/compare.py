"""Arms side by side: what differs is the rule, the batch size or the learning rate, and nothing else.

options → job → ground → a contender for each way to train → its rate → a run from every seed → results
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from downslope.data.source import dataset_name
from downslope.errors import OptionError
from downslope.models.functional import is_network
from downslope.study import compare as study, dimensions as bowls, rates
from downslope.study.compare import Arm, ArmRun
from downslope.training.interrupt import interrupts
from downslope.workflow import compare_words as words, defaults
from downslope.workflow.compare_request import (
    SEARCHES,
    Budget,
    Entry,
    kind_of,
    listed,
    parse_budget,
    refuse_others,
    shared_options,
    wanted_arms,
)
from downslope.workflow.comparison import Comparison, free_folder
from downslope.workflow.contender import (
    Contender,
    Course,
    Ground,
    RuleContender,
    SearchContender,
    Stop,
    course_of,
)
from downslope.workflow.job import Job, batch_size_for, new_job
from downslope.workflow.options import TrainOptions
from downslope.workflow.rule_options import base_rule, wrapped

STEPS_AIMED_AT, FEWEST_EPOCHS, MOST_EPOCHS = 1_500, 5, 30  # where no budget is given
TOO_SMALL = 100.0  # how many times smaller than the good rate "too small" is
METRIC = {"classification": "accuracy", "regression": "r2"}


def compare(
    data: Any = "digits",
    y: Any = None,
    labels: Any = None,
    *,
    rules: Sequence[str] | str | None = None,
    seeds: int = 5,
    budget: int | str | None = None,
    batch_sizes: Sequence[int | str] | None = None,
    learning_rates: Sequence[float] | str | None = None,
    dimensions: Sequence[int] | str | None = None,
    out: str | Path | bool | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    console: Console | None = None,
    **options: Any,
) -> Comparison:
    """Train the same network in several ways and say which came lowest, and which came down fastest.

    All arms share the split, the encoding and, seed by seed, the initial weights and the order of the
    rows. Each arm's learning rate is chosen by whole runs from the first two seeds (`study.rates`).

    Args:
        data: as in `train`.
        y: as in `train`.
        labels: as in `train`.
        rules: names of update rules, ``"gd"`` among them, and ``"random-search"`` or ``"grid-search"``;
            six of them if None. With `batch_sizes` or `learning_rates`, the one rule to do it with.
        seeds: from how many seeds each arm is run, ≥ 1.
        budget: the same for all runs: passes over the rows, or training time such as ``"30s"``, in which
            each arm does as many steps as were measured to fit; None: by the number of rows. With
            `dimensions`, how many losses a search may look at.
        batch_sizes: compare these instead, ``"full"`` among them.
        learning_rates: compare these instead; ``"auto"``: too small, good and too large.
        dimensions: instead of training, count what descent, random search and grid search need in so many
            dimensions, see `study.dimensions`; a list, or text such as ``"1,2,4,…,1024"``.
        out: the folder; None: ``comparisons/<data>-<n>``; False: nothing is written.
        overwrite: replace the comparison that `out` holds.
        quiet: print nothing.
        console: where to print instead of standard output.
        options: the fields of `TrainOptions` that are the same for all: ``target``, ``hidden``,
            ``batch_size``, ``seed`` (the first of the seeds), …

    Returns:
        A `Comparison` with ``.verdict``, ``.table()``, ``.plot(…)`` and ``.results``. Interrupted, it holds
        what was finished.

    Raises:
        InputError: something is wrong with the data or an option; nothing was written.

    Example:
        >>> found = compare("iris", rules=["sgd", "adam"], seeds=1, budget=1, out=False, quiet=True)
        >>> [row["name"] for row in found.table()] in (["sgd", "adam"], ["adam", "sgd"])
        True
    """
    console = Console(highlight=False) if console is None else console
    console.quiet = console.quiet or quiet
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise OptionError(f"--seeds must be a whole number of at least 1, got {seeds!r}")
    if is_network(data):
        options, data, y = {**options, "model": data}, ("digits" if y is None else y), labels
    elif labels is not None:
        raise OptionError("compare(network, data, labels) takes a network first; or pass it as model=")
    if dimensions is not None:
        others = {"rules": rules, "batch_sizes": batch_sizes, "learning_rates": learning_rates, "y": y}
        if not isinstance(data, str) or data != "digits":
            raise OptionError("--dimensions looks at bowls of its own making; leave out DATA")
        refuse_others("--dimensions", {**others, **{k: v for k, v in options.items() if k != "seed"}})
        return _compare_dimensions(dimensions, seeds, budget, out, overwrite, console, options.get("seed", 0))
    if batch_sizes is not None and learning_rates is not None:
        raise OptionError("--batch-sizes and --learning-rates are two comparisons; give one of them")
    chosen = shared_options(options)
    _check_seeds(chosen.seed, seeds)
    wanted = wanted_arms(rules, batch_sizes, learning_rates, chosen)
    limit = parse_budget(budget)
    folder = free_folder(out, dataset_name(data), overwrite)
    began = time.monotonic()
    job = new_job(data, y, False, False, replace(chosen, optimizer=wanted[0].trained_by))
    if "validation" not in job.prepared.rows:
        raise OptionError(
            "--validation-fraction 0 leaves no rows to measure the runs on; use for example 0.1"
        )
    bout = _Bout(job, chosen, wanted, limit, seeds, console)
    interrupted = bout.run()
    results = bout.results(interrupted, time.monotonic() - began)
    config = {
        **job.config,
        "compared": bout.kind,
        "rules": [entry.rule for entry in wanted],
        "seeds": bout.seeds,
        "budget": limit.described,
        **dict.fromkeys(("optimizer", "learning_rate", "schedule", "batch_size", "epochs"), "by arm"),
    }
    return _finish(Comparison(results, config), folder, console)


class _Bout:
    """One comparison: its contenders, the arms as they grow, and how far it has come."""

    def __init__(
        self,
        job: Job,
        options: TrainOptions,
        wanted: list[Entry],
        budget: Budget,
        n_seeds: int,
        console: Console,
    ):
        self.job, self.options, self.wanted, self.budget = job, options, wanted, budget
        self.seeds = list(range(options.seed, options.seed + n_seeds))
        self.console, self.ground = console, Ground(job)
        self.kind = kind_of(wanted)
        self.metric = METRIC[self.ground.encoding.task]
        self.arms: list[Arm] = []
        self._contenders: dict[tuple[str, int], Contender] = {}
        self._courses: dict[int, Course] = {}

    def run(self) -> bool:
        """Run everything; return whether it was interrupted. `arms` holds what is finished."""
        words.announce(self.job, self.kind, self.seeds, self.budget.described, self.console)
        with interrupts() as interrupted, words.Display(self.console) as display:
            todo = self._prepare(display, interrupted)
            if todo is None:
                return True
            display.promise(todo, self._count())
            try:
                for entry, contender in self._pairs():
                    self._open(entry, contender, display, interrupted)
                for seed in self.seeds[1:]:
                    for arm in self.arms:
                        if seed in {run.seed for run in arm.runs}:  # its rate was chosen by that run
                            continue
                        contender = self._contender(arm.rule, arm.batch_size)
                        arm.runs.append(
                            self._train(contender, seed, arm.learning_rate, arm.name, display, interrupted)
                        )
            except _InterruptedError:
                return True
        return False

    def results(self, interrupted: bool, seconds: float) -> dict[str, Any]:
        """Return the content of results.json."""
        arms = [arm for arm in self.arms if arm.runs]
        common = {
            "compared": self.kind,
            "data": self.job.prepared.name,
            "target": self.job.prepared.encoding.target,
            "task": self.job.prepared.encoding.task,
            "model": self.job.described,
            "rows": {name: len(rows.weights) for name, rows in self.job.prepared.rows.items()},
            "measured_on": self.ground.held_out,
            "metric": self.metric,
            "loss": self.job.prepared.loss.name,
            "seeds": self.seeds,
            "budget": self.budget.described,
            "interrupted": interrupted,
            "seconds": seconds,
            "devices": self.job.plan.devices.names(),
        }
        if not arms:
            return {**common, "arms": [], "ranking": [], "verdict": "Nothing was finished."}
        return {
            **common,
            "start_loss": study.start_loss(arms),
            "target_loss": study.target_loss(arms),
            "tau": study.TAU,
            "verdict": study.verdict(arms),
            "ranking": study.ranking(arms),
            "profile": study.profile(arms),
            "arms": [study.arm_json(arm, arms, self.metric) for arm in arms],
        }

    def _pairs(self) -> Iterator[tuple[Entry, Contender]]:
        for entry in self.wanted:
            yield entry, self._contender(entry.rule, self._batch_size(entry))

    def _batch_size(self, entry: Entry) -> int:
        options = replace(self.options, optimizer=entry.trained_by, batch_size=entry.batch_size)
        rule = wrapped(base_rule(options), options)
        return batch_size_for(options, rule, self.ground.n_rows)

    def _contender(self, rule_name: str, batch_size: int) -> Contender:
        """Return what trains by a rule in such batches; made once."""
        if (rule_name, batch_size) not in self._contenders:
            if rule_name in SEARCHES:
                contender: Contender = SearchContender(self.ground, rule_name, batch_size)
            else:
                options = replace(self.options, optimizer=rule_name)
                rule = wrapped(base_rule(options), options)
                contender = RuleContender(
                    self.ground, rule, self.options.schedule or rule.schedule, batch_size
                )
            self._contenders[rule_name, batch_size] = contender
        return self._contenders[rule_name, batch_size]

    def _prepare(self, display: "words.Display", stop: Stop) -> float | None:
        """Compile and time every contender; return how many seconds all runs should take."""
        todo, paces = 0.0, {}
        for entry, contender in self._pairs():
            if stop():
                return None
            if id(contender) not in self._courses:
                display.compiling(entry.name or entry.rule)
                paces[id(contender)] = contender.seconds_per_step()
                self._courses[id(contender)] = self._course(contender, paces[id(contender)])
            steps = self._runs_of(entry) * self._courses[id(contender)].steps
            todo += steps * paces[id(contender)]
        return todo

    def _course(self, contender: Contender, pace: float) -> Course:
        steps_per_epoch = -(-self.ground.n_rows // contender.batch_size)
        if self.budget.seconds is not None:
            return course_of(max(1, round(self.budget.seconds / pace)))
        epochs = self.budget.epochs
        if epochs is None:
            usual = -(-self.ground.n_rows // defaults.batch_size(self.ground.n_rows))
            epochs = max(FEWEST_EPOCHS, min(MOST_EPOCHS, round(STEPS_AIMED_AT / usual)))
        return course_of(epochs * steps_per_epoch, epochs)

    def _runs_of(self, entry: Entry) -> int:
        n_seeds = len(self.seeds)
        if entry.learning_rate is not None:
            return n_seeds
        confirmed = rates.CONFIRMED if n_seeds > 1 else 0
        return 2 * rates.SIDE + 1 + confirmed + max(0, n_seeds - 2)

    def _count(self) -> int:
        return sum(map(self._runs_of, self.wanted))

    def _open(self, entry: Entry, contender: Contender, display: Any, stop: Stop) -> None:
        """Choose the arm's rate, which gives its run from the first seed; or take the rate as given."""
        name = entry.name or entry.rule
        note = contender.note(self._courses[id(contender)].steps)

        def try_rate(rate: float) -> ArmRun:
            return self._train(contender, self.seeds[0], rate, f"{name}, choosing its rate", display, stop)

        def try_again(rate: float) -> ArmRun:
            return self._train(contender, self.seeds[1], rate, f"{name}, choosing its rate", display, stop)

        if entry.learning_rate is not None:
            runs = [self._train(contender, self.seeds[0], entry.learning_rate, name, display, stop)]
            tried: list[Any] = []
        else:
            confirm = try_again if len(self.seeds) > 1 else None
            choice = rates.choose_rate(try_rate, contender.default_rate, confirm)
            assert choice is not None
            runs, tried = choice.runs, choice.trials
            display.chose(name, choice.rate, runs)
        arm = Arm(name, entry.rule, contender.batch_size, runs[0].learning_rate, tried, note, list(runs))
        if self.kind == "auto-rates":
            self._surround(arm, contender, try_rate, display, stop)
        else:
            self.arms.append(arm)

    def _surround(self, good: Arm, contender: Contender, try_rate: Any, display: Any, stop: Stop) -> None:
        """Put a rate that is too small and one that is too large beside the good one."""
        large = rates.too_large(try_rate, good.trials, good.learning_rate)
        assert large is not None
        small = float(f"{good.learning_rate / TOO_SMALL:.3g}")
        for title, rate in (("too small", small), ("good", good.learning_rate), ("too large", large)):
            name = f"{title} ({rate:g})"
            runs = list(good.runs)
            if title != "good":
                runs = [self._train(contender, self.seeds[0], rate, name, display, stop)]
            trials = good.trials if title == "good" else []
            self.arms.append(Arm(name, good.rule, good.batch_size, rate, trials, good.note, runs))

    def _train(
        self, contender: Contender, seed: int, rate: float, what: str, display: Any, stop: Stop
    ) -> ArmRun:
        display.running(what, seed, rate)
        run = contender.run(seed, rate, self._courses[id(contender)], stop)
        if run is None:
            raise _InterruptedError
        display.ran()
        return run


class _InterruptedError(Exception):
    """Ctrl-C came in the middle of a run."""


def _check_seeds(first: int, seeds: int) -> None:
    if first + seeds > 2**32:
        raise OptionError(f"--seed {first} and the {seeds - 1} after it must be below 2**32")


def _compare_dimensions(
    dimensions: Any, seeds: int, budget: Any, out: Any, overwrite: bool, console: Console, first: Any
) -> Comparison:
    wanted = bowls.dimensions_from(",".join(map(str, listed(dimensions))))
    losses = str(bowls.DEFAULT_BUDGET if budget is None else budget).replace(",", "").replace("_", "")
    if not losses.isdecimal() or not 1 <= int(losses) <= 2**30:
        raise OptionError(
            f"--budget with --dimensions is how many losses a search may look at, from 1 to {2**30:,}; "
            f"got '{budget}'"
        )
    start = TrainOptions(seed=first).seed
    _check_seeds(start, seeds)
    folder = free_folder(out, "dimensions", overwrite)
    began, found = time.monotonic(), []
    numbers = list(range(start, start + seeds))
    words.announce_dimensions(wanted, int(losses), numbers, console)
    with interrupts() as interrupted, words.Display(console) as display:
        display.promise(None, len(wanted))
        for dimension in wanted:
            if interrupted():
                break
            display.running(f"{dimension:,} dimensions")
            found += bowls.measure(dimension, numbers, int(losses), interrupted)
            display.ran()
        stopped = interrupted()
    results = {
        "compared": "dimensions",
        "seeds": numbers,
        "loss_budget": int(losses),
        "loss_to_reach": bowls.TARGET,
        "interrupted": stopped,
        "seconds": time.monotonic() - began,
        "rows": [{field.name: getattr(row, field.name) for field in fields(bowls.Reached)} for row in found],
    }
    config = {"compared": "dimensions", "dimensions": wanted, "seeds": numbers, "budget": int(losses)}
    return _finish(Comparison(results, config), folder, console)


def _finish(comparison: Comparison, folder: Path | None, console: Console) -> Comparison:
    finished = comparison.results["rows" if comparison.results["compared"] == "dimensions" else "arms"]
    if folder is not None and finished:
        comparison = comparison.save(folder)
    words.conclude(comparison, console)
    return comparison
