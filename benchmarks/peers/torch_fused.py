"""PyTorch written for speed: rows picked by indexing a tensor, fused Adam, no Python that can be spared."""

import time
from typing import Any

from benchmarks.workloads import Workload


def run(workload: Workload, threads: int) -> dict[str, Any]:
    arrays = workload.arrays()
    began = time.perf_counter()
    import torch
    from torch.nn.functional import cross_entropy

    from benchmarks.peers.torch_network import network, training_loss

    imported = time.perf_counter()
    torch.set_num_threads(threads)
    x, y = map(torch.from_numpy, arrays)
    model = network(workload)
    optimizer = torch.optim.Adam(model.parameters(), lr=workload.learning_rate, fused=True)
    ready = time.perf_counter()

    epoch_seconds = []
    for _ in range(workload.epochs):
        start = time.perf_counter()
        for rows in torch.randperm(workload.rows).split(workload.batch_size):
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        epoch_seconds.append(time.perf_counter() - start)
    return {
        "import_seconds": imported - began,
        "setup_seconds": ready - imported,
        "epoch_seconds": epoch_seconds,
        "final_loss": training_loss(model, x, y),
        "threads": torch.get_num_threads(),
    }
