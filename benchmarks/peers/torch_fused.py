"""PyTorch written for speed: rows picked by indexing a tensor, fused rule, no Python that can be spared."""

from typing import Any

from benchmarks.peers.stages import Stages
from benchmarks.workloads import Workload


def run(workload: Workload, threads: int, *, compiled: bool = False) -> dict[str, Any]:
    arrays = workload.arrays()
    stages = Stages()
    import torch

    from benchmarks.peers import torch_network as networks

    stages.imported()
    torch.set_num_threads(threads)
    x, y = networks.tensors(workload, arrays)
    model = networks.network(workload)
    optimizer = networks.rule(workload, model, fused=True)
    loss_of, precision = networks.loss_of(workload), networks.precision(workload)

    def loss_of_rows(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with precision:
            return loss_of(model(inputs), targets)

    stages.ready()
    if compiled:
        loss_of_rows = torch.compile(loss_of_rows)
        loss_of_rows(x[: workload.batch_size], y[: workload.batch_size]).backward()
        stages.compiled()

    def epoch() -> None:
        for rows in torch.randperm(workload.rows).split(workload.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss_of_rows(x[rows], y[rows]).backward()
            optimizer.step()

    stages.train(epoch, workload.epochs)
    final_loss = networks.training_loss(model, x, y, workload)
    return stages.record(final_loss=final_loss, threads=torch.get_num_threads())
