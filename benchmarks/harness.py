"""Every system in its own process, taking turns, so that a busy minute of the machine hits all alike."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.workloads import Workload

ROOT = Path(__file__).resolve().parent.parent
SECONDS_ALLOWED = 600  # for one process
TRIAL_EPOCHS = 4


class BenchmarkError(Exception):
    """The benchmark cannot be run, or a system failed; the message says what to do."""


@dataclass(frozen=True)
class Peer:
    """A system that does the work.

    Attributes:
        name: its file in `benchmarks.peers`.
        label: as printed.
        needs: the package without which it cannot run.
        tries_threads: whether to find out if one thread serves it better than all; a system that has no
            such setting uses all.
    """

    name: str
    label: str
    needs: str
    tries_threads: bool = True


@dataclass(frozen=True)
class Measured:
    """What the rounds of one peer came to; the first epoch of each process is left out as a warm-up.

    Attributes:
        epoch_seconds: for each round, the median epoch.
        import_seconds, setup_seconds: medians over the rounds.
        final_loss: of the last round; the same in all, where the system is deterministic.
        threads: what it computed with.
    """

    peer: Peer
    epoch_seconds: list[float]
    import_seconds: float
    setup_seconds: float
    final_loss: float
    threads: int

    @property
    def median(self) -> float:
        return median(self.epoch_seconds)


def check_installed(peers: Sequence[Peer]) -> None:
    """Raise BenchmarkError where a peer's package is not installed."""
    missing = sorted({peer.needs for peer in peers if importlib.util.find_spec(peer.needs) is None})
    if missing:
        raise BenchmarkError(f"{', '.join(missing)}: not installed; pip install -e '.[bench]'")


def run_peer(peer: Peer, workload: Workload, threads: int) -> dict[str, Any]:
    """Run one peer in a process of its own and return what it measured (see `benchmarks.peers`)."""
    command = [sys.executable, "-m", "benchmarks.peers", peer.name, workload.to_json(), str(threads)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_ALLOWED, check=False
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{peer.label}: not done after {SECONDS_ALLOWED} s; try fewer epochs") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkError(f"{peer.label}: failed with exit code {done.returncode} ({last})")
    return json.loads(done.stdout.splitlines()[-1])


def best_threads(peer: Peer, workload: Workload) -> int:
    """Return the number of threads, one or all, with which the peer's epochs are shorter."""
    if not peer.tries_threads or cores() == 1:
        return cores()
    trial = replace(workload, epochs=min(TRIAL_EPOCHS, workload.epochs))
    return min((1, cores()), key=lambda threads: _steady(run_peer(peer, trial, threads)))


def measure(
    peers: Sequence[Peer], workload: Workload, rounds: int, tell: Callable[[str], None]
) -> list[Measured]:
    """Run all peers in turn, `rounds` times, after a trial that finds each one's number of threads.

    Args:
        peers: in the order in which they take turns.
        workload: what each is given.
        rounds: how often, ≥ 1.
        tell: called with a line before each process.
    """
    threads = {}
    for peer in peers:
        tell(f"trial: {peer.label}")
        threads[peer] = best_threads(peer, workload)
    results: dict[Peer, list[dict[str, Any]]] = {peer: [] for peer in peers}
    for turn in range(rounds):
        for peer in peers:
            tell(f"round {turn + 1}/{rounds}: {peer.label}")
            results[peer].append(run_peer(peer, workload, threads[peer]))
    return [_summed_up(peer, results[peer]) for peer in peers]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _summed_up(peer: Peer, rounds: list[dict[str, Any]]) -> Measured:
    return Measured(
        peer,
        [_steady(one) for one in rounds],
        median(one["import_seconds"] for one in rounds),
        median(one["setup_seconds"] for one in rounds),
        rounds[-1]["final_loss"],
        rounds[-1]["threads"],
    )


def _steady(result: dict[str, Any]) -> float:
    return median(result["epoch_seconds"][1:] or result["epoch_seconds"])
