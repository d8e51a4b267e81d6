"""The multilayer perceptron: the network for tables."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from downslope.models.dropout import Dropout
from downslope.models.layers import Columns, TableInput, activation_by_name


class MLP(nnx.Module):
    """Hidden layers, each: linear → normalise → activate → drop; then a linear layer to the outputs.

    Args:
        columns: what the columns of the table are.
        n_outputs: classes, or 1.
        hidden: width of each hidden layer.
        activation: a name of `layers.ACTIVATIONS`; it decides the initial weights too.
        batch_norm: normalise each unit over the batch (Ioffe & Szegedy 2015).
        layer_norm: normalise each example over the units (Ba et al. 2016).
        group_norm: normalise each example over so many groups of units (Wu & He 2018); 0: not.
        dropout: share of units silenced at each training step, 0 ≤ dropout < 1 (Srivastava et al. 2014).
    """

    def __init__(
        self,
        columns: Columns,
        n_outputs: int,
        *,
        hidden: Sequence[int],
        activation: str = "silu",
        batch_norm: bool = False,
        layer_norm: bool = False,
        group_norm: int = 0,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        self.activation, initialiser = activation_by_name(activation)
        self.input = TableInput(columns, rngs=rngs)
        widths = [self.input.width, *hidden]
        # A bias that batch normalisation takes away again has no slope but rounding errors, and a rule that
        # divides by the slope's size would follow these (Ioffe & Szegedy 2015, section 3.2).
        self.linears = nnx.List(
            nnx.Linear(fan_in, fan_out, use_bias=not batch_norm, kernel_init=initialiser(), rngs=rngs)
            for fan_in, fan_out in pairwise(widths)
        )
        # Two-pass variance: the one-pass formula loses all digits when the mean is large.
        # Momentum 0.9: after a hundred steps the averages are the batch's own, not the start's.
        self.batch_norms = nnx.List(
            nnx.BatchNorm(width, momentum=0.9, use_fast_variance=False, rngs=rngs)
            for width in (hidden if batch_norm else ())
        )
        self.layer_norms = nnx.List(
            nnx.LayerNorm(width, use_fast_variance=False, rngs=rngs)
            for width in (hidden if layer_norm else ())
        )
        self.group_norms = nnx.List(
            nnx.GroupNorm(width, num_groups=group_norm, use_fast_variance=False, rngs=rngs)
            for width in (hidden if group_norm else ())
        )
        self.dropout = Dropout(dropout, rngs=rngs) if dropout else None
        self.output = nnx.Linear(
            widths[-1], n_outputs, kernel_init=nnx.initializers.glorot_uniform(), rngs=rngs
        )

    def __call__(self, inputs: Any, mask: Any = None) -> Float[Array, "batch outputs"]:
        return self.output(self.hidden_layers(inputs, mask)[-1])

    def hidden_layers(self, inputs: Any, mask: Any = None) -> list[Float[Array, "batch units"]]:
        """Return what each hidden layer answers, after the table's own inputs."""
        real = None if mask is None else _real_rows(mask)
        x = self.input(inputs)  # (batch, columns)
        answers = [x]
        for layer, linear in enumerate(self.linears):
            x = linear(x)  # (batch, hidden)
            if self.batch_norms:
                # Flax answers in the dtype of the running averages, float32, whatever it was given
                x = self.batch_norms[layer](x, mask=real).astype(x.dtype)
            if self.layer_norms:
                x = self.layer_norms[layer](x)
            if self.group_norms:
                x = self.group_norms[layer](x)
            x = self.activation(x)
            if self.dropout is not None:
                x = self.dropout(x)
            answers.append(x)
        return answers


class HiddenLayers(MLP):
    """The same network up to its last hidden layer, to look inside."""

    def __call__(self, inputs: Any, mask: Any = None) -> Any:
        return self.hidden_layers(inputs, mask)[1:]


def _real_rows(mask: Float[Array, " batch"]) -> Bool[Array, "batch 1"]:
    """Return which rows count; all of them where none does, for a mean over no rows is not a number."""
    is_real = mask > 0
    return (is_real | ~jnp.any(is_real))[:, None]
