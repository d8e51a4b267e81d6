"""The networks and their loss, for every file here that runs PyTorch."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.workloads import Workload

ROWS_AT_ONCE = 1024  # when the loss is measured


def network(workload: Workload) -> nn.Module:
    """Return the network with the initial weights of the workload."""
    torch.manual_seed(workload.seed)
    weights = workload.weights()
    if workload.kind == "conv":
        return _convolutional(weights)
    return Transformer(workload, weights) if workload.kind == "attention" else _perceptron(workload, weights)


def tensors(workload: Workload, arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
    """Return inputs and targets, images as (rows, 1, 28, 28)."""
    x, y = map(torch.from_numpy, arrays)
    return (x.permute(0, 3, 1, 2).contiguous() if workload.kind == "conv" else x), y


def loss_of(workload: Workload) -> Callable[[Tensor, Tensor], Tensor]:
    """Return ``loss(outputs, targets)``, the mean over a batch."""
    if workload.is_regression:
        return lambda outputs, targets: functional.mse_loss(outputs[:, 0].float(), targets)
    if workload.kind == "attention":
        return lambda outputs, targets: functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())
    return functional.cross_entropy


def rule(workload: Workload, model: nn.Module, **options) -> torch.optim.Optimizer:
    """Return Adam or AdamW."""
    if workload.rule == "adamw":
        return torch.optim.AdamW(model.parameters(), workload.learning_rate, weight_decay=0.01, **options)
    return torch.optim.Adam(model.parameters(), workload.learning_rate, **options)


def precision(workload: Workload) -> torch.autocast:
    """Return the context of the forward pass."""
    return torch.autocast("cpu", torch.bfloat16, enabled=workload.precision == "bfloat16")


@torch.no_grad()
def training_loss(model: nn.Module, x: Tensor, y: Tensor, workload: Workload) -> float:
    """Return the mean loss over all rows."""
    model.eval()
    loss = loss_of(workload)
    parts = zip(x.split(ROWS_AT_ONCE), y.split(ROWS_AT_ONCE), strict=True)
    return sum(float(loss(model(inputs), targets)) * len(inputs) for inputs, targets in parts) / len(x)


class Transformer(nn.Module):
    """Norm before each part, GELU, no dropout (Radford et al. 2019)."""

    def __init__(self, workload: Workload, weights: dict[str, np.ndarray]):
        super().__init__()
        self.heads = workload.heads
        self.characters = nn.Parameter(torch.from_numpy(weights["characters/kernel"]))
        self.places = nn.Parameter(torch.from_numpy(weights["places/kernel"]))
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm0": _norm(weights, f"{layer}/norm0"),
                    "queries_keys_values": _linear(weights, f"{layer}/queries_keys_values"),
                    "together": _linear(weights, f"{layer}/together"),
                    "norm1": _norm(weights, f"{layer}/norm1"),
                    "up": _linear(weights, f"{layer}/up"),
                    "down": _linear(weights, f"{layer}/down"),
                }
            )
            for layer in range(workload.layers)
        )
        self.norm, self.output = _norm(weights, "norm"), _linear(weights, "output")

    def forward(self, codes: Tensor) -> Tensor:
        x = functional.embedding(codes, self.characters) + self.places  # (batch, tokens, width)
        for block in self.blocks:
            x = x + self._attention(block, block["norm0"](x))
            x = x + block["down"](functional.gelu(block["up"](block["norm1"](x)), approximate="tanh"))
        return self.output(self.norm(x))

    def _attention(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        parts = block["queries_keys_values"](x).view(batch, tokens, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # each (batch, heads, tokens, width of a head)
        seen = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return block["together"](seen.transpose(1, 2).reshape(batch, tokens, width))


def _perceptron(workload: Workload, weights: dict[str, np.ndarray]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer, _ in enumerate(pairwise((workload.inputs, *workload.hidden))):
        layers.append(_linear(weights, f"{layer}/linear"))
        if workload.batch_norm:
            layers.append(nn.BatchNorm1d(workload.hidden[layer], momentum=0.1))
        layers.append(nn.ReLU())
        if workload.dropout:
            layers.append(nn.Dropout(workload.dropout))
    return nn.Sequential(*layers, _linear(weights, "output"))


def _convolutional(weights: dict[str, np.ndarray]) -> nn.Sequential:
    # The hidden kernel's rows go by (row, column, channel), but Flatten's by (channel, row, column).
    hidden = weights["hidden/kernel"].reshape(7, 7, 64, 128).transpose(2, 0, 1, 3).reshape(-1, 128)
    return nn.Sequential(
        _convolution(weights, "conv0"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        _convolution(weights, "conv1"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        _linear({**weights, "hidden/kernel": hidden}, "hidden"),
        nn.ReLU(),
        _linear(weights, "output"),
    )


@torch.no_grad()
def _linear(weights: dict[str, np.ndarray], name: str) -> nn.Linear:
    kernel = weights[f"{name}/kernel"]
    layer = nn.Linear(*kernel.shape, bias=f"{name}/bias" in weights)
    layer.weight.copy_(torch.from_numpy(kernel.T))
    if f"{name}/bias" in weights:
        layer.bias.zero_()
    return layer


@torch.no_grad()
def _convolution(weights: dict[str, np.ndarray], name: str) -> nn.Conv2d:
    kernel = weights[f"{name}/kernel"]
    layer = nn.Conv2d(*kernel.shape[2:], kernel_size=3, padding=1)
    layer.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1)))
    assert layer.bias is not None
    layer.bias.zero_()
    return layer


def _norm(weights: dict[str, np.ndarray], name: str) -> nn.LayerNorm:
    return nn.LayerNorm(len(weights[f"{name}/scale"]), eps=1e-6)
