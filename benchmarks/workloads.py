"""What every system is given: one set of arrays, one network, one rule, one number of steps."""

import json
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True)
class Workload:
    """A classification of random rows whose labels a random teacher gave, not quite reliably.

    The columns have mean 0 and variance 1, so that a system that standardises its input changes nothing.
    They are mixtures of a few causes, as the pixels of a picture are. So a network cannot learn the rows by
    heart within a few epochs: its loss settles near the teacher's unreliability, whatever its initial
    weights, and the losses of different systems can be compared.

    Attributes:
        rows, inputs, classes: size of the data.
        causes: random numbers per row, of which the inputs are mixtures.
        hidden: widths of the hidden layers, each followed by relu.
        batch_size, epochs: how many rows per step, how many passes.
        learning_rate: Adam's, constant.
        noise: standard deviation of what is added to the teacher's scores, themselves of variance 1.
        seed: fixes data and initial weights.
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

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.rows // self.batch_size)

    @property
    def network(self) -> str:
        return "-".join(map(str, (self.inputs, *self.hidden, self.classes)))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs (rows, inputs), float32, and labels (rows,), int64."""
        random = np.random.default_rng(self.seed)

        def normal(*shape: int) -> np.ndarray:
            return random.standard_normal(shape, np.float32)

        causes = normal(self.rows, self.causes)
        x = causes @ normal(self.causes, self.inputs)
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        scores = causes @ normal(self.causes, self.classes) / np.float32(np.sqrt(self.causes))
        scores += np.float32(self.noise) * normal(self.rows, self.classes)
        return x, scores.argmax(axis=1)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Workload":
        content = json.loads(text)
        return cls(**{**content, "hidden": tuple(content["hidden"])})


SMALL = Workload()
