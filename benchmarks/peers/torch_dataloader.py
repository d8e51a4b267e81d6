"""PyTorch as its tutorials write it: a TensorDataset, a DataLoader that shuffles, Adam."""

import time
from typing import Any

from benchmarks.workloads import Workload


def run(workload: Workload, threads: int) -> dict[str, Any]:
    arrays = workload.arrays()
    began = time.perf_counter()
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from benchmarks.peers import torch_network as networks

    imported = time.perf_counter()
    torch.set_num_threads(threads)
    x, y = networks.tensors(workload, arrays)
    model = networks.network(workload)
    loader = DataLoader(TensorDataset(x, y), batch_size=workload.batch_size, shuffle=True)
    loss_of, precision = networks.loss_of(workload), networks.precision(workload)
    optimizer = networks.rule(workload, model)
    ready = time.perf_counter()

    epoch_seconds = []
    for _ in range(workload.epochs):
        start = time.perf_counter()
        for inputs, targets in loader:
            optimizer.zero_grad()
            with precision:
                loss = loss_of(model(inputs), targets)
            loss.backward()
            optimizer.step()
        epoch_seconds.append(time.perf_counter() - start)
    return {
        "import_seconds": imported - began,
        "setup_seconds": ready - imported,
        "compile_seconds": 0.0,
        "epoch_seconds": epoch_seconds,
        "final_loss": networks.training_loss(model, x, y, workload),
        "threads": torch.get_num_threads(),
    }
