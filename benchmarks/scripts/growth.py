"""One axis of growth, every size of it in turn: python -m benchmarks.scripts.growth AXIS ROUNDS."""

import itertools
import json
import sys
from collections.abc import Callable
from statistics import median

import numpy as np

import downslope as ds
from benchmarks.speed_parts.growth import FACTORS

INPUTS, CLASSES = 784, 10
MOST_FLOPS = 3e10  # per size and round, so that a large size takes as few steps as it needs
FEWEST_STEPS, MOST_STEPS = 12, 400
EPOCHS = 6


def main(axis: str, rounds: int) -> None:
    makers: dict[str, Callable[[int], tuple[Callable[[], float], float]]] = {
        "width": lambda factor: training(hidden=(32 * factor, 32 * factor), batch=64),
        "batch": lambda factor: training(hidden=(64, 64), batch=16 * factor, unit=16.0 * factor),
        "rows": lambda factor: training(hidden=(32,), batch=64, rows=2_000 * factor, unit=1.0),
        "layers": lambda factor: training(hidden=(64,) * factor, batch=64, inputs=64, unit=1.0 + factor),
    }
    made = [makers[axis](factor) for factor in FACTORS]
    seconds: list[list[float]] = [[] for _ in FACTORS]
    for _ in range(rounds):
        for place, (step_seconds, _) in enumerate(made):
            seconds[place].append(step_seconds())
    print(json.dumps({"seconds": seconds, "units": [unit for _, unit in made]}))


def training(
    hidden: tuple[int, ...],
    batch: int,
    rows: int | None = None,
    unit: float | None = None,
    inputs: int = INPUTS,
) -> tuple[Callable[[], float], float]:
    """Return what measures one step of `train` in seconds, and the work in one step."""
    widths = (inputs, *hidden, CLASSES)
    flops = 6.0 * batch * sum(a * b for a, b in itertools.pairwise(widths))
    if rows is None:
        rows = batch * int(np.clip(MOST_FLOPS / flops / EPOCHS, FEWEST_STEPS, MOST_STEPS))
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, inputs), np.float32)
    y = random.integers(CLASSES, size=rows)
    steps = -(-rows // batch)

    def step_seconds() -> float:
        run = ds.train(
            x,
            y,
            task="classification",
            test_fraction=0.0,
            validation_fraction=0.0,
            hidden=hidden,
            activation="relu",
            dropout=0.0,
            ramps=0,
            optimizer="adam",
            learning_rate=1e-4,
            schedule="constant",
            batch_size=batch,
            epochs=EPOCHS,
            early_stopping=False,
            out=False,
            quiet=True,
        )
        ends = np.diff([0.0, *run.history["seconds"].to_pylist()])
        return median(ends[1:].tolist()) / steps

    return step_seconds, flops if unit is None else unit


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
