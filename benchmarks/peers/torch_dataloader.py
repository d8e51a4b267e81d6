"""PyTorch as its tutorials write it: a TensorDataset, a DataLoader that shuffles, Adam."""

import time
from typing import Any

from benchmarks.workloads import Workload


def run(workload: Workload, threads: int) -> dict[str, Any]:
    arrays = workload.arrays()
    began = time.perf_counter()
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from benchmarks.peers.torch_network import network, training_loss

    imported = time.perf_counter()
    torch.set_num_threads(threads)
    x, y = map(torch.from_numpy, arrays)
    model = network(workload)
    loader = DataLoader(TensorDataset(x, y), batch_size=workload.batch_size, shuffle=True)
    loss_of = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=workload.learning_rate)
    ready = time.perf_counter()

    epoch_seconds = []
    for _ in range(workload.epochs):
        start = time.perf_counter()
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = loss_of(model(inputs), labels)
            loss.backward()
            optimizer.step()
        epoch_seconds.append(time.perf_counter() - start)
    return {
        "import_seconds": imported - began,
        "setup_seconds": ready - imported,
        "epoch_seconds": epoch_seconds,
        "final_loss": training_loss(model, x, y),
        "threads": torch.get_num_threads(),
    }
