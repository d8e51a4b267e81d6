"""Keeps the path of the weights in the run folder while a network is trained."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from downslope import pytrees
from downslope.runs.path import most_snapshots, record, rewind, stride
from downslope.training.events import Event

POINTS_AIMED_AT = 16  # on the path of a run of few epochs


class PathRecorder:
    """A listener that writes snapshots of the weights (`runs.path`): at most 32, of at most 32 MiB together.

    Args:
        folder: the run folder.
        params: the weights, for their size: of more than a million float32 weights no path is kept.
    """

    def __init__(self, folder: Path, params: Any):
        self._folder = folder
        self._most = most_snapshots(sum(leaf.nbytes for leaf in jax.tree.leaves(params)))
        self._waiting: Event | None = None  # the newest, where it was not its turn to be written

    def snapshots_per_epoch(self, epochs: int) -> int:
        """Return how often the weights are to be told: more than once per epoch where there are few."""
        return -(-POINTS_AIMED_AT // epochs) if self._most else 0

    def __call__(self, event: Event) -> None:
        """Write the weights when it is their turn, and the last of all; on a full disk, none any more."""
        if not self._most:
            return
        if event.kind == "resumed":
            rewind(self._folder, event.step)
        elif event.kind in ("rolled-back", "other-rate"):
            self._waiting = None
            rewind(self._folder, event.values["back_to"])
        elif event.kind == "weights":
            index = event.values["index"]
            self._waiting = event
            if index % stride(index, self._most) == 0:
                self._write()
        elif event.kind == "finished":
            self._write()

    def _write(self) -> None:
        if self._waiting is None:
            return
        index, params = self._waiting.values["index"], self._waiting.values["params"]
        leaves = zip(pytrees.paths(params), jax.tree.leaves(params), strict=True)
        arrays = {name: np.asarray(leaf) for name, leaf in leaves}
        try:
            record(self._folder, index, self._waiting.step, arrays, self._most)
        except OSError:  # a training need not end for want of a picture
            self._most = 0
        self._waiting = None
