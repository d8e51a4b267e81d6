"""How the cost of a step grows with the work in it: a straight line, or a cliff.

A step costs a part that is always there and a part that grows with the work. So the time per unit of work
may only fall as the work grows, until it stands; where it rises to more than twice its lowest value at any
smaller size there is a cliff, and a user who doubles his network waits more than he expects.
"""

import json
import sys
from collections.abc import Sequence
from statistics import median

from benchmarks import process
from benchmarks.section import Bar, Section, Tell, machine, versions

FACTORS = (1, 4, 16, 64)
CLIFF = 2.0
ROUNDS = 1  # of compiling and training every size; a second takes as long again
# what grows, what its size is at × 1, and which unit of work the time is divided by
AXES = {
    "width": ("32 units in each of two hidden layers, batch 64", "floating-point operation"),
    "batch": ("16 rows, 784-64-64-10", "row of the batch"),
    "rows": ("2,000 rows of data, 784-32-10, batch 64", "step"),
    "layers": ("one hidden layer of 64 units and the output, 64 inputs, batch 64", "layer"),
}


def per_unit(seconds: Sequence[float], units: Sequence[float]) -> list[float]:
    """Return seconds per unit of work."""
    return [time / work for time, work in zip(seconds, units, strict=True)]


def cliffs(costs: Sequence[float], limit: float = CLIFF) -> list[int]:
    """Return the places where the cost of a unit is more than `limit` times the lowest at a smaller size."""
    return [place for place in range(1, len(costs)) if costs[place] > limit * min(costs[:place])]


def measure(_quick: bool, tell: Tell) -> Section:
    """Measure each axis in a process of its own; the sizes take turns in it."""
    rows, bars, rounds = [], [], ROUNDS
    for axis, (_at_one, unit) in AXES.items():
        tell(f"growth: {axis}")
        done = process.run([sys.executable, "-m", "benchmarks.scripts.growth", axis, str(rounds)])
        found = json.loads(done.output.splitlines()[-1])
        seconds = [median(times) for times in found["seconds"]]
        costs = per_unit(seconds, found["units"])
        steep = cliffs(costs)
        for place, factor in enumerate(FACTORS):
            word = "cliff" if place in steep else ""
            of_first = costs[place] / costs[0]
            peak = done.peak_bytes / 1e9 if factor == FACTORS[-1] else None
            rows.append((axis, f"× {factor}", seconds[place] * 1e3, of_first, word, peak))
        worst = max(costs[place] / min(costs[:place]) for place in range(1, len(costs)))
        bars.append(Bar.at_most(f"{axis}: cost per {unit} ÷ the lowest at a smaller size", worst, CLIFF, "×"))
    sizes = "; ".join(f"{axis}: {at_one}" for axis, (at_one, _) in AXES.items())
    return Section(
        "growth",
        "growth: the cost of a step as the work in it grows",
        f"Milliseconds per step of `downslope.train` as one thing grows, Adam, float32, "
        "all cores, the median of the epochs after the first; compiling is left out. At × 1: "
        f"{sizes}. The cost of a unit of work (a floating-point operation, a row of the batch, a step, a "
        f"layer) may fall as the step grows, and then stand; more than {CLIFF:g} times the lowest cost at a "
        "smaller size is a cliff.",
        ("what grows", "by", "ms per step", "cost per unit ÷ that of × 1", "", "peak GB"),
        tuple(rows),
        tuple(bars),
        (),
        machine(),
        versions("jax"),
    )
