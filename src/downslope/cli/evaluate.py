"""`downslope evaluate`: how good a trained network is on other rows."""

import json
import math
import sys
from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, such as runs/digits-1.")],
    data: Annotated[str, typer.Argument(metavar="DATA", help="File that holds the target's column too.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a trained network on DATA."""
    from downslope.workflow.trained import load
    from downslope.workflow.words import COLUMN_LABEL, as_number

    trained = load(run)
    table = trained.read(data)
    metrics = trained.evaluate(table)
    for line in [*trained.unfamiliar(table), *_known_rows(run, data)]:
        print(f"note: {line}", file=sys.stderr)
    if as_json:
        finite = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        print(json.dumps({"rows": table.n_rows, **finite}, indent=2))
        return
    print(f"rows      {table.n_rows:,}")
    for name, value in metrics.items():
        print(f"{COLUMN_LABEL[name]:<9} {as_number(value)}")


def _known_rows(run: Path, data: str) -> list[str]:
    """Return what should be said of the very data that the run was trained on: it measures little."""
    from downslope.data.source import fingerprint
    from downslope.runs.folder import read_json
    from downslope.workflow.words import COLUMN_LABEL, as_number

    if fingerprint(data) != read_json(run / "config.json").get("data_fingerprint"):
        return []
    metrics = read_json(run / "summary.json")["metrics"]
    for split in ("test", "validation"):
        if split in metrics:
            name = "accuracy" if "accuracy" in metrics[split] else "r2"
            value = f"{COLUMN_LABEL[name]} was {as_number(metrics[split][name])}"
            return [f"{data}: the run was trained on most of these rows; on its {split} rows {value}"]
    return [f"{data}: the run was trained on these rows"]
