"""What is said while arms are compared, and the table at the end."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from downslope.report import comparison as page
from downslope.report.formatting import NO_BREAK, counted, duration, number
from downslope.study.compare import ArmRun
from downslope.workflow.job import Job
from downslope.workflow.lines import say
from downslope.workflow.prepare import SPLITS

QUESTIONS = {
    "rules": "which update rule?",
    "batch-sizes": "how many rows per gradient?",
    "learning-rates": "how large a learning rate?",
    "auto-rates": "what do too small, good and too large learning rates do?",
}

SPARED = ("per step", "passes to it", "reached target", "range")  # where a terminal is narrow


class Display:
    """What is being run, how many runs are left and how long they should take; plain lines off a terminal.

    Args:
        console: where to print.
    """

    def __init__(self, console: Console):
        self._console = console
        self._progress = Progress(
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("compiling …", total=None)

    def __enter__(self) -> "Display":
        """Start the live line."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the live line."""
        self._progress.stop()

    def compiling(self, name: str) -> None:
        """Say what is being compiled."""
        self._progress.update(self._task, description=f"compiling {name} …")

    def promise(self, seconds: float | None, runs: int) -> None:
        """Say how much there is to do; `seconds` of stepping, measuring comes on top."""
        self._progress.update(self._task, total=runs)
        if seconds is not None:
            about = duration(max(seconds, 1.0)).replace(NO_BREAK, " ")
            say(self._console, "time", f"{counted(runs, 'run')} or more, about {about} of stepping")

    def running(self, what: str, seed: int | None = None, rate: float | None = None) -> None:
        """Say what runs now."""
        details = "" if seed is None else f" (rate {rate:g}, seed {seed})"
        self._progress.update(self._task, description=what + details)

    def ran(self) -> None:
        """Count one more run."""
        self._progress.advance(self._task)
        task = self._progress.tasks[0]
        if task.total is not None and task.completed > task.total:  # more rates than the usual were tried
            self._progress.update(self._task, total=task.completed)

    def chose(self, name: str, rate: float, runs: list[ArmRun]) -> None:
        """Say which rate an arm will have."""
        losses = " and ".join("diverged" if run.diverged else f"{run.lowest:.4g}" for run in runs)
        found = "every rate diverged" if runs[0].diverged else f"validation loss {losses}"
        say(self._console, "rate", f"{name}: {rate:g} ({found})")


def announce(job: Job, kind: str, seeds: list[int], budget: str, console: Console) -> None:
    """Say what is about to be compared."""
    prepared = job.prepared
    rows = {name: len(batch.weights) for name, batch in prepared.rows.items()}
    parts = " · ".join(f"{name} {rows[name]:,}" for name in SPLITS if name in rows)
    say(
        console,
        "data",
        f"{prepared.name}: {sum(rows.values()):,} rows × {prepared.n_columns} columns ({parts})",
    )
    say(console, "model", f"{job.described}, {prepared.loss.name}")
    say(console, "compare", f"{QUESTIONS[kind]} {counted(len(seeds), 'seed')} each, budget {budget}")


def announce_dimensions(dimensions: list[int], budget: int, seeds: list[int], console: Console) -> None:
    """Say what is about to be counted."""
    say(console, "compare", "losses until a bowl's value is 0.1: descent, random search, grid search")
    numbers = f"{number(dimensions[0])} … {number(dimensions[-1])}" if len(dimensions) > 1 else dimensions[0]
    say(
        console,
        "budget",
        f"{numbers} dimensions, {counted(len(seeds), 'seed')}, searches of up to {budget:,} losses",
    )


def conclude(comparison: Any, console: Console) -> None:
    """Print the table, the verdict, and where the page is."""
    results = comparison.results
    if results["interrupted"]:
        console.print("interrupted: this is what was finished", style="yellow")
    shown = page.summary_table(results)
    if shown.rows:
        wide = console.width
        console.width = wide if console.is_terminal else max(wide, 160)
        console.print(_table(shown, console.width))
        console.width = wide
    for note in page.notes(results):
        say(console, "note", note)
    say(console, "verdict", comparison.verdict)
    if comparison.folder is not None:
        say(console, "page", str(comparison.folder / "comparison.html"))


def _table(content: page.Table, width: int) -> Table:
    """Return the columns that fit into a terminal; the page has them all."""
    header, places = list(content.header), list(range(len(content.header)))

    def fits() -> bool:
        lines = [header[place].split("\n") + [row[place] for row in content.rows] for place in places]
        return sum(max(map(len, cells)) + 2 for cells in lines) - 2 <= width

    if not fits():
        header = [name.replace(" ", "\n") for name in header]
    for name in SPARED:
        if not fits() and name in content.header:
            places.remove(content.header.index(name))
    table = Table(box=None, pad_edge=False, show_edge=False)
    for place in places:
        table.add_column(Text(header[place]), justify="right" if place in content.numeric else "left")
    for row in content.rows:
        table.add_row(*(Text(row[place]) for place in places))
    return table
