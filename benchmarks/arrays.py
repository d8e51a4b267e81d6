"""The arrays that are trained on: random tables, handwritten digits, a text."""

import gzip
from pathlib import Path

import numpy as np

# Public data sets beside the clone, where they are at hand: MNIST's test digits and plays by Shakespeare.
DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
DIGITS = DATA / "t10k-images-idx3-ubyte.gz", DATA / "t10k-labels-idx1-ubyte.gz"
PLAYS = DATA / "shakespeare.txt"


def table(
    random: np.random.Generator, rows: int, inputs: int, causes: int, classes: int, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (rows, inputs), float32, and labels (rows,), int64; with 1 class numbers, float32."""

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape, np.float32)

    hidden = normal(rows, causes)
    x = hidden @ normal(causes, inputs)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    scores = hidden @ normal(causes, classes) / np.float32(np.sqrt(causes))
    if classes == 1:
        scores = np.sin(2 * scores) + np.cos(hidden @ normal(causes, 1))
    scores += np.float32(noise) * normal(rows, classes)
    if classes == 1:
        return x, ((scores - scores.mean()) / scores.std())[:, 0]
    return x, scores.argmax(axis=1)


def images(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images (rows, 28, 28, 1), float32 in [0, 1], and labels (rows,), int64.

    They are MNIST's test digits (LeCun et al. 1998), or, where those are missing, noise over one
    random pattern per class: as many numbers, as easy to tell apart.
    """
    if all(file.exists() for file in DIGITS):
        pixels, labels = (np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8) for file in DIGITS)
        x, y = pixels[16:].reshape(-1, 28, 28, 1), labels[8:]
        chosen = random.permutation(len(x))[:rows]
        return x[chosen].astype(np.float32) / 255, y[chosen].astype(np.int64)
    patterns, y = random.random((10, 28, 28, 1)), random.integers(0, 10, rows)
    x = 0.5 * patterns[y] + 0.5 * random.random((rows, 28, 28, 1))
    return x.astype(np.float32), y


def text(
    random: np.random.Generator, rows: int, tokens: int, vocabulary: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return pieces of a text as codes (rows, tokens), int64, and at each place the code that follows.

    It is Shakespeare, or, where that is missing, random characters each of which depends on the one before.
    """
    if PLAYS.exists():
        characters = np.frombuffer(PLAYS.read_bytes()[: rows * tokens * 4], np.uint8)
        _, codes = np.unique(characters, return_inverse=True)
        codes = np.minimum(codes, vocabulary - 1)
    else:
        codes = np.zeros(rows * tokens * 4, np.int64)
        steps = random.geometric(0.3, len(codes))
        codes = np.cumsum(steps) % vocabulary
    starts = random.integers(0, len(codes) - tokens, rows)
    pieces = codes[starts[:, None] + np.arange(tokens + 1)].astype(np.int64)
    return pieces[:, :-1], pieces[:, 1:]
