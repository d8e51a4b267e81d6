"""What was measured of each workload, one JSON file each: so a sweep is resumed, and the page rewritten."""

import json
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
VERSIONS_OF = ("downslope", "jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")

Record = dict[str, Any]


def path_of(name: str, folder: Path = FOLDER) -> Path:
    """Return where a workload's record lies.

    >>> path_of("digits; inputs × 100").name
    'digits-inputs-100.json'
    """
    return folder / (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") + ".json")


def read(name: str, folder: Path = FOLDER) -> Record:
    """Return what is stored of a workload; an empty record where nothing is."""
    path = path_of(name, folder)
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    return {"workload": name, "sweep": {}, "runs": {}}


def write(record: Record, folder: Path = FOLDER) -> None:
    """Store a record, in one move: what is cut off leaves the one before."""
    folder.mkdir(exist_ok=True)
    path = path_of(record["workload"], folder)
    record["versions"] = {"python": platform.python_version()} | {
        name: metadata.version(name) for name in VERSIONS_OF
    }
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(_rounded(record), ensure_ascii=False), encoding="utf-8")
    draft.replace(path)


def _rounded(value: Any) -> Any:
    """Return the same with 5 digits of each number: more would be noise."""
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
