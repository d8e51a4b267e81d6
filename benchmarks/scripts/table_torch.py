"""The same table with pandas and PyTorch: python -m benchmarks.scripts.table_torch FILE SETTINGS.

Read with pandas' fastest reader, dummies and standardised numbers, one epoch of fused AdamW with the arrays
resident and indexed by tensors, accuracy on the test rows.
"""

import itertools
import json
import sys
import time

import numpy as np
import pandas as pd
import torch
from torch import nn


def main(path: str, settings: dict) -> None:
    clock = [time.perf_counter()]
    frame = pd.read_csv(path, engine="pyarrow")
    clock.append(time.perf_counter())
    x, y = encoded(frame)
    random = np.random.default_rng(0)
    order = random.permutation(len(y))
    n_test, n_validation = len(y) // 5, len(y) // 10
    test, train = order[:n_test], order[n_test + n_validation :]
    mean, std = x[train].mean(axis=0), x[train].std(axis=0)
    x = (x - mean) / np.where(std > 0, std, 1)
    clock.append(time.perf_counter())
    torch.manual_seed(0)
    widths = [x.shape[1], *settings["hidden"]]
    layers = [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    network = nn.Sequential(*layers, nn.Linear(widths[-1], 2))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings["learning_rate"], weight_decay=0.01, fused=True
    )
    inputs, labels = torch.from_numpy(x[train]), torch.from_numpy(y[train])
    for rows in torch.randperm(len(labels)).split(settings["batch_size"]):
        loss = nn.functional.cross_entropy(network(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    clock.append(time.perf_counter())
    with torch.no_grad():
        right = network(torch.from_numpy(x[test])).argmax(1) == torch.from_numpy(y[test])
    clock.append(time.perf_counter())
    parts = dict(zip(("read", "encode", "epoch", "test"), np.diff(clock).tolist(), strict=True))
    print(json.dumps({"accuracy": right.float().mean().item(), "parts": parts}))


def encoded(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    y = (frame.pop("label") == "yes").to_numpy().astype(np.int64)
    numbers = frame.select_dtypes("number")
    holes = numbers.columns[numbers.isna().any()]
    texts = pd.get_dummies(frame.select_dtypes(exclude="number"), dummy_na=True, dtype=np.float32)
    parts = [
        numbers.fillna(numbers.mean()).to_numpy(np.float32),
        numbers[holes].isna().to_numpy(np.float32),
        texts.to_numpy(np.float32),
    ]
    return np.concatenate(parts, axis=1), y


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
