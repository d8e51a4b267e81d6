"""One update of 100 million parameters: bytes per second against a copy, in one process.

A step of AdamW has to read p, g, m and v once and to write p, m and v: 7 numbers per parameter. LAMB cannot
write the first weight of an array before it has seen the whole array, because the step is as long as a norm
says; so it has to read p, m and v a second time: 10 numbers. A copy reads one number and writes one. What a
system moves beyond that, because it makes several passes, does not count for it.
"""

import json
import sys
from statistics import median

from benchmarks import process
from benchmarks.section import Bar, Section, Tell, machine, versions

BYTES_PER_NUMBER = 4
NUMBERS_MOVED = {"AdamW": 4 + 3, "LAMB": 4 + 3 + 3}  # per parameter
SYSTEMS = (
    ("Downslope", "AdamW"),
    ("Downslope", "LAMB"),
    ("PyTorch, fused", "AdamW"),
    ("Optax, jitted", "AdamW"),
    ("Optax, jitted", "LAMB"),
)
COPIES = ("NumPy", "PyTorch", "JAX")
ROUNDS, BLOCKS, WIDTH = 7, 25, 576
SHARE_OF_COPY = 0.8
GIGA = 1e9


def shapes(width: int = WIDTH, blocks: int = BLOCKS) -> list[tuple[int, ...]]:
    """Return the arrays of so many transformer blocks: four matrices and four biases each."""
    matrices = ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))
    return [
        shape for _ in range(blocks) for rows, columns in matrices for shape in ((rows, columns), (columns,))
    ]


def bytes_moved(rule: str, n_params: int) -> int:
    """Return how many bytes one step must at least read and write."""
    return NUMBERS_MOVED[rule] * BYTES_PER_NUMBER * n_params


def measure(quick: bool, tell: Tell) -> Section:
    """Time all systems in one process, taking turns; then the memory of each in a process of its own."""
    blocks, rounds = (2, 3) if quick else (BLOCKS, ROUNDS)
    tell(f"update: all systems, {rounds} rounds")
    timed = json.loads(_script(rounds, blocks, *(" ".join(one) for one in SYSTEMS)).output.splitlines()[-1])
    peaks = {}
    for system, rule in SYSTEMS:
        tell(f"update: memory of {system}, {rule}")
        peaks[system, rule] = _script(0, blocks, f"{system} {rule}").peak_bytes
    n_params = timed["n_params"]
    of_copy = {name: median(timed["copies"][name]) for name in COPIES}
    copy = 2 * BYTES_PER_NUMBER * n_params / min(of_copy.values())  # bytes per second
    rows, shares = [], {}
    for system, rule in SYSTEMS:
        seconds = median(timed["steps"][f"{system} {rule}"])
        rate = bytes_moved(rule, n_params) / seconds
        shares[system, rule] = rate / copy
        row = (rule, system, seconds * 1e3, rate / GIGA, rate / copy, peaks[system, rule] / GIGA)
        rows.append((*row, timed["compile"][f"{system} {rule}"]))
    for name, seconds in of_copy.items():
        rate = 2 * BYTES_PER_NUMBER * n_params / seconds
        rows.append(("copy", name, seconds * 1e3, rate / GIGA, rate / copy, None, None))
    bars = [
        Bar.at_least(
            f"one {rule} step, bytes per second ÷ those of a copy", shares["Downslope", rule], SHARE_OF_COPY
        )
        for rule in NUMBERS_MOVED
    ]
    return Section(
        "update",
        f"update: one step over {n_params / 1e6:.0f} million parameters",
        f"One step of the rule on {timed['n_arrays']} float32 arrays, the matrices and biases of transformer "
        f"blocks, in place, given their gradients; medians of {rounds} interleaved rounds in one process, "
        "all "
        "cores. Counted are the bytes that must be moved: of AdamW 7 numbers per parameter (p, g, m, v "
        "read, p, "
        "m, v written), of LAMB 10 (p, m, v once more, after the norms of the whole array are known), of "
        "a copy "
        "2. Ours and Optax's steps are jitted with donated buffers, ours with the options of the "
        "training loop. "
        "Memory is the peak of a process that does two steps; the four numbers per parameter alone take "
        f"{16 * n_params / GIGA:.1f} GB.",
        ("rule", "system", "ms", "GB/s", "of a copy", "peak GB", "first step s"),
        tuple(rows),
        tuple(bars),
        (),
        machine(),
        versions("jax", "optax", "torch", "numpy"),
    )


def _script(rounds: int, blocks: int, *systems: str) -> process.Done:
    words = ["-m", "benchmarks.scripts.update", str(rounds), str(blocks), *systems]
    return process.run([sys.executable, *words])
