"""The slope and the curvature where a run ended, measured on its own training rows."""

from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from downslope import pytrees
from downslope.errors import RunFolderError
from downslope.gradient.backprop import evaluation_objective
from downslope.gradient.curvature import stacked
from downslope.report.page import write_report
from downslope.runs import folder as runs
from downslope.study.sharpness import explained, sharpness as sharpness_at
from downslope.training.evaluate import cut
from downslope.training.progress import finite_or_none
from downslope.workflow.reopen import Reopened, checked_rows, reopen
from downslope.workflow.run import Run

ROWS = 8192  # used at most, unless the user says otherwise
ROWS_AT_ONCE = 1024
OWN_LIMIT = ("gradient-descent", "sgd")  # rules whose step is the gradient itself


def sharpness(
    run: Run | str | Path,
    data: Any = None,
    y: Any = None,
    *,
    model: Any = None,
    loss: Any = None,
    sample_weight: Any = None,
    rows: int = ROWS,
    quiet: bool = False,
    console: Console | None = None,
) -> dict[str, Any]:
    """Return slope and curvature of the training loss at the kept weights of a run.

    The loss is that of the training rows in evaluation mode, in float32. Its Hessian's extreme eigenvalues
    come from products with it alone, so that a network may have any size.

    Args:
        run: a run, or its folder.
        data: the data the run was trained on, where it has moved or was in memory.
        y: the targets where `data` is an array.
        model: the network, where it was your own.
        loss: the loss, where it was your own.
        sample_weight: the array of weights, where it was one.
        rows: how many training rows to use, at most; ≥ 1.
        quiet: print nothing.
        console: where to print instead of standard output.

    Returns:
        What sharpness.json in the run folder holds: ``loss``, ``gradient_norm``, ``smallest``, ``largest``,
        ``verdict``, ``two_over_step_size``, … and ``explained``, all of it as a sentence.

    Raises:
        RunFolderError: not a finished run, or its data is not where it was, or has changed.
    """
    console = Console(highlight=False) if console is None else console
    console.quiet = console.quiet or quiet
    opened = reopen(
        folder_of(run),
        data,
        y,
        model=model,
        loss=loss,
        sample_weight=sample_weight,
        most_rows=checked_rows(rows),
    )
    trained = opened.trained
    batches = stacked(cut(opened.rows, min(ROWS_AT_ONCE, len(opened.rows.weights))))
    with Progress(
        SpinnerColumn(),
        TextColumn("measuring the curvature: {task.description}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("compiling …")
        found = sharpness_at(
            evaluation_objective(trained.model, trained.loss),
            jax.tree.map(jax.numpy.asarray, trained.params),
            trained.model_state,
            batches,
            listen=lambda count: progress.update(task, description=f"{count} Hessian-vector products"),
        )
    step_size = kept_step_size(opened)
    content = {
        "at": opened.kept,
        "rows": opened.which_rows,
        "n_params": pytrees.count(trained.params),
        "loss": finite_or_none(found.loss),
        "gradient_norm": finite_or_none(found.gradient_norm),
        "gradient_curvature": finite_or_none(found.gradient_curvature),
        "to_gain": finite_or_none(found.to_gain),
        "smallest": finite_or_none(found.smallest),
        "largest": finite_or_none(found.largest),
        "residuals": [finite_or_none(value) for value in found.residuals],
        "converged": found.converged,
        "products": found.products,
        "step_size": step_size,
        "two_over_step_size": 2 / step_size if step_size else None,
        "limit": limit_in_words(opened.summary["optimizer"], step_size, found.largest),
        "verdict": found.verdict,
        "explained": explained(found),
    }
    runs.write_json(opened.folder / "sharpness.json", content)
    write_report(opened.folder)
    return content


def folder_of(run: Run | str | Path) -> Path:
    """Return the folder of a run; RunFolderError where nothing of it is on disk."""
    if not isinstance(run, Run):
        return Path(run)
    if run.folder is None:
        raise RunFolderError("this run was not written to disk (out=False); train it with out=…")
    return run.folder


def kept_step_size(opened: Reopened) -> float | None:
    """Return the step size of the epoch whose weights were kept."""
    history = runs.read_history(opened.folder)
    sizes = dict(zip(history["epoch"].to_pylist(), history["learning_rate"].to_pylist(), strict=True))
    return sizes.get(opened.summary.get("best_epoch"), opened.summary.get("learning_rate"))


def limit_in_words(rule: str, step_size: float | None, largest: float) -> str:
    """Return what the step size means beside the sharpest curvature."""
    if not step_size:
        return "the step size was 0"
    limit = 2 / step_size
    side = "below" if largest < limit else "above"
    said = f"2/step_size is {limit:.4g} (step size {step_size:.3g}); the sharpest curvature is {side} it"
    if rule not in OWN_LIMIT:
        return f"{said}. That is the limit of plain gradient descent; {rule} has one of its own"
    steps = "steps of this size settle" if side == "below" else "steps of this size overshoot and grow"
    return f"{said}: {steps}"
