"""The machine's own ceiling: the rate of the largest matrix product, by the library that is best at it.

python -m benchmarks.ceiling float32     prints a JSON object: operations per second by library
"""

import json
import sys
import time
from statistics import median
from typing import Any

SIZE = 2048  # of the square matrices: three of them stay in no cache
REPETITIONS = 7


def rates(precision: str) -> dict[str, float]:
    """Return operations per second of a matrix product, by library; all with every core.

    Args:
        precision: ``"float32"`` or ``"bfloat16"``.
    """
    import jax
    import numpy as np
    import torch

    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, SIZE, SIZE), np.float32)
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    of_torch = torch.from_numpy(a).to(dtype), torch.from_numpy(b).to(dtype)
    of_jax = jax.numpy.asarray(a, precision), jax.numpy.asarray(b, precision)
    product = jax.jit(jax.numpy.matmul)
    found = {
        "PyTorch": _rate(lambda: of_torch[0] @ of_torch[1]),
        "XLA": _rate(lambda: product(*of_jax).block_until_ready()),
    }
    if precision == "float32":
        found["NumPy"] = _rate(lambda: a @ b)
    return found


def _rate(product: Any) -> float:
    """Return operations per second: 2·n³ in the median of several turns after the first."""
    seconds = []
    for _ in range(REPETITIONS + 1):
        start = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - start)
    return 2.0 * SIZE**3 / median(seconds[1:])


if __name__ == "__main__":
    print(json.dumps(rates(sys.argv[1])))
