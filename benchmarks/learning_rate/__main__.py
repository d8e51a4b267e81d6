"""Regret and time of a learning rate that nobody tuned, against an oracle that was allowed to.

python -m benchmarks.learning_rate [--quick] [--seeds N]

The oracle sweeps learning rates × schedules on the very workload, over a few seeds, and takes what ends
lowest on the test rows. Every rival runs once per seed with what it comes with. Regret: by what share of
the oracle's test loss a rival's is above it. The table is written to RESULTS.md as it was measured.
"""

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console

import downslope as ds
from benchmarks.learning_rate.workloads import ALL, QUICK, Workload
from downslope.tuning import race

RESULTS = Path(__file__).parent / "RESULTS.md"
HALF_DECADES = tuple(10.0 ** (power / 2) for power in range(-9, 0))
ORACLE = [{"learning_rate": rate, "schedule": name} for rate in HALF_DECADES for name in ("cosine", "linear")]
RIVALS: dict[str, dict[str, Any]] = {
    "Downslope, nothing given": {},
    "AdamW 0.002, same schedule": {"learning_rate": 0.002, "schedule": "auto"},
    "AdamW 0.002, cosine": {"learning_rate": 0.002, "schedule": "cosine"},
    "AdamW 0.001, constant": {"learning_rate": 0.001, "schedule": "constant"},
    "NAdamW 0.00175, cosine": {"optimizer": "nadamw", "learning_rate": 0.00175, "schedule": "cosine"},
    "Schedule-Free AdamW 0.0025": {"optimizer": "schedule-free-adamw", "learning_rate": 0.0025},
    "Prodigy": {"optimizer": "prodigy", "learning_rate": 1.0},
}
CONSTANTS = ("ARMS", "FACTOR", "BRANCH", "ROUNDS", "STANDARD_ERRORS", "UNSEEN", "CATCHING_UP")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning_rate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="four workloads, one seed, a coarse oracle")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each rival  [default: 3]")
    options = parser.parse_args()
    seeds = range(1 if options.quick else options.seeds)
    oracle = ORACLE[::4] if options.quick else ORACLE
    progress = Console(stderr=True, highlight=False)
    lines = [measured(workload, oracle, seeds, progress) for workload in (QUICK if options.quick else ALL)]
    RESULTS.write_text(page(lines, len(oracle), len(seeds)), encoding="utf-8")
    progress.print(f"written: {RESULTS}")
    return 0


def measured(workload: Workload, oracle: Sequence[dict[str, Any]], seeds: range, progress: Console):
    """Return (workload, oracle's setting, its loss, {rival: (losses, seconds, diverged)})."""
    arrays = workload.load()
    progress.print(f"{workload.name}: oracle over {len(oracle)} settings", style="dim")
    swept = [
        (statistics.median(run(workload, arrays, one, seeds)[0]), place) for place, one in enumerate(oracle)
    ]
    loss, place = min(swept)
    rivals = {}
    for name, setting in RIVALS.items():
        rivals[name] = run(workload, arrays, setting, seeds)
        progress.print(f"  {name}: {statistics.median(rivals[name][0]):.4f} (oracle {loss:.4f})", style="dim")
    return workload, oracle[place], loss, rivals


def run(
    workload: Workload, arrays: Any, setting: dict[str, Any], seeds: range
) -> tuple[list[float], float, int]:
    """Return the test loss of each seed, the median of seconds, compiling included, and the divergences."""
    losses, seconds, diverged = [], [], 0
    for seed in seeds:
        began = time.monotonic()
        try:
            trained = ds.train(*arrays, **workload.options, **setting, seed=seed, out=False, quiet=True)
            losses.append(trained.summary["metrics"]["test"]["loss"])
        except ds.NonFiniteError:
            losses.append(float("inf"))
            diverged += 1
        seconds.append(time.monotonic() - began)
    return losses, statistics.median(seconds), diverged


def page(lines: Sequence[Any], settings: int, seeds: int) -> str:
    """Return RESULTS.md."""
    cores = [f"{name} = {getattr(race, name)}" for name in CONSTANTS]
    tuned = ", ".join(workload.name for workload, *_ in lines if workload.tuned_on) or "none of these"
    text = [
        "# No learning rate given, against an oracle",
        "",
        "Written by `python -m benchmarks.learning_rate`; not to be edited by hand.",
        "",
        f"Oracle: the best of {settings} settings of AdamW on the test rows, median of {seeds} seed(s). "
        "Regret: a rival's test loss above the oracle's, as a share of it; negative where it is below.",
        "",
        "| workload | oracle | its loss | " + " | ".join(RIVALS) + " |",
        "|---|---|---|" + "---|" * len(RIVALS),
    ]
    regrets: dict[str, list[float]] = {name: [] for name in RIVALS}
    for workload, setting, loss, rivals in lines:
        cells = []
        for name, (losses, seconds, _) in rivals.items():
            regrets[name].append(statistics.median(losses) / loss - 1)
            cells.append(f"{regrets[name][-1]:+.1%}, {seconds:.1f} s")
        best = f"{setting['learning_rate']:.2g} {setting['schedule']}"
        text.append(f"| {workload.name} | {best} | {loss:.4f} | " + " | ".join(cells) + " |")
    text += ["", "| rival | median regret | worst regret | divergences |", "|---|---|---|---|"]
    for name in RIVALS:
        diverged = sum(rivals[name][2] for *_, rivals in lines)
        middle, worst = statistics.median(regrets[name]), max(regrets[name])
        text.append(f"| {name} | {middle:+.1%} | {worst:+.1%} | {diverged} |")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("downslope", "jax", "numpy"))
    text += [
        "",
        f"Constants of the race: {', '.join(cores)}. Of these workloads, these were in sight when they were "
        f"chosen: {tuned}; besides iris, titanic, wine quality, California housing and MNIST's test digits.",
        "",
        f"Python {platform.python_version()}, {versions}; seeds 0 to {seeds - 1}.",
        "",
    ]
    return "\n".join(text)


if __name__ == "__main__":
    sys.exit(main())
