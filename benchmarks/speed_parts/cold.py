"""The wait of somebody who types one command: the whole process, from a cold compile cache and a warm one."""

import json
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import process
from benchmarks.harness import BenchmarkError
from benchmarks.section import Bar, Section, Tell, machine, versions

ROUNDS = 5
ACCURACY = 0.97
COLD_SECONDS, WARM_SECONDS = 8.0, 4.0
GIGA = 1e9


def measure(quick: bool, tell: Tell) -> Section:
    """Run `downslope train digits` twice and the scikit-learn script once, in turns."""
    cold, warm, peer = [], [], []
    for turn in range(1 if quick else ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            cache = {"XDG_CACHE_HOME": folder, "JAX_COMPILATION_CACHE_DIR": None}  # the default, but empty
            tell(f"cold: round {turn + 1}, downslope with an empty cache")
            cold.append(_train(Path(folder), cache, "first"))
            tell(f"cold: round {turn + 1}, downslope once more")
            warm.append(_train(Path(folder), cache, "second"))
        tell(f"cold: round {turn + 1}, scikit-learn")
        done = process.run([sys.executable, "-m", "benchmarks.scripts.digits_sklearn"])
        peer.append((done, float(done.output)))
    rows, seconds = [], {}
    for name, runs in (
        ("downslope train, empty cache", cold),
        ("downslope train, second run", warm),
        ("scikit-learn script", peer),
    ):
        least = min(accuracy for _, accuracy in runs)
        if least < ACCURACY:
            raise BenchmarkError(f"cold: {name} reached {least:.4f} on the test rows, not {ACCURACY}")
        times = [done.seconds for done, _ in runs]
        seconds[name] = median(times)
        peak = max(done.peak_bytes for done, _ in runs) / GIGA
        rows.append((name, seconds[name], min(times), max(times), least, peak))
    first, second, script = seconds.values()
    return Section(
        "cold",
        "cold: from the command to a trained network",
        "Whole processes: `downslope train digits` with its defaults (it chooses the learning rate, "
        "trains until "
        "the validation loss stands still, measures, explains and writes the run folder), once with an empty "
        "compile cache and once with what that run left there; and a script with scikit-learn's "
        "StandardScaler "
        f"and MLPClassifier, which only trains and prints the accuracy. All reach {ACCURACY} on a fifth "
        "of the "
        f"rows. Medians of {len(cold)} interleaved rounds, all cores.",
        ("process", "seconds", "least", "most", "test accuracy", "peak GB"),
        tuple(rows),
        (
            Bar.at_most(
                "seconds of the second run ÷ those of the scikit-learn script", second / script, 1.0, "×"
            ),
            Bar.at_most("first run, empty cache", first, COLD_SECONDS),
            Bar.at_most("second run", second, WARM_SECONDS),
        ),
        (),
        machine(),
        versions("jax", "scikit-learn", "numpy"),
    )


def _train(folder: Path, cache: dict[str, str | None], name: str) -> tuple[process.Done, float]:
    words = ["train", "digits", "--out", str(folder / name), "--json"]
    done = process.run(process.downslope(*words), cache)
    return done, json.loads(done.output)["metrics"]["test"]["accuracy"]
