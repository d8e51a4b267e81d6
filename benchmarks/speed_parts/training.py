"""Training side by side: tiny, small, medium, norm, conv, attention."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite
from statistics import median

from benchmarks.harness import ROOT, BenchmarkError, Measured, Peer, check_installed, measure_together
from benchmarks.profile import as_table
from benchmarks.section import Bar, Section, Tell, cores, machine, versions
from benchmarks.workloads import WORKLOADS, Workload

DOWNSLOPE = Peer("downslope", "Downslope", "jax", tries_threads=False)
SCAN = Peer("jax_scan", "JAX + Optax by hand, `lax.scan`", "optax", tries_threads=False)
STEPS = Peer("jax_steps", "JAX + Optax by hand, step by step", "optax", tries_threads=False)
BY_HAND = (SCAN, STEPS)
FUSED = Peer("torch_fused", "PyTorch, fused rule, tensor indexing", "torch")
LOADER = Peer("torch_dataloader", "PyTorch, DataLoader", "torch")
COMPILED = Peer("torch_compiled", "PyTorch, `torch.compile`, fused rule", "torch")
KERAS = Peer("keras_jax", "Keras 3 on JAX", "keras", tries_threads=False)
SKORCH = Peer("skorch_net", "skorch", "skorch")
SKLEARN = Peer("sklearn_mlp", "scikit-learn", "sklearn")

NETWORKS = (DOWNSLOPE, SCAN, STEPS, FUSED, LOADER, COMPILED, KERAS, SKORCH)
# A convolution inside a compiled loop takes XLA's CPU code thirty times as long as outside, so nobody who
# looks at the clock scans over them.
WITHOUT_SCAN = tuple(peer for peer in NETWORKS if peer != SCAN)
LOW_PRECISION = (DOWNSLOPE, SCAN, FUSED, COMPILED, KERAS)
SYSTEMS: dict[str, tuple[tuple[Peer, ...], ...]] = {
    "tiny": ((*NETWORKS, SKLEARN),),
    "small": ((*NETWORKS, SKLEARN),),
    "medium": ((*NETWORKS, SKLEARN), LOW_PRECISION),
    "norm": (NETWORKS,),
    "conv": (WITHOUT_SCAN,),
    "attention": (NETWORKS,),
}

ROUNDS, QUICK_ROUNDS, QUICK_EPOCHS = 5, 2, 3
OVERHEAD_BOUND = ("tiny", "small", "norm")  # the others are bound by arithmetic
TIMES = 3.0  # as fast as the fastest other, where overhead decides
LOW_PRECISION_GAIN = 1.5
LOSSES_AGREE = 0.1  # relative to the median: initial weights and order are each system's own
PACKAGES = ("jax", "flax", "optax", "torch", "keras", "scikit-learn", "skorch", "numpy")

COLUMNS = (
    "system",
    "precision",
    "ms per step",
    "lowest",
    "highest",
    "÷ Downslope",
    "% of ceiling",
    "import s",
    "set-up s",
    "compile s",
    "peak MB",
    "final loss",
    "threads",
)


def measure(name: str, alone: Sequence[str], quick: bool, tell: Tell) -> Section:
    """Measure one workload of `WORKLOADS`."""
    workloads = [_shortened(one, quick) for one in WORKLOADS[name]]
    pairs = [
        (peer, workload) for workload, peers in zip(workloads, SYSTEMS[name], strict=True) for peer in peers
    ]
    check_installed([peer for peer, _ in pairs])
    rounds = QUICK_ROUNDS if quick else ROUNDS
    found = list(
        zip(
            [workload for _, workload in pairs],
            measure_together(pairs, rounds, lambda line: tell(f"{name}, {line}"), alone),
            strict=True,
        )
    )
    ceilings = {}
    if name not in OVERHEAD_BOUND:
        ceilings = {one.precision: _asked("ceiling", one.precision, alone, tell) for one in workloads}
    best = {precision: max(rates.values()) for precision, rates in ceilings.items()}
    bars = _bars(name, found)
    notes = [_ceiling_note(ceilings)] if ceilings else []
    if not all(bar.holds for bar in bars) and not quick:
        for workload in workloads:
            rows = _asked("profile", workload.to_json(), alone, tell)
            notes.append(f"Where a step of Downslope's goes, {workload.precision}:\n\n{as_table(rows)}")
    return Section(
        name,
        f"{name}: {workloads[0].network}",
        _what(workloads[0], rounds),
        COLUMNS,
        tuple(_row(workload, one, _ours(found, workload), best) for workload, one in found),
        tuple(bars),
        tuple(notes),
        machine(),
        versions(*PACKAGES),
    )


def _shortened(workload: Workload, quick: bool) -> Workload:
    return replace(workload, epochs=min(QUICK_EPOCHS, workload.epochs)) if quick else workload


def _what(workload: Workload, rounds: int) -> str:
    rule = "Adam" if workload.rule == "adam" else "AdamW, weight decay 0.01 on all weights"
    between = ", batch normalisation and dropout 0.1" if workload.batch_norm else ""
    data = {"mlp": "rows", "conv": "images", "attention": "pieces of text"}[workload.kind]
    return (
        f"{workload.rows:,} {data}{between}, batches of {workload.batch_size}, {rule}, learning rate "
        f"{workload.learning_rate:g}. {rounds} rounds in which every system takes its turn in a process of "
        f"its own, {workload.epochs} epochs of {workload.steps_per_epoch} steps each; the first epoch is "
        f"left out, and a round counts as its median epoch. Shown: the median round, the lowest and the "
        f"highest. Set-up: from the arrays to a system that is ready, without compiling; compile: the "
        f"longest of any round. Threads: {cores()}, or where a trial was quicker, 1."
    )


def _row(workload: Workload, one: Measured, ours: Measured, ceilings: dict[str, float]) -> tuple:
    steps = workload.steps_per_epoch
    rate = workload.operations() * steps / one.median
    return (
        one.peer.label,
        workload.precision,
        1000 * one.median / steps,
        1000 * min(one.epoch_seconds) / steps,
        1000 * max(one.epoch_seconds) / steps,
        one.median / ours.median,
        100 * rate / ceilings[workload.precision] if ceilings else None,
        one.import_seconds,
        one.setup_seconds,
        one.compile_seconds or None,
        int(one.peak_bytes / 1e6),
        one.final_loss,
        one.threads,
    )


Found = Sequence[tuple[Workload, Measured]]


def _ours(found: Found, workload: Workload) -> Measured:
    return next(one for other, one in found if other == workload and one.peer == DOWNSLOPE)


def _bars(name: str, found: Found) -> list[Bar]:
    """Return what the workload must show."""
    bars = []
    for workload in dict.fromkeys(workload for workload, _ in found):
        ours = _ours(found, workload)
        others = [one for other, one in found if other == workload and one is not ours]
        where = workload.precision if name == "medium" else ""
        bars += [*_against(name, where, ours, others), _same_work(where, [ours, *others])]
    if name == "medium":
        low, full = (_ours(found, workload) for workload in sorted({w for w, _ in found}, key=_is_full))
        gain = full.median / low.median
        bars.append(Bar.at_least("Downslope's float32 time ÷ its bfloat16 time", gain, LOW_PRECISION_GAIN))
    return bars


def _is_full(workload: Workload) -> bool:
    return workload.precision == "float32"


def _against(name: str, where: str, ours: Measured, others: Sequence[Measured]) -> list[Bar]:
    prefix = f"{where}: " if where else ""
    if name not in OVERHEAD_BOUND:
        fastest = min(others, key=lambda one: one.median)
        claim = f"{prefix}time of the fastest other ({fastest.peer.label}) ÷ Downslope's"
        return [Bar.at_least(claim, fastest.median / ours.median, 1.0)]
    fastest = min((one for one in others if one.peer not in BY_HAND), key=lambda one: one.median)
    scan = next(one for one in others if one.peer == SCAN)
    claim = f"{prefix}time of the fastest other but JAX by hand ({fastest.peer.label}) ÷ Downslope's"
    by_hand = f"{prefix}time of the `lax.scan` by hand ÷ Downslope's"
    return [
        Bar.at_least(claim, fastest.median / ours.median, TIMES),
        Bar.at_least(by_hand, scan.median / ours.median, 1.0),
    ]


def _same_work(where: str, all_of_them: Sequence[Measured]) -> Bar:
    """Return whether the losses after the run agree: whether all did the same work."""
    losses = [one.final_loss for one in all_of_them]
    middle = median(losses)
    away = max(abs(loss / middle - 1) for loss in losses) if all(map(isfinite, losses)) else inf
    prefix = f"{where}: " if where else ""
    return Bar.at_most(
        f"{prefix}final losses, the furthest from their median", 100 * away, 100 * LOSSES_AGREE, "%"
    )


def _ceiling_note(ceilings: dict[str, dict[str, float]]) -> str:
    """Return how fast a large matrix product is here."""
    rates = "; ".join(
        f"{precision}: " + ", ".join(f"{library} {rate / 1e9:,.0f}" for library, rate in found.items())
        for precision, found in ceilings.items()
    )
    return f"Ceiling: a matrix product 2048 × 2048 × 2048, in GFLOP/s with all cores. {rates}."


def _asked(module: str, argument: str, alone: Sequence[str], tell: Tell):
    """Run a module of the benchmark in a process of its own and return the JSON that it prints."""
    tell(f"{module}: {argument[:60]}")
    command = [*alone, sys.executable, "-m", f"benchmarks.{module}", argument]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BenchmarkError(f"{module}: failed with exit code {done.returncode} ({last})")
    return json.loads(done.stdout.splitlines()[-1])
