"""The ground around a run's weights, or between those of two runs, measured on training rows and drawn."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from downslope import pytrees
from downslope.errors import OptionError, RunFolderError
from downslope.gradient.backprop import evaluation_objective
from downslope.gradient.curvature import stacked
from downslope.report.page import write_report
from downslope.runs import folder as runs
from downslope.runs.path import most_snapshots, snapshots
from downslope.study import landscape as ground
from downslope.study.landscape import Plane
from downslope.training.evaluate import cut
from downslope.training.progress import finite_or_none
from downslope.workflow.reopen import Reopened, checked_rows, reopen
from downslope.workflow.run import Run
from downslope.workflow.sharpness import folder_of
from downslope.workflow.trained import Trained, load

ROWS = 2048  # used at most, unless the user says otherwise: each of thousands of points takes them all
ROWS_AT_ONCE = 256  # with 16 points at once, what the caches of a processor hold
RANDOM_SPAN = 1.0  # random directions are as long as the weights
ONE_VALLEY = 0.02  # the share of the whole descent that a barrier may have in one valley


def landscape(
    run: Run | str | Path,
    other: Run | str | Path | None = None,
    *,
    resolution: int = 51,
    data: Any = None,
    y: Any = None,
    model: Any = None,
    loss: Any = None,
    sample_weight: Any = None,
    rows: int = ROWS,
    seed: int = 0,
    quiet: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Measure the loss on planes through the kept weights of a run, or on the line to those of another.

    The loss is that of the first run's training rows in evaluation mode. The numbers are written into its
    folder (landscape.json or line.json) and drawn in its report.

    Args:
        run: a run, or its folder.
        other: a second run of the same architecture: then the straight line between both is measured.
        resolution: points along each axis, 3 to 301.
        data: the data the run was trained on, where it has moved or was in memory.
        y: the targets where `data` is an array.
        model: the network, where it was your own.
        loss: the loss, where it was your own.
        sample_weight: the array of weights, where it was one.
        rows: how many training rows to use, at most; ≥ 1.
        seed: of the random directions, ≥ 0.
        quiet: print nothing.
        console: where to print instead of standard output.

    Returns:
        What the file holds, as plain lists and numbers.

    Raises:
        OptionError: an argument is out of range.
        RunFolderError: not a finished run, its data is not where it was or has changed, or the two runs are
            not of one architecture.
    """
    ground.checked_resolution(resolution)
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise OptionError(f"--seed must be a whole number from 0 to 2**63 - 1, got {seed!r}")
    console = Console(highlight=False) if console is None else console
    console.quiet = console.quiet or quiet
    began = time.monotonic()
    opened = reopen(
        folder_of(run),
        data,
        y,
        model=model,
        loss=loss,
        sample_weight=sample_weight,
        most_rows=checked_rows(rows),
    )
    if other is None:
        name, content = "landscape.json", _planes(opened, resolution, seed, console)
    else:
        second = _second(opened, folder_of(other), model)
        name, content = "line.json", _line(opened, second, resolution, console)
    content["seconds"] = time.monotonic() - began
    runs.write_json(opened.folder / name, content)
    write_report(opened.folder)
    return content


class _Surface:
    """The loss of a run's training rows as a function of coordinates."""

    def __init__(self, opened: Reopened, console: Console):
        trained = opened.trained
        self.centre = jax.tree.map(jax.numpy.asarray, trained.params)
        self.state = trained.model_state
        self._loss = evaluation_objective(trained.model, trained.loss)
        self._batches = stacked(cut(opened.rows, min(ROWS_AT_ONCE, len(opened.rows.weights))))
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def losses(self, what: str, plane: Plane, points: np.ndarray, towards: Any = None) -> np.ndarray:
        with self._progress as progress:
            task = progress.add_task(what, total=len(points))
            found = ground.losses_on(
                self._loss,
                plane,
                self.centre,
                self.state,
                self._batches,
                points,
                towards=towards,
                listen=lambda done: progress.update(task, completed=done),
            )
            progress.remove_task(task)
        return found


