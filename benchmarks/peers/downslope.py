"""Downslope, through the door that its users take: `downslope.train`.

Its constant schedule begins with a linear warm-up over the first 5 % of the steps, which `train` has no
option to leave out. The other systems start at the full rate.
"""

import time
from itertools import pairwise
from typing import Any

from benchmarks.workloads import Workload


def run(workload: Workload, threads: int) -> dict[str, Any]:
    x, y = workload.arrays()
    began = time.perf_counter()
    import downslope as ds

    train, rule = ds.train, ds.adam()  # the first use of a name is what loads it
    imported = time.perf_counter()

    ready = []

    def note(event: Any) -> None:
        if event.kind == "compiled":
            ready.append(time.perf_counter())

    result = train(
        x,
        y,
        task="classification",
        test_fraction=0.0,
        validation_fraction=0.0,
        hidden=workload.hidden,
        activation="relu",
        dropout=0.0,
        ramps=0,
        optimizer=rule,
        learning_rate=workload.learning_rate,
        schedule="constant",
        batch_size=workload.batch_size,
        epochs=workload.epochs,
        early_stopping=False,
        seed=workload.seed,
        out=False,
        quiet=True,
        listeners=[note],
    )
    ends = [0.0, *result.history["seconds"].to_pylist()]  # since the first step, compiling excluded
    return {
        "import_seconds": imported - began,
        "setup_seconds": ready[0] - imported,
        "epoch_seconds": [end - start for start, end in pairwise(ends)],
        "final_loss": result.summary["metrics"]["train"]["loss"],
        "threads": threads,
    }
