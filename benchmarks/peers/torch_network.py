"""The network and its loss, for every file here that runs PyTorch."""

from itertools import pairwise

import torch

from benchmarks.workloads import Workload


def network(workload: Workload) -> torch.nn.Sequential:
    """Return the network with the initial weights that Downslope gives: He for relu, Glorot at the end."""
    torch.manual_seed(workload.seed)
    layers: list[torch.nn.Module] = []
    for fan_in, fan_out in pairwise((workload.inputs, *workload.hidden)):
        linear = torch.nn.Linear(fan_in, fan_out)
        torch.nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        layers += [linear, torch.nn.ReLU()]
    last = torch.nn.Linear(workload.hidden[-1], workload.classes)
    torch.nn.init.xavier_uniform_(last.weight)
    layers.append(last)
    for layer in layers:
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.zeros_(layer.bias)
    return torch.nn.Sequential(*layers)


@torch.no_grad()
def training_loss(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the mean loss over all rows."""
    return float(torch.nn.functional.cross_entropy(model(x), y))
