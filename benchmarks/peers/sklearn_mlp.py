"""scikit-learn's MLPClassifier, an epoch at a time, without its weight penalty.

Its initial weights are its own (Glorot), and so its loss differs a little from that of the others.
"""

import time
from typing import Any

from benchmarks.workloads import Workload


def run(workload: Workload, threads: int) -> dict[str, Any]:
    x, y = workload.arrays()
    began = time.perf_counter()
    import numpy as np
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    imported = time.perf_counter()
    model = MLPClassifier(
        workload.hidden,
        activation="relu",
        solver="adam",
        alpha=0.0,
        batch_size=workload.batch_size,  # pyright: ignore[reportArgumentType]  (it infers "auto")
        learning_rate_init=workload.learning_rate,
        early_stopping=False,
        random_state=workload.seed,
    )
    classes = np.arange(workload.classes)
    ready = time.perf_counter()

    epoch_seconds = []
    with threadpool_limits(threads):
        for _ in range(workload.epochs):
            start = time.perf_counter()
            model.partial_fit(x, y, classes=classes)
            epoch_seconds.append(time.perf_counter() - start)
    return {
        "import_seconds": imported - began,
        "setup_seconds": ready - imported,
        "compile_seconds": 0.0,
        "epoch_seconds": epoch_seconds,
        "final_loss": float(log_loss(y, model.predict_proba(x))),
        "threads": threads,
    }