def _planes(opened: Reopened, resolution: int, seed: int, console: Console) -> dict[str, Any]:
    surface = _Surface(opened, console)
    steps, path, why_not = recorded_path(opened)
    principal = ground.principal_plane(path, surface.centre) if path else None
    if path and principal is None:
        why_not = "the recorded path lies on one straight line"
    if not console.is_terminal:  # where no bar is seen
        n_points = resolution**2 * (1 if principal is None else 2)
        console.print(f"measuring {n_points:,} points on the planes …")
    planes = []
    if principal is not None:
        places = ground.coordinates(principal, path, surface.centre)
        extent = float(np.ptp(places, axis=0).max())
        axes = [ground.axis(*ground.span(places[:, which], least=extent / 2), resolution) for which in (0, 1)]
        content = _measured(surface, "principal", principal, axes)
        flat = np.stack([np.asarray(ravel_pytree(point)[0]) for point in path])
        away = flat - np.asarray(ravel_pytree(surface.centre)[0])
        own = [
            surface.losses("the path", Plane(np.stack([each, each])), np.array([[1.0, 0.0]]))[0]
            for each in away
        ]
        content["path"] = {
            "step": steps,
            "x": places[:, 0].tolist(),
            "y": places[:, 1].tolist(),
            "loss": _finite(own),
            "loss_on_plane": _finite(surface.losses("the path", principal, places)),
        }
        planes.append(content)
    side = ground.axis(-RANDOM_SPAN, RANDOM_SPAN, resolution)
    planes.append(_measured(surface, "random", ground.random_plane(surface.centre, seed), [side, side]))
    at_centre = surface.losses("the centre", ground.random_plane(surface.centre, seed), np.zeros((1, 2)))
    return {
        "at": opened.kept,
        "step": opened.kept_step,
        "rows": opened.which_rows,
        "loss": finite_or_none(float(at_centre[0])),
        "recorded_loss": opened.summary["metrics"]["train"]["loss"],
        "resolution": resolution,
        "seed": seed,
        "no_path": why_not,
        "planes": planes,
    }


def _measured(surface: _Surface, kind: str, plane: Plane, axes: list[np.ndarray]) -> dict[str, Any]:
    x, y = axes
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)  # y is the slow axis
    losses = surface.losses(f"{kind} directions", plane, points).reshape(len(y), len(x))
    return {
        "kind": kind,
        "explained": None if plane.explained is None else list(plane.explained),
        "x": x.tolist(),
        "y": y.tolist(),
        "loss": [_finite(row) for row in losses],
    }


def recorded_path(opened: Reopened) -> tuple[list[int], list[Any], str | None]:
    """Return the steps and weights of a run's path with the kept weights among them, or why there is none.

    Raises:
        RunFolderError: a snapshot does not hold this network's weights.
    """
    params, kept_step = opened.trained.params, opened.kept_step
    taken = snapshots(opened.folder)
    if len(taken) < 2:
        n_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
        too_large = most_snapshots(n_bytes) == 0
        why = f"it is not kept of {n_bytes / 2**20:,.0f} MiB of weights" if too_large else "the run has none"
        return [], [], f"no path of the weights was recorded: {why}"
    points = [(snapshot.step, snapshot.file) for snapshot in taken if snapshot.step != kept_step]
    points = sorted([*points, (kept_step, None)], key=lambda point: point[0])
    path = [params if file is None else _snapshot(file, params) for _, file in points]
    return [step for step, _ in points], path, None


def _snapshot(file: Path, like: Any) -> Any:
    arrays = runs.read_weights(file)
    names, leaves = pytrees.paths(like), jax.tree.leaves(like)
    shapes = {name: leaf.shape for name, leaf in zip(names, leaves, strict=True)}
    found = {
        name: array.reshape(shapes.get(name, (-1,))) if array.size == 1 else array
        for name, array in arrays.items()
    }
    if {name: array.shape for name, array in found.items()} != shapes:
        raise RunFolderError(
            f"{file}: damaged (not this network's weights); delete {file.parent} to do without the path"
        )
    return jax.tree.unflatten(jax.tree.structure(like), [found[name] for name in names])


