"""Run one peer in this process and print what it measured: the harness's other half."""

import json
import sys
from importlib import import_module

from benchmarks.workloads import Workload


def main() -> None:
    name, workload, threads = sys.argv[1:]
    peer = import_module(f"benchmarks.peers.{name}")
    print(json.dumps(peer.run(Workload.from_json(workload), int(threads))))


main()
