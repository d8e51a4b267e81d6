"""Every system in its own process, taking turns, so that a busy minute of the machine hits all alike."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.section import Tell, cores
from benchmarks.workloads import Workload

ROOT = Path(__file__).resolve().parent.parent
SECONDS_ALLOWED = 600  # for one process
TRIAL_EPOCHS = 3


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
class Turn:
    """One process of a round: who does what with how many threads."""

    peer: Peer
    workload: Workload
    threads: int


@dataclass(frozen=True)
class Measured:
    """What the rounds of one peer came to; the first epoch of each process is left out as a warm-up.

    Attributes:
        epoch_seconds: for each round, the median epoch.
        import_seconds, setup_seconds, peak_bytes: medians over the rounds.
        compile_seconds: the longest: a system that keeps what it compiled does so only once.
        final_loss: of the last round; the same in all, where the system is deterministic.
        threads: what it computed with.
    """

    peer: Peer
    epoch_seconds: list[float]
    import_seconds: float
    setup_seconds: float
    compile_seconds: float
    peak_bytes: float
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


def run_peer(turn: Turn) -> dict[str, Any]:
    """Run one peer in a process of its own and return what it measured (see `benchmarks.peers`)."""
    peer = turn.peer
    command = [sys.executable, "-m", "benchmarks.peers", peer.name, turn.workload.to_json()]
    try:
        done = subprocess.run(
            [*command, str(turn.threads)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS_ALLOWED,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{peer.label}: not done after {SECONDS_ALLOWED} s; try fewer epochs") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkError(f"{peer.label}: failed with exit code {done.returncode} ({last})")
    return json.loads(done.stdout.splitlines()[-1])


def run_round(turns: Sequence[Turn], tell: Tell, alone: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run the peers one after the other.

    Args:
        turns: who, in this order.
        tell: called with a line before each process.
        alone: words of a command through which the round is started as one process, such as a queue that
            keeps other work away meanwhile; none: the round is run from here.
    """
    if not alone:
        results = []
        for turn in turns:
            tell(turn.peer.label)
            results.append(run_peer(turn))
        return results
    tell(", ".join(turn.peer.label for turn in turns))
    content = [[vars(turn.peer), turn.workload.to_json(), turn.threads] for turn in turns]
    command = [*alone, sys.executable, "-m", "benchmarks.harness", json.dumps(content)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkError(f"a round through {alone[0]}: exit code {done.returncode} ({last})")
    return json.loads(done.stdout.splitlines()[-1])


def measure(
    peers: Sequence[Peer], workload: Workload, rounds: int, tell: Tell, alone: Sequence[str] = ()
) -> list[Measured]:
    """Run all peers in turn, `rounds` times, after a trial that finds each one's number of threads.

    Args:
        peers: in the order in which they take turns.
        workload: what each is given.
        rounds: how often, ≥ 1.
        tell: called with a line before each process.
        alone: see `run_round`.
    """
    return measure_together([(peer, workload) for peer in peers], rounds, tell, alone)


def measure_together(
    pairs: Sequence[tuple[Peer, Workload]], rounds: int, tell: Tell, alone: Sequence[str] = ()
) -> list[Measured]:
    """Run each peer on its workload in turn; see `measure`."""
    trials = [
        Turn(peer, replace(workload, epochs=min(TRIAL_EPOCHS, workload.epochs)), threads)
        for peer, workload in pairs
        if peer.tries_threads
        for threads in sorted({1, cores()})
    ]
    tried = list(zip(trials, run_round(trials, _prefixed(tell, "trial"), alone), strict=True))
    turns, longest = [], []
    for peer, workload in pairs:
        own = [
            (turn.threads, found)
            for turn, found in tried
            if turn.peer == peer and turn.workload == replace(workload, epochs=turn.workload.epochs)
        ]
        threads = min(own, key=lambda one: _steady(one[1]))[0] if own else cores()
        turns.append(Turn(peer, workload, threads))
        longest.append([found["compile_seconds"] for _, found in own])
    results: list[list[dict[str, Any]]] = [[] for _ in turns]
    for number in range(1, rounds + 1):
        found = run_round(turns, _prefixed(tell, f"round {number}/{rounds}"), alone)
        for one, result in zip(results, found, strict=True):
            one.append(result)
    return [
        _summed_up(turn.peer, one, compiling)
        for turn, one, compiling in zip(turns, results, longest, strict=True)
    ]


def _prefixed(tell: Tell, prefix: str) -> Tell:
    return lambda line: tell(f"{prefix}: {line}")


def _summed_up(peer: Peer, rounds: list[dict[str, Any]], compiling: list[float]) -> Measured:
    return Measured(
        peer,
        [_steady(one) for one in rounds],
        median(one["import_seconds"] for one in rounds),
        median(one["setup_seconds"] for one in rounds),
        max([*compiling, *(one["compile_seconds"] for one in rounds)]),
        median(one["peak_bytes"] for one in rounds),
        rounds[-1]["final_loss"],
        rounds[-1]["threads"],
    )


def _steady(result: dict[str, Any]) -> float:
    return median(result["epoch_seconds"][1:] or result["epoch_seconds"])


def _main() -> None:
    """Run a round that `run_round` has put in words, and print what it measured."""
    turns = [
        Turn(Peer(**peer), Workload.from_json(workload), threads)
        for peer, workload, threads in json.loads(sys.argv[1])
    ]
    try:
        print(json.dumps(run_round(turns, lambda line: None)))
    except BenchmarkError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
