"""PyTorch written for speed: rows picked by indexing a tensor, fused rule, no Python that can be spared."""

import time
from typing import Any

from benchmarks.workloads import Workload


def run(workload: Workload, threads: int, *, compiled: bool = False) -> dict[str, Any]:
    arrays = workload.arrays()
    began = time.perf_counter()
    import torch

    from benchmarks.peers import torch_network as networks

    imported = time.perf_counter()
    torch.set_num_threads(threads)
    x, y = networks.tensors(workload, arrays)
    model = networks.network(workload)
    optimizer = networks.rule(workload, model, fused=True)
    loss_of, precision = networks.loss_of(workload), networks.precision(workload)

    def loss_of_rows(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with precision:
            return loss_of(model(inputs), targets)

    ready = time.perf_counter()
    compile_seconds = 0.0
    if compiled:
        loss_of_rows = torch.compile(loss_of_rows)
        loss_of_rows(x[: workload.batch_size], y[: workload.batch_size]).backward()
        compile_seconds = time.perf_counter() - ready

    epoch_seconds = []
    for _ in range(workload.epochs):
        start = time.perf_counter()
        for rows in torch.randperm(workload.rows).split(workload.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss_of_rows(x[rows], y[rows]).backward()
            optimizer.step()
        epoch_seconds.append(time.perf_counter() - start)
    return {
        "import_seconds": imported - began,
        "setup_seconds": ready - imported,
        "compile_seconds": compile_seconds,
        "epoch_seconds": epoch_seconds,
        "final_loss": networks.training_loss(model, x, y, workload),
        "threads": torch.get_num_threads(),
    }
