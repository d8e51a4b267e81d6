"""Where the time goes: one epoch of Downslope, operation by operation.

python -m benchmarks.profile WORKLOAD      prints JSON: operation, µs per step, calls per step

JAX's profiler names each thunk, the piece of compiled code that runs at once.
"""

import gzip
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.page import table
from benchmarks.workloads import Workload

FIRST = 2  # the epoch after which the trace begins: the earlier ones are a warm-up
SHOWN = 10
OPERATION = re.compile(r"^[a-z][\w-]*(\.[\w-]+)*$")  # anything else is the host's
HOLDS_OTHERS = re.compile(r"^(while|call|cond|conditional)(\.\d+)?$")


def profile(workload: Workload) -> list[tuple[str, float, float]]:
    """Return (kind of operation, microseconds per step, calls per step), longest first."""
    import jax

    from benchmarks.peers import downslope

    with tempfile.TemporaryDirectory() as folder:

        def note(event: Any) -> None:
            if event.kind == "epoch" and event.epoch == FIRST:
                jax.profiler.start_trace(folder)
            if event.kind == "epoch" and event.epoch == FIRST + 1:
                jax.profiler.stop_trace()

        downslope.run(workload, 0, listener=note)
        (file,) = Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    return summed_up(events, workload.steps_per_epoch)


def summed_up(events: Iterable[dict[str, Any]], steps: int) -> list[tuple[str, float, float]]:
    """Return the events of a trace by the kind of their operation: its name without a number."""
    microseconds, calls = Counter[str](), Counter[str]()
    for event in events:
        name = event.get("name", "")
        if event.get("ph") != "X" or not OPERATION.match(name) or HOLDS_OTHERS.match(name):
            continue
        kind = re.sub(r"[.\d]+(?=$|\.)", "", name)
        microseconds[kind] += event["dur"]
        calls[kind] += 1
    return [(kind, total / steps, calls[kind] / steps) for kind, total in microseconds.most_common()]


def as_table(rows: list[tuple[str, float, float]]) -> str:
    """Return the longest operations as a Markdown table, the rest in one row."""
    total = sum(row[1] for row in rows)
    shown = [(f"`{kind}`", time, 100 * time / total, calls) for kind, time, calls in rows[:SHOWN]]
    rest = rows[SHOWN:]
    if rest:
        time = sum(row[1] for row in rest)
        shown.append((f"{len(rest)} others", time, 100 * time / total, sum(row[2] for row in rest)))
    return table(("operation", "µs per step", "%", "calls per step"), shown)


if __name__ == "__main__":
    print(json.dumps(profile(Workload.from_json(sys.argv[1]))))
