"""Whole processes: how long from start to end, and how much memory at most."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT, BenchmarkError

PER_KIBIBYTE = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


# A process starts with the peak of the one that started it, so a small one stands between.
_LAUNCH = """
import os, sys, time
began = time.perf_counter()
_, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[2], sys.argv[2:]), 0)
seconds = time.perf_counter() - began
with open(sys.argv[1], "w") as file:
    file.write(f"{seconds} {usage.ru_maxrss}")
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Done:
    """A process that has ended well.

    Attributes:
        seconds: from start to end.
        peak_bytes: resident memory, at most.
        output: what it printed.
    """

    seconds: float
    peak_bytes: int
    output: str


def run(command: Sequence[str], extra: Mapping[str, str | None] | None = None) -> Done:
    """Run a command from the root of the repository and wait for its end.

    Args:
        command: its words; the first is the path of the program.
        extra: variables of the environment to set, or with None to take away.

    Raises:
        BenchmarkError: it failed; the last line that it wrote says why.
    """
    environment = {**os.environ, **(extra or {})}
    environment = {name: value for name, value in environment.items() if value is not None}
    with tempfile.NamedTemporaryFile("r") as found:
        words = [sys.executable, "-I", "-S", "-c", _LAUNCH, found.name, *command]
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        measured = found.read().split()
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkError(f"{Path(command[0]).name}: exit code {done.returncode} ({last})")
    return Done(float(measured[0]), int(measured[1]) * PER_KIBIBYTE, done.stdout)


def downslope(*words: str) -> list[str]:
    """Return the command `downslope …` of the package that is being measured."""
    return [sys.executable, "-c", "from downslope.cli import main; main()", *words]
