"""PyTorch as its tutorials write it: a TensorDataset, a DataLoader that shuffles, Adam."""

from typing import Any

from benchmarks.peers.stages import Stages
from benchmarks.workloads import Workload


def run(workload: Workload, threads: int) -> dict[str, Any]:
    arrays = workload.arrays()
    stages = Stages()
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from benchmarks.peers import torch_network as networks

    stages.imported()
    torch.set_num_threads(threads)
    x, y = networks.tensors(workload, arrays)
    model = networks.network(workload)
    loader = DataLoader(TensorDataset(x, y), batch_size=workload.batch_size, shuffle=True)
    loss_of, precision = networks.loss_of(workload), networks.precision(workload)
    optimizer = networks.rule(workload, model)
    stages.ready()

    def epoch() -> None:
        for inputs, targets in loader:
            optimizer.zero_grad()
            with precision:
                loss = loss_of(model(inputs), targets)
            loss.backward()
            optimizer.step()

    stages.train(epoch, workload.epochs)
    final_loss = networks.training_loss(model, x, y, workload)
    return stages.record(final_loss=final_loss, threads=torch.get_num_threads())
