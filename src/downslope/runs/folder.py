"""A run folder: plain files, each written whole or not at all, none of which can run code.

runs/<name>/
config.json        every option, the resolved ones too
summary.json       the result
history.parquet    one row per epoch
layers.parquet     one row per epoch and layer: gradient norm, update ratio
events.jsonl       what happened, one JSON object per line
encoding.json      how columns became arrays
evaluation.json    what the report draws of the test rows
model.safetensors  weights and model state;  model.json names the architecture
path/              the weights on the way; landscape.json, sharpness.json where they were computed
checkpoints/       Orbax
report.html
"""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from downslope.errors import RunFolderError, did_you_mean

FILES = {
    "config.json",
    "summary.json",
    "history.parquet",
    "layers.parquet",
    "events.jsonl",
    "encoding.json",
    "evaluation.json",
    "model.safetensors",
    "model.json",
    "checkpoints",
    "path",
    "landscape.json",
    "line.json",
    "sharpness.json",
    "report.html",
}

HISTORY_SCHEMA = pa.schema(
    [
        ("epoch", pa.int64()),
        ("step", pa.int64()),
        ("train_loss", pa.float64()),
        ("validation_loss", pa.float64()),
        ("validation_metric", pa.float64()),
        ("learning_rate", pa.float64()),
        ("weight_decay", pa.float64()),
        ("gradient_norm", pa.float64()),
        ("sharpness", pa.float64()),
        ("seconds", pa.float64()),
        ("examples_per_second", pa.float64()),
    ]
)

# gradient_norm: mean of ‖gradient‖₂ of the layer, over every 16th step of the epoch. update_ratio: mean of
# ‖update‖₂ / ‖weights‖₂, over every 128th step; null in an epoch that has none. layer: as in the names of
# model.safetensors, without "params/" and the last part.
LAYERS_SCHEMA = pa.schema(
    [
        ("epoch", pa.int64()),
        ("step", pa.int64()),
        ("layer", pa.string()),
        ("gradient_norm", pa.float64()),
        ("update_ratio", pa.float64()),
    ]
)


def next_free(parent: Path, name: str) -> Path:
    """Return ``parent/<name>-<n>`` with the smallest n above all that exist."""
    taken = [re.fullmatch(re.escape(name) + r"-(\d+)", path.name) for path in parent.glob(f"{name}-*")]
    return parent / f"{name}-{1 + max((int(match[1]) for match in taken if match), default=0)}"


def check_free(folder: Path, overwrite: bool) -> None:
    """Raise RunFolderError where `folder` cannot become a run folder; change nothing.

    With `overwrite`, a run folder or an empty folder may be replaced; never a folder of other things.
    """
    if not folder.exists():
        above = next(parent for parent in folder.absolute().parents if parent.exists())
        if not above.is_dir() or not os.access(above, os.W_OK):
            why = "may not be written to" if above.is_dir() else "is a file"
            raise RunFolderError(f"{folder}: cannot be written ({above} {why}); choose another --out")
        return
    if not folder.is_dir():
        raise RunFolderError(f"{folder}: is a file, not a folder; choose another --out")
    if not any(folder.iterdir()):
        return
    if not _is_run(folder):
        raise RunFolderError(f"{folder}: holds files that are not a run's; choose another --out")
    if not overwrite:
        raise RunFolderError(
            f"{folder}: holds a run already; add --overwrite to replace it, --resume {folder} to go on with "
            f"it, or choose another --out"
        )


def _is_run(folder: Path) -> bool:
    """Return whether a folder is a run's: by its config.json or, where that is damaged, by all its names."""
    if _is_comparison(folder):
        return False
    try:
        return "data_fingerprint" in read_json(folder / "config.json")
    except RunFolderError:
        return (folder / "config.json").is_file() and {path.name for path in folder.iterdir()} <= FILES


def refuse_comparison(folder: Path) -> None:
    """Raise RunFolderError for what `downslope compare` wrote: it has a config.json too, but is no run."""
    if _is_comparison(folder):
        page = folder / "comparison.html"
        raise RunFolderError(f"{folder}: a comparison, not a run; its page is {page}")


def _is_comparison(folder: Path) -> bool:
    # A run has its encoding.json from the start, and may hold a results.json that somebody put there.
    return (folder / "results.json").is_file() and not (folder / "encoding.json").exists()


