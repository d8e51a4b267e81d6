"""scikit-learn's MLPClassifier, an epoch at a time, without its weight penalty.

Its initial weights are its own (Glorot), and so its loss differs a little from that of the others.
"""

from typing import Any

from benchmarks.peers.stages import Stages
from benchmarks.workloads import Workload


def run(workload: Workload, threads: int) -> dict[str, Any]:
    x, y = workload.arrays()
    stages = Stages()
    import numpy as np
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    stages.imported()
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
    stages.ready()
    with threadpool_limits(threads):
        stages.train(lambda: model.partial_fit(x, y, classes=classes), workload.epochs)
    return stages.record(final_loss=float(log_loss(y, model.predict_proba(x))), threads=threads)
