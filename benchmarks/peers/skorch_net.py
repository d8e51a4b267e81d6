"""skorch: a PyTorch network behind scikit-learn's interface, an epoch at a time, without its callbacks."""

from typing import Any

from benchmarks.peers.stages import Stages
from benchmarks.workloads import Workload


def run(workload: Workload, threads: int) -> dict[str, Any]:
    arrays = workload.arrays()
    stages = Stages()
    import torch
    from skorch import NeuralNet

    from benchmarks.peers import torch_network as networks

    stages.imported()
    torch.set_num_threads(threads)
    x, y = networks.tensors(workload, arrays)
    loss_of = networks.loss_of(workload)

    class Criterion(torch.nn.Module):
        def forward(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            return loss_of(outputs, targets)

    decay = {"optimizer__weight_decay": 0.01} if workload.rule == "adamw" else {}
    net = NeuralNet(
        networks.network(workload),
        Criterion,
        optimizer=torch.optim.AdamW if workload.rule == "adamw" else torch.optim.Adam,
        optimizer__fused=True,
        lr=workload.learning_rate,
        batch_size=workload.batch_size,
        max_epochs=1,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks="disable",
        verbose=0,
        **decay,
    ).initialize()
    stages.ready()
    stages.train(lambda: net.partial_fit(x, y), workload.epochs)
    final_loss = networks.training_loss(net.module_, x, y, workload)
    return stages.record(final_loss=final_loss, threads=torch.get_num_threads())