def create(folder: Path, config: Mapping[str, Any], *, overwrite: bool = True) -> None:
    """Make an empty run folder with its config.json, in place of what `check_free` allowed to replace.

    Without `overwrite` only an empty folder is replaced: another run may have begun since that check.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            fresh.chmod(0o755)
            write_json(fresh / "config.json", config)
            if overwrite and folder.exists():
                shutil.rmtree(folder)
            elif folder.is_dir() and any(folder.iterdir()):
                raise RunFolderError(f"{folder}: another run has begun there meanwhile; choose another --out")
            fresh.replace(folder)  # fails where a folder that is not empty came in between
        finally:
            shutil.rmtree(fresh, ignore_errors=True)  # where it has not become the run's
    except OSError as error:
        raise RunFolderError(
            f"{folder}: cannot be written ({error.strerror}); choose another --out"
        ) from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON, atomically. Numbers that are not finite are refused: JSON has none."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    _atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run folder; RunFolderError where it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunFolderError(_missing(path)) from None
    except NotADirectoryError:
        raise RunFolderError(f"{path.parent}: is a file, not a run folder") from None
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path}: damaged ({error}); train again with --overwrite") from None
    if not isinstance(content, dict):
        raise RunFolderError(f"{path}: damaged (not a JSON object); train again with --overwrite")
    return content


def append_event(folder: Path, event: Mapping[str, Any]) -> None:
    """Add one line to events.jsonl."""
    with open(folder / "events.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n")


def rewind_events(folder: Path, seconds: float) -> None:
    """Forget what happened after so many seconds of training: a resumed run will come there again."""
    kept = [event for event in read_events(folder) if event["seconds"] <= seconds]
    text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in kept)
    _atomically(folder / "events.jsonl", lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Read events.jsonl; a line that is not whole, or no file, is passed over."""
    path, events = folder / "events.jsonl", []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            events.append(json.loads(line))
        except ValueError:  # half a line is what a killed run leaves
            continue
    return events


def history_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Return the history as a table with one row per epoch."""
    return pa.Table.from_pylist(rows, schema=HISTORY_SCHEMA)


def write_history(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write history.parquet, atomically."""
    table = history_table(rows)
    _atomically(folder / "history.parquet", lambda temporary: pq.write_table(table, temporary))


def write_layers(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write layers.parquet, atomically."""
    table = pa.Table.from_pylist(rows, schema=LAYERS_SCHEMA)
    _atomically(folder / "layers.parquet", lambda temporary: pq.write_table(table, temporary))


def read_history(folder: Path) -> pa.Table:
    """Read history.parquet; RunFolderError where it is missing or damaged."""
    path = folder / "history.parquet"
    if not path.is_file():
        raise RunFolderError(_missing(path))
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise RunFolderError(f"{path}: damaged ({str(error).splitlines()[0]}); train again") from None


def write_weights(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as safetensors, atomically."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    _atomically(path, lambda temporary: save_file(contiguous, temporary))


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays from safetensors; RunFolderError where the file is missing or damaged."""
    if not path.is_file():
        raise RunFolderError(_missing(path))
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunFolderError(f"{path}: damaged ({error}); train again with --overwrite") from None


def no_such_run(folder: Path) -> str:
    """Return that there is no such run, and which ones beside it, or in runs/, have nearly its name."""
    places = dict.fromkeys((folder.parent, Path("runs")))
    near = [str(found.parent) for place in places for found in sorted(place.glob("*/config.json"))]
    meant = did_you_mean(str(folder), near) or did_you_mean(str(Path("runs") / folder.name), near)
    remedy = f".{meant}" if meant else "; give one that `downslope train` wrote, such as runs/digits-1"
    return f"{folder}: no such run folder{remedy}"


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return no_such_run(path.parent)
    if not (path.parent / "config.json").is_file():
        return f"{path.parent}: not a run folder (it has no config.json)"
    if not (path.parent / "summary.json").is_file():
        return f"{path.parent}: the run is not finished (no {path.name}); go on with --resume {path.parent}"
    return f"{path.parent}: damaged run folder ({path.name} is missing); train again with --overwrite"


def _atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Write to a temporary file beside `path`, then give it the name: readers see the old or the new."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        write(temporary)
        temporary.chmod(mode)  # safetensors makes files that only their owner can read
        os.replace(temporary, path)
    except SafetensorError as error:  # a full disk, which it does not call an OSError
        raise OSError(errno.EIO, str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
