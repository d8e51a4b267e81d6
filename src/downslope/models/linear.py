"""The straight line: linear, logistic and softmax regression."""

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from downslope.models.layers import Columns, TableInput


class Linear(nnx.Module):
    """outputs = x W + b, from zero weights: convex, so descent needs no random start.

    Args:
        columns: what the columns of the table are.
        n_outputs: classes, or 1.
    """

    def __init__(self, columns: Columns, n_outputs: int, *, rngs: nnx.Rngs):
        self.input = TableInput(columns, rngs=rngs)
        self.output = nnx.Linear(self.input.width, n_outputs, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, inputs: Any) -> Float[Array, "batch outputs"]:
        return self.output(self.input(inputs))
