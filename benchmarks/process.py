"""Whole processes: how long from start to end, and how much memory at most."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT, BenchmarkError

PER_KIBIBYTE = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


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
        command: its words.
        extra: variables of the environment to set, or with None to take away.

    Raises:
        BenchmarkError: it failed; the last line that it wrote says why.
    """
    environment = {**os.environ, **(extra or {})}
    environment = {name: value for name, value in environment.items() if value is not None}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        text, complaint = output.read().decode(), errors.read().decode(errors="replace")
    if process.returncode != 0:
        last = (complaint.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkError(f"{Path(command[0]).name}: exit code {process.returncode} ({last})")
    return Done(seconds, usage.ru_maxrss * PER_KIBIBYTE, text)


def downslope(*words: str) -> list[str]:
    """Return the command `downslope …` of the package that is being measured."""
    return [sys.executable, "-c", "from downslope.cli import main; main()", *words]
