"""What is said before and after a training, in plain lines."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from downslope.report.formatting import counted
from downslope.workflow.job import Job
from downslope.workflow.lines import say
from downslope.workflow.prepare import SPLITS
from downslope.workflow.run import Run

COLUMN_LABEL = {
    "loss": "loss",
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
}
NOTES_SHOWN = 8


def announce(job: Job, console: Console) -> None:
    """Say what is about to be done, with everything that was chosen."""
    prepared, plan, config = job.prepared, job.plan, job.config
    rows = {name: len(batch.weights) for name, batch in prepared.rows.items()}
    size = f"{counted(sum(rows.values()), 'row')} × {counted(prepared.n_columns, 'column')}"
    parts = " · ".join(f"{name} {rows[name]:,}" for name in SPLITS if name in rows)
    may_stop = plan.patience and plan.patience < plan.epochs and "validation" in rows
    stopping = f", stopping after {plan.patience} without progress" if may_stop else ""
    say(console, "data", f"{prepared.name}: {size} ({parts})")
    for note in prepared.encoding.notes[:NOTES_SHOWN]:
        say(console, "", note)
    more = len(prepared.encoding.notes) - NOTES_SHOWN
    if more > 0:
        say(console, "", f"and {counted(more, 'more note')}, in the report")
    say(console, "model", f"{job.described}, {prepared.loss.name}")
    kind = "" if job.precision.name == "float32" else f", {job.precision.name}"
    say(console, "device", plan.devices.describe() + kind)
    rate = "to be chosen by a race" if job.raced else f"{plan.learning_rate:g}"
    least = plan.least_decay
    decay = "" if least is None else f"weight decay {least:g} and more as the validation rows ask, "
    schedule, length = f"{config['schedule']} schedule", f"up to {counted(plan.epochs, 'epoch')}{stopping}"
    if config["schedule"] == "auto":
        schedule = "constant, then falling to 0"
        if config["epochs"] == "auto":
            length = f"until the validation loss stands still (at most {counted(plan.epochs, 'epoch')})"
    say(
        console,
        "descent",
        f"{job.rule.name}, learning rate {rate}, {schedule}, "
        f"{decay}batches of {plan.batch_size:,}, {length}, seed {plan.seed}",
    )


def conclude(run: Run, console: Console, diagnosis: Sequence[str] = ()) -> None:
    """Say how it went, and where everything is."""
    summary = run.summary
    metrics = summary["metrics"]
    table = Table(box=None, pad_edge=False, show_edge=False)
    table.add_column("", style="bold")
    names = list(next(iter(metrics.values())))
    for name in names:
        table.add_column(COLUMN_LABEL[name], justify="right")
    for split in (split for split in SPLITS if split in metrics):
        table.add_row(split, *(as_number(metrics[split][name]) for name in names))
    seconds = summary["seconds"]
    kept = f"epoch {summary['best_epoch']}" if summary["best_epoch"] else "the start"
    chosen = "validation" in metrics or not summary["best_epoch"]
    why = "by the error below" if summary["failed"] else summary["stopped_because"]
    say(
        console,
        "stopped",
        f"{why}{f'. Weights of {kept} kept' if chosen else ''} "
        f"({seconds['train']:.1f} s of training, {seconds['compile']:.1f} s of compiling)",
    )
    console.print(table)
    if not summary["failed"]:  # else the error says what was found
        for label, line in zip(("found", ""), diagnosis, strict=False):
            say(console, label, line)
    if run.folder is not None:
        say(console, "report", str(run.folder / "report.html"))


def as_number(value: float | None) -> str:
    """Return a metric as it is printed; a dash where there is none.

    >>> as_number(0.81944), as_number(49333.1), as_number(2.5e-7), as_number(3e16), as_number(None)
    ('0.8194', '49,333.1', '2.5e-07', '3e+16', '—')
    """
    if value is None:
        return "—"
    if 0 < abs(value) < 0.001 or abs(value) >= 1e12:
        return f"{value:.3g}"
    return f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.1f}"
