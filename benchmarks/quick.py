"""A few minutes of benchmark: one small network, Downslope beside PyTorch and scikit-learn.

python -m benchmarks.quick [--rounds N] [--epochs N]
"""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from benchmarks.harness import BenchmarkError, Measured, Peer, check_installed, measure
from benchmarks.section import cores
from benchmarks.workloads import SMALL, Workload

DOWNSLOPE = Peer("downslope", "Downslope", "jax", tries_threads=False)
PEERS = (
    DOWNSLOPE,
    Peer("torch_fused", "PyTorch, tensor indexing, fused Adam", "torch"),
    Peer("torch_dataloader", "PyTorch, DataLoader", "torch"),
    Peer("sklearn_mlp", "scikit-learn MLPClassifier", "sklearn"),
)
WANTED = 2.0  # times as fast as the fastest peer
WIDTH = 110  # of the table where there is no terminal to fit
EPOCHS_AT_LEAST = 4  # the first is a warm-up, the second may still compile small things


def main() -> int:
    options = _parser().parse_args()
    workload = replace(SMALL, epochs=options.epochs)
    console = Console(highlight=False)
    progress = Console(stderr=True, highlight=False)
    try:
        check_installed(PEERS)
        load = _load()
        results = measure(PEERS, workload, options.rounds, lambda line: progress.print(line, style="dim"))
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not console.is_terminal:
        console.width = WIDTH
    console.print(_table(results, workload, options.rounds))
    console.print(_machine(load, _load()), soft_wrap=True)
    console.print(_losses(results), soft_wrap=True)
    console.print(_verdict(results), soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick", description=__doc__)
    parser.add_argument("--rounds", type=_at_least(1), default=5, help="turns of each system  [default: 5]")
    parser.add_argument(
        "--epochs",
        type=_at_least(EPOCHS_AT_LEAST),
        default=SMALL.epochs,
        help=f"passes over the data in each turn  [default: {SMALL.epochs}]",
    )
    return parser


def _at_least(least: int):
    def whole_number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, got '{text}'")
        return int(text)

    return whole_number


def _table(results: Sequence[Measured], workload: Workload, rounds: int) -> Table:
    title = (
        f"{workload.network}, relu, {workload.rows:,} rows, batches of {workload.batch_size}, "
        f"Adam {workload.learning_rate:g}; {rounds} rounds of {workload.epochs} epochs"
    )
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    table.add_column("system")
    for name in (
        "s/epoch\nmedian",
        "\nmin–max",
        "\nratio",
        "import\ns",
        "set-up\ns",
        "final\nloss",
        "\nthreads",
    ):
        table.add_column(name, justify="right")
    ours = results[0].median
    for one in results:
        table.add_row(
            one.peer.label,
            f"{one.median:.3f}",
            f"{min(one.epoch_seconds):.3f}–{max(one.epoch_seconds):.3f}",
            f"{one.median / ours:.2f}",
            f"{one.import_seconds:.1f}",
            f"{one.setup_seconds + one.compile_seconds:.1f}",
            f"{one.final_loss:.4f}",
            str(one.threads),
        )
    return table


def _machine(before: float, after: float) -> str:
    busy = before > cores() / 2
    return (
        f"{cores()}-core CPU, load {before:.1f} before and {after:.1f} after. Ratio: seconds per epoch over "
        f"{DOWNSLOPE.label}'s. Set-up: from the arrays to the first step, compiling included. "
        f"The first epoch of each process is left out."
        + (" The machine was busy with other things: repeat this when it is quiet." if busy else "")
    )


def _losses(results: Sequence[Measured]) -> str:
    ours = results[0].final_loss
    away = ", ".join(f"{one.peer.label} {one.final_loss / ours - 1:+.1%}" for one in results[1:])
    return f"Final loss over all training rows, against {DOWNSLOPE.label}'s: {away}."


def _verdict(results: Sequence[Measured]) -> str:
    fastest = min(results[1:], key=lambda one: one.median)
    ratio = fastest.median / results[0].median
    word = "PASS" if ratio >= WANTED else "MISS"
    return (
        f"fastest peer: {fastest.peer.label}, {ratio:.2f} × {DOWNSLOPE.label}'s time per epoch; "
        f"wanted {WANTED:g} ×: {word}"
    )


def _load() -> float:
    """Return how many processes wanted a core in the last minute; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


if __name__ == "__main__":
    sys.exit(main())
