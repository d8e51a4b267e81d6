"""Regret and time of a learning rate that nobody tuned, against an oracle that was allowed to tune.

python -m benchmarks.learning_rate [--quick] [--only NAME …] [--seeds N]

The oracle sweeps rules × learning rates × schedules on the very workload and takes what ends lowest on the
test rows; everyone else runs with what it comes with. Whatever is measured is stored at once, in results/,
and only what is missing is measured; RESULTS.md is always rewritten from all that is stored.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from benchmarks.learning_rate import records
from benchmarks.learning_rate.contenders import (
    EVERYONE,
    OURS,
    OWN,
    RIVALS,
    UNGUARDED,
    Contender,
)
from benchmarks.learning_rate.measures import best_setting, ratio, regret
from benchmarks.learning_rate.observed import observed
from benchmarks.learning_rate.oracle import RATES, RULES, SCHEDULES, SEEDS, Setting, sweep
from benchmarks.learning_rate.page import RESULTS, page
from benchmarks.learning_rate.workloads import ALL, BASE, QUICK, Workload

FRESH_SEEDS = range(10)  # of the oracle; the others run with the first of them
FEWEST_SEEDS = 3  # of a workload that is cut off, to be on the page
Tell = Callable[[str], None]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning_rate", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="small workloads, a coarse oracle, one seed; stores nothing")
    add("--only", nargs="+", metavar="NAME", help="only these workloads  [default: all]")
    add("--seeds", type=int, default=5, help="runs of everyone but the oracle, at most 10  [default: 5]")
    add("--base", action="store_true", help="only the workloads that are not perturbed")
    add("--sweep", action="store_true", help="only the sweeps, which may share the machine: nothing is timed")
    add("--ablations", action="store_true", help="with the ablations")
    add("--who", nargs="+", metavar="NAME", help="only these contenders, beside the oracle  [default: all]")
    add("--again", nargs="+", metavar="WHO", default=[], help="measure anew: sweep, oracle, or contenders")
    add("--minutes", type=float, default=float("inf"), help="begin nothing new after so long")
    options = parser.parse_args()
    console = Console(stderr=True, highlight=False)

    def tell(words: str) -> None:
        console.print(words, style="dim")

    chosen = [
        one for one in (BASE if options.base else ALL) if options.only is None or one.name in options.only
    ]
    if options.only and len(chosen) < len(options.only):
        parser.error(f"--only: choose among {'; '.join(one.name for one in ALL)}")
    if options.quick:
        return quick([one for one in BASE if one.name in (options.only or QUICK)], tell)
    if not 1 <= options.seeds <= len(FRESH_SEEDS):
        parser.error(f"--seeds must be from 1 to {len(FRESH_SEEDS)}")
    deadline = time.monotonic() + 60 * options.minutes
    usual = EVERYONE if options.ablations else (*OWN, *RIVALS)
    contenders = [one for one in EVERYONE if (one.name in options.who if options.who else one in usual)]
    if options.who and len(contenders) < len(options.who):
        parser.error(f"--who: choose among {'; '.join(one.name for one in EVERYONE)}")
    for workload in chosen:
        if workload.rows is None:
            tell(f"{workload.name}: left out, its rows are missing (../shared/data)")
            continue
        record = without(records.read(workload.name), options.again)
        for _ in steps_of(workload, record, contenders, range(options.seeds), options.sweep, tell):
            records.write(record)
            if time.monotonic() > deadline:
                break
        if time.monotonic() > deadline:
            tell("the time is over; what is missing is measured by the next call")
            break
    stored = [record for one in ALL if is_telling(record := records.read(one.name))]
    if stored:
        RESULTS.write_text(page(stored), encoding="utf-8")
        tell(f"written: {RESULTS}")
    return 0


def steps_of(
    workload: Workload,
    record: records.Record,
    contenders: Sequence[Contender],
    seeds: range,
    only_sweep: bool,
    tell: Tell,
) -> Any:
    """Measure what is missing in a record, and yield after each piece that is worth storing.

    Everyone runs with one seed before anyone runs with the next: whatever else the machine does at the
    time, it does to all of them.
    """
    for rule in RULES:
        if rule not in record["sweep"]:
            record["sweep"][rule] = swept(workload, rule, RATES, SEEDS, tell)
            yield
    if only_sweep:
        return
    best = oracle_of(record)
    warm = False
    for seed in FRESH_SEEDS:
        for contender in (best, *contenders):
            runs = record["runs"].get(contender.name, [])
            over = contender is not best and seed not in seeds
            if over or not contender.enters(workload) or seed in (run["seed"] for run in runs):
                continue
            if not warm:  # what the first run of a process pays once is nobody's
                observed(workload, Contender("warm-up", {"epochs": 1}), seed)
                warm = True
            runs = [*runs, asdict(observed(workload, contender, seed))]
            record["runs"][contender.name] = runs
            tell(f"{workload.name}, {contender.name}, seed {seed}: {runs[-1]['losses'][-1]:.4f}")
            yield


def swept(
    workload: Workload, rule: str, rates: Sequence[float], seeds: Sequence[int], tell: Tell, **options: Any
) -> list[list[Any]]:
    """Return lines [learning rate, schedule, test loss of the kept weights for each seed]."""
    settings = [Setting(*one) for one in itertools.product(rates, SCHEDULES, seeds)]
    seen = sweep(workload, rule, settings, lambda words: tell(f"{workload.name}: {words}"), **options)
    kept = {setting: losses[-1] for setting, losses in zip(settings, seen, strict=True)}
    return [
        [rate, schedule, [kept[Setting(rate, schedule, seed)] for seed in seeds]]
        for rate, schedule in itertools.product(rates, SCHEDULES)
    ]


def oracle_of(record: records.Record) -> Contender:
    """Return the best setting of a sweep, to be run like everyone else."""
    rule, rate, schedule, _ = best_setting(record["sweep"])
    options = {"optimizer": rule, "learning_rate": rate, "schedule": schedule, **UNGUARDED}
    record["setting"] = [rule, rate, schedule]
    return Contender("oracle", options, own_decay=True)


def is_telling(record: records.Record) -> bool:
    """Return whether a median of ours and one of the oracle's can be taken."""
    return all(len(record["runs"].get(name, [])) >= FEWEST_SEEDS for name in (OURS, "oracle"))


def without(record: records.Record, again: Sequence[str]) -> records.Record:
    """Return a record without what is to be measured anew; all depends on the sweep, and on the oracle."""
    if "sweep" in again:
        record["sweep"], record["runs"] = {}, {}
    record["runs"] = {name: runs for name, runs in record["runs"].items() if name not in again}
    return record


def quick(workloads: Sequence[Workload], tell: Tell) -> int:
    """Print what one seed and a coarse oracle say; nothing is stored."""
    for workload in workloads:
        record = {"sweep": {"adamw": swept(workload, "adamw", RATES[3:10:2], SEEDS[:1], tell)}}
        oracle = [asdict(observed(workload, oracle_of(record), 0))]
        for contender in (*OWN, RIVALS[0]):
            runs = [asdict(observed(workload, contender, 0))]
            print(
                f"{workload.name}, {contender.name}: {ratio(runs, oracle, 'seconds'):.2f} of the oracle's "
                f"time, regret {regret(runs, oracle):+.1%}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
