"""A large table: from a CSV file on disk to a network that has seen every row once, whole processes."""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import process
from benchmarks.section import Bar, Section, Tell, machine, versions

ROWS, QUICK_ROWS, ROUNDS = 1_000_000, 50_000, 3
SETTINGS = {"hidden": [128, 128], "batch_size": 1024, "learning_rate": 0.002}
TIMES_AS_FAST = 2.0
GIGA = 1e9


def measure(quick: bool, tell: Tell) -> Section:
    """Run both in turns on one file."""
    rows, rounds = (QUICK_ROWS, 1) if quick else (ROWS, ROUNDS)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "table.csv"
        tell(f"table: writing {rows:,} rows")
        process.run([sys.executable, "-m", "benchmarks.scripts.make_table", str(table), str(rows)])
        megabytes = table.stat().st_size / 1e6
        cache = {"XDG_CACHE_HOME": name, "JAX_COMPILATION_CACHE_DIR": None}
        for turn in range(rounds):
            tell(f"table: round {turn + 1} of {rounds}, downslope")
            ours.append(process.run(process.downslope(*_words(table, folder / "run")), cache))
            tell(f"table: round {turn + 1} of {rounds}, pandas and PyTorch")
            script = ["-m", "benchmarks.scripts.table_torch", str(table), json.dumps(SETTINGS)]
            theirs.append(process.run([sys.executable, *script]))
    summary, parts = json.loads(ours[-1].output), json.loads(theirs[-1].output)
    accuracies = summary["metrics"]["test"]["accuracy"], parts["accuracy"]
    lines, seconds = [], []
    systems = ("downslope train", "pandas, PyTorch fused")
    for system, runs, accuracy in zip(systems, (ours, theirs), accuracies, strict=True):
        times = [done.seconds for done in runs]
        seconds.append(median(times))
        peak = max(done.peak_bytes for done in runs) / GIGA
        lines.append((system, seconds[-1], min(times), max(times), accuracy, peak))
    spent = ", ".join(
        f"{part} {value:.1f}" for part, value in summary["seconds"].items() if isinstance(value, int | float)
    )
    other = ", ".join(f"{part} {value:.1f}" for part, value in parts["parts"].items())
    return Section(
        "table",
        f"table: {rows:,} rows of a CSV file",
        f"Whole processes: {megabytes:.0f} MB of CSV with 30 columns (22 of numbers, 7 of text with 2 to 24 "
        "categories, a class to predict; six columns miss cells), read, encoded, one epoch of AdamW on the "
        f"hidden widths {SETTINGS['hidden']} with batches of {SETTINGS['batch_size']}, accuracy on a "
        "fifth of the "
        "rows. `downslope train` also measures the training and validation rows, and writes a run folder "
        "with a "
        f"report. Medians of {rounds} interleaved rounds, all cores; Downslope's first round compiles, "
        "the later "
        "ones find its programs in the cache.",
        ("process", "seconds", "least", "most", "test accuracy", "peak GB"),
        tuple(lines),
        (
            Bar.at_least(
                "rows per second ÷ those of pandas with PyTorch", seconds[1] / seconds[0], TIMES_AS_FAST
            ),
        ),
        (
            f"Where the seconds of the last round went, after the imports: Downslope {spent}; the script "
            f"{other}.",
        ),
        machine(),
        versions("jax", "pyarrow", "pandas", "torch"),
    )


def _words(table: Path, out: Path) -> list[str]:
    words = ["train", str(table), "--target", "label", "--epochs", "1", "--out", str(out), "--overwrite"]
    words += ["--hidden", ",".join(map(str, SETTINGS["hidden"])), "--batch-size", str(SETTINGS["batch_size"])]
    words += ["--learning-rate", str(SETTINGS["learning_rate"]), "--optimizer", "adamw"]
    words += ["--weight-decay", "0.01", "--activation", "relu", "--dropout", "0", "--ramps", "0", "--json"]
    return words
