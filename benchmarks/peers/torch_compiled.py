"""PyTorch written for speed, with `torch.compile` around network and loss.

The update is PyTorch's fused one: it is one call already.
"""

from typing import Any

from benchmarks.peers import torch_fused
from benchmarks.workloads import Workload


def run(workload: Workload, threads: int) -> dict[str, Any]:
    return torch_fused.run(workload, threads, compiled=True)
