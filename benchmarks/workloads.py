"""What every system is given: one set of arrays, one network, one rule, one number of steps."""

import json
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from benchmarks.arrays import images, table, text

Kind = Literal["mlp", "conv", "attention"]
VOCABULARY = 65  # characters of the text, at most


@dataclass(frozen=True)
class Workload:
    """Data, a network and a rule.

    A table is random rows whose labels or numbers a random teacher gave, not quite reliably. The columns have
    mean 0 and variance 1, so that a system that standardises its input changes nothing. They are mixtures
    of a few causes, as the pixels of a picture are. So a network cannot learn the rows by heart within a
    few epochs: its loss settles near the teacher's unreliability, whatever its initial weights, and the
    losses of different systems can be compared.

    Attributes:
        rows, inputs, classes: size of the data; with 1 class the target is a number.
        causes: random numbers per row, of which the inputs are mixtures.
        hidden: widths of the hidden layers, each followed by relu.
        batch_size, epochs: how many rows per step, how many passes.
        learning_rate: constant.
        noise: standard deviation of what is added to the teacher's scores, themselves of variance 1.
        seed: fixes data and initial weights.
        kind: a multilayer perceptron on a table; a convolutional network on images of 28 × 28; or a
            decoder-only transformer on the characters of a text.
        rule: ``"adam"``, or ``"adamw"`` with weight decay 0.01 on every weight.
        precision: ``"float32"``, or ``"bfloat16"`` for the forward and backward pass with float32 weights.
        batch_norm, dropout: between each hidden layer and its relu, and after it.
        layers, width, heads, tokens: of the transformer.
    """

    rows: int = 20_000
    inputs: int = 784
    causes: int = 16
    hidden: tuple[int, ...] = (128, 128)
    classes: int = 10
    batch_size: int = 64
    epochs: int = 6
    learning_rate: float = 1e-3
    noise: float = 0.5
    seed: int = 0
    kind: Kind = "mlp"
    rule: Literal["adam", "adamw"] = "adam"
    precision: Literal["float32", "bfloat16"] = "float32"
    batch_norm: bool = False
    dropout: float = 0.0
    layers: int = 4
    width: int = 128
    heads: int = 4
    tokens: int = 128

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.rows // self.batch_size)

    @property
    def is_regression(self) -> bool:
        return self.classes == 1

    @property
    def network(self) -> str:
        if self.kind == "conv":
            return "28×28×1, conv 32 – pool – conv 64 – pool – 128 – 10"
        if self.kind == "attention":
            return (
                f"decoder-only transformer, {self.layers} layers, width {self.width}, "
                f"{self.heads} heads, {self.tokens} tokens"
            )
        return "-".join(map(str, (self.inputs, *self.hidden, self.classes)))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets.

        A table: (rows, inputs) float32 and labels (rows,) int64, or numbers (rows,) float32.
        Images: (rows, 28, 28, 1) float32 in [0, 1] and labels (rows,) int64.
        A text: characters (rows, tokens) int64 and the character after each, (rows, tokens) int64.
        """
        random = np.random.default_rng(self.seed)
        if self.kind == "conv":
            return images(random, self.rows)
        if self.kind == "attention":
            return text(random, self.rows, self.tokens, VOCABULARY)
        return table(random, self.rows, self.inputs, self.causes, self.classes, self.noise)

    def weights(self) -> dict[str, np.ndarray]:
        """Return the initial weights, float32 by name; kernels are (in, out), or (3, 3, in, out).

        Hidden kernels are normal with variance 2 / fan in, for relu (He et al. 2015), the last is uniform
        (Glorot & Bengio 2010); those of the transformer are normal with standard deviation 0.02 (GPT-2).
        """
        random = np.random.default_rng(self.seed + 1)
        made: dict[str, np.ndarray] = {}

        def dense(name: str, *shape: int, deviation: float | None = None) -> None:
            fan_in = int(np.prod(shape[:-1]))
            spread = np.sqrt(2 / fan_in) if deviation is None else deviation
            made[f"{name}/kernel"] = (spread * random.standard_normal(shape)).astype(np.float32)
            made[f"{name}/bias"] = np.zeros(shape[-1], np.float32)

        def last(name: str, fan_in: int, fan_out: int) -> None:
            dense(name, fan_in, fan_out)
            reach = np.sqrt(6 / (fan_in + fan_out))
            made[f"{name}/kernel"] = random.uniform(-reach, reach, (fan_in, fan_out)).astype(np.float32)

        def norm(name: str, width: int) -> None:
            made[f"{name}/scale"] = np.ones(width, np.float32)
            made[f"{name}/bias"] = np.zeros(width, np.float32)

        if self.kind == "conv":
            dense("conv0", 3, 3, 1, 32)
            dense("conv1", 3, 3, 32, 64)
            dense("hidden", 7 * 7 * 64, 128)
            last("output", 128, self.classes)
        elif self.kind == "attention":
            small = {"deviation": 0.02}
            dense("characters", VOCABULARY, self.width, **small)
            dense("places", self.tokens, self.width, **small)
            del made["characters/bias"], made["places/bias"]
            for layer in range(self.layers):
                norm(f"{layer}/norm0", self.width)
                dense(f"{layer}/queries_keys_values", self.width, 3 * self.width, **small)
                dense(f"{layer}/together", self.width, self.width, **small)
                norm(f"{layer}/norm1", self.width)
                dense(f"{layer}/up", self.width, 4 * self.width, **small)
                dense(f"{layer}/down", 4 * self.width, self.width, **small)
            norm("norm", self.width)
            dense("output", self.width, VOCABULARY, **small)
        else:
            for layer, (fan_in, fan_out) in enumerate(pairwise((self.inputs, *self.hidden))):
                dense(f"{layer}/linear", fan_in, fan_out)
                if self.batch_norm:  # whose own bias is the only one that does anything
                    norm(f"{layer}/norm", fan_out)
                    del made[f"{layer}/linear/bias"]
            last("output", self.hidden[-1], self.classes)
        return made

    def operations(self) -> float:
        """Return the floating-point operations of a step's matrix products and convolutions.

        A multiplication and an addition are two. Each product is done forwards, and backwards for its
        kernel and for its input, but that of the first layer, whose input is data. Attention counts as if
        it looked at every pair of characters, as is the custom (Chowdhery et al. 2022, appendix B).
        """
        if self.kind == "conv":
            pairs = (3 * 28 - 2) ** 2, (3 * 14 - 2) ** 2  # of a pixel and a neighbour, less those outside
            first = pairs[0] * 32
            rest = pairs[1] * 32 * 64 + 7 * 7 * 64 * 128 + 128 * self.classes
            return self.batch_size * (4.0 * first + 6.0 * rest)
        if self.kind == "attention":
            dense = self.layers * 12 * self.width**2 + self.width * VOCABULARY
            pairs = self.layers * 2 * self.tokens * self.width  # queries · keys, shares · values
            return self.batch_size * self.tokens * 6.0 * (dense + pairs)
        sizes = [fan_in * fan_out for fan_in, fan_out in pairwise((self.inputs, *self.hidden, self.classes))]
        return self.batch_size * (4.0 * sizes[0] + 6.0 * sum(sizes[1:]))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Workload":
        content = json.loads(text)
        return cls(**{**content, "hidden": tuple(content["hidden"])})


SMALL = Workload()

MEDIUM = Workload(rows=12_288, hidden=(512, 512), batch_size=256, epochs=5)

# Of what `benchmarks.speed` measures, each epoch is whole batches.
WORKLOADS: dict[str, tuple[Workload, ...]] = {
    "tiny": (Workload(hidden=(32, 32), batch_size=32, epochs=5),),
    "small": (Workload(rows=19_968, epochs=5),),
    "medium": (MEDIUM, replace(MEDIUM, precision="bfloat16")),
    "norm": (
        Workload(
            rows=16_384,
            inputs=100,
            hidden=(256, 256, 256),
            classes=1,
            batch_size=256,
            epochs=6,
            rule="adamw",
            batch_norm=True,
            dropout=0.1,
        ),
    ),
    "conv": (Workload(rows=1_920, batch_size=64, epochs=4, learning_rate=3e-4, kind="conv"),),
    "attention": (Workload(rows=128, batch_size=16, epochs=4, kind="attention", rule="adamw"),),
}
