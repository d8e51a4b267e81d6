"""JAX and Optax by hand, as most loops are written: a compiled step, called from Python."""

from typing import Any

from benchmarks.peers import jax_scan
from benchmarks.workloads import Workload


def run(workload: Workload, threads: int) -> dict[str, Any]:
    return jax_scan.run(workload, threads, whole_epochs=False)