def _second(opened: Reopened, folder: Path, model: Any) -> Reopened:
    """Return the second run with the first one's rows, after checking that a line can be drawn to it."""
    trained, first = load(folder, model), opened.trained
    if shape_of(trained) != shape_of(first):
        raise RunFolderError(
            f"{folder}: another network than {opened.folder}'s ({trained.architecture or 'your own'}; "
            f"{first.architecture or 'your own'}); a line joins two runs of one architecture"
        )
    if (trained.encoding.target, trained.encoding.classes) != (first.encoding.target, first.encoding.classes):
        raise RunFolderError(
            f"{folder}: predicts something else than {opened.folder} ('{trained.encoding.target}', "
            f"'{first.encoding.target}', or other classes); a line joins two runs on the same data"
        )
    config, summary = runs.read_json(folder / "config.json"), runs.read_json(folder / "summary.json")
    return Reopened(folder, trained, opened.rows, opened.n_rows, config, summary)


def shape_of(trained: Trained) -> Any:
    """Return what two runs must share for a line between them: the network, but for its ramps' edges."""
    weights = {"params": trained.params, "state": trained.model_state}
    shapes = [leaf.shape for leaf in jax.tree.leaves(weights)]
    architecture = trained.architecture
    if architecture is not None:
        architecture = architecture.alike
    return pytrees.paths(weights), shapes, architecture


def _line(opened: Reopened, second: Reopened, resolution: int, console: Console) -> dict[str, Any]:
    surface = _Surface(opened, console)
    here, there = (np.asarray(ravel_pytree(run.trained.params)[0]) for run in (opened, second))
    plane = Plane(np.stack([there - here, np.zeros_like(here)]))
    shares = ground.line_through(resolution)
    losses = surface.losses(
        "the line", plane, np.stack([shares, np.zeros_like(shares)], axis=1), second.trained.model_state
    )
    ends = [float(losses[np.flatnonzero(shares == end)[0]]) for end in (0.0, 1.0)]
    start = _start_loss(opened, surface)
    height = ground.barrier(shares, losses)
    descended = start - float(np.mean(ends))
    share = height / descended if descended > 0 else float("inf")
    encoded_alike = opened.trained.encoding.to_json() == second.trained.encoding.to_json()
    same_rows = encoded_alike and all(
        opened.config[name] == second.config.get(name)
        for name in ("data_fingerprint", "seed", "test_fraction")
    )
    content = {
        "first": opened.folder.resolve().name,
        "second": second.folder.resolve().name,
        "rows": opened.which_rows,
        "resolution": resolution,
        "share": shares.tolist(),
        "loss": _finite(losses),
        "ends": [finite_or_none(end) for end in ends],
        "same_rows": same_rows,
        "distance": float(np.linalg.norm(there - here)),
        "start_loss": finite_or_none(start),
        "barrier": finite_or_none(height),
        "barrier_share": finite_or_none(share),
        "one_valley": share <= ONE_VALLEY,
    }
    return {**content, "explained": line_in_words(content)}


def _start_loss(opened: Reopened, surface: _Surface) -> float:
    """Return the loss where the descent began; without a recorded path, that of the first epoch."""
    _, path, _ = recorded_path(opened)
    if not path:
        return float(runs.read_history(opened.folder)["train_loss"][0].as_py() or np.nan)
    away = np.asarray(ravel_pytree(path[0])[0]) - np.asarray(ravel_pytree(surface.centre)[0])
    return float(surface.losses("the start", Plane(np.stack([away, away])), np.array([[1.0, 0.0]]))[0])


def line_in_words(content: dict[str, Any]) -> str:
    """Return whether two runs are in one valley, with the evidence."""
    first, second = content["first"], content["second"]
    if content["barrier"] is None:
        return f"Between {first} and {second} the loss stops being a number."
    height, share = content["barrier"], content["barrier_share"]
    above = f"rises {max(height, 0.0):.3g} above the straight line between their losses"
    if content["one_valley"]:
        return f"{first} and {second} lie in one valley: between them the loss {above}, next to nothing."
    back = "" if share is None else f", {share:.0%} of the way back up to where {first} began"
    return (
        f"{first} and {second} lie in two valleys: on the way from one to the other the loss {above}{back}."
    )


def _finite(values: Any) -> list[float | None]:
    return [finite_or_none(float(value)) for value in values]
