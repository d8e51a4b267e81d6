"""Run one peer in this process and print what it measured: the harness's other half."""

import json
import resource
import sys
from importlib import import_module

from benchmarks.workloads import Workload

BYTES = 1 if sys.platform == "darwin" else 1024  # in the unit of ru_maxrss


def main() -> None:
    name, workload, threads = sys.argv[1:]
    peer = import_module(f"benchmarks.peers.{name}")
    measured = peer.run(Workload.from_json(workload), int(threads))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES
    print(json.dumps({**measured, "peak_bytes": peak}))


main()
