"""The stages that a peer goes through, each timed."""

import time
from collections.abc import Callable
from typing import Any


class Stages:
    """A stopwatch, started when it is made: right before the system is imported.

    `imported`, `ready` and `compiled` each end a stage; the last is left out where nothing is compiled.
    """

    def __init__(self):
        self._ends = [time.perf_counter()]
        self._epochs: list[float] = []

    def _end(self) -> None:
        self._ends.append(time.perf_counter())

    imported = ready = compiled = _end

    def train(self, epoch: Callable[[], object], times: int) -> None:
        """Call `epoch` so many times, and note how long each took."""
        for _ in range(times):
            start = time.perf_counter()
            epoch()
            self._epochs.append(time.perf_counter() - start)

    def record(self, *, final_loss: float, threads: int) -> dict[str, Any]:
        """Return the dictionary that a peer returns."""
        lengths = [end - start for start, end in zip(self._ends, self._ends[1:], strict=False)]
        importing, setup, compiling = [*lengths, 0.0][:3]
        return {
            "import_seconds": importing,
            "setup_seconds": setup,
            "compile_seconds": compiling,
            "epoch_seconds": self._epochs,
            "final_loss": final_loss,
            "threads": threads,
        }
