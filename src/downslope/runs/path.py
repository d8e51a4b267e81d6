"""The path of the weights through a descent: a few snapshots, evenly spread over it, in the run folder.

path/<index>-<step>.safetensors, one file per snapshot

A descent is told its weights many times and does not know how often that will be. So every snapshot is
kept at first, and whenever there are too many, every second one goes: those stay whose index is a
multiple of 1, then 2, 4, 8, … What is kept is a function of the highest index alone, so a run that was
killed and taken up again keeps the same ones. The last of all is kept besides.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from downslope.runs import folder as runs

MOST_SNAPSHOTS = 32
FEWEST_SNAPSHOTS = 8  # a path of fewer points says little
MOST_BYTES = 32 << 20  # of all snapshots together

_NAME = re.compile(r"(\d{6,})-(\d{10,})\.safetensors")


@dataclass(frozen=True)
class Snapshot:
    """One point of a path: where its weights are on disk.

    Attributes:
        index: which of all the snapshots that the descent was told.
        step: updates done when it was taken.
        file: named arrays.
    """

    index: int
    step: int
    file: Path


def most_snapshots(n_bytes: int) -> int:
    """Return how many snapshots of so many bytes are kept: at most 32, or 0 where even 8 are over 32 MiB.

    >>> most_snapshots(50_000), most_snapshots(2_000_000), most_snapshots(10_000_000)
    (32, 16, 0)
    """
    fitting = min(MOST_SNAPSHOTS, MOST_BYTES // max(n_bytes, 1))
    return fitting if fitting >= FEWEST_SNAPSHOTS else 0


def stride(highest: int, most: int) -> int:
    """Return the power of two whose multiples from 0 to `highest` are at most `most`.

    >>> [stride(highest, 4) for highest in (0, 3, 4, 7, 8, 100)]
    [1, 1, 2, 2, 4, 32]
    """
    power = 1
    while highest // power + 1 > most:
        power *= 2
    return power


def record(folder: Path, index: int, step: int, arrays: dict[str, np.ndarray], most: int) -> None:
    """Write one snapshot and remove those that have become too many; `most` ≥ 2."""
    place = folder / "path"
    place.mkdir(exist_ok=True)
    runs.write_weights(place / f"{index:06d}-{step:010d}.safetensors", arrays)
    for snapshot in snapshots(folder):
        if snapshot.index % stride(index, most) and snapshot.index != index:
            snapshot.file.unlink()


def rewind(folder: Path, step: int) -> None:
    """Forget what came after `step`: a resumed run will come there again."""
    for snapshot in snapshots(folder):
        if snapshot.step > step:
            snapshot.file.unlink()


def snapshots(folder: Path) -> list[Snapshot]:
    """Return the snapshots of a run, in the order of its steps; none where no path was recorded."""
    place = folder / "path"
    names = [path.name for path in place.iterdir()] if place.is_dir() else []
    matches = filter(None, map(_NAME.fullmatch, names))
    return sorted(
        (Snapshot(int(match[1]), int(match[2]), place / match[0]) for match in matches),
        key=lambda snapshot: snapshot.index,
    )
