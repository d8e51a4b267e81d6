"""What the person sees while a run trains: a live line on a terminal, plain lines anywhere else."""

import math
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from downslope.training.events import Event
from downslope.workflow.lines import print_line

SHOWN = ("resumed", "early-stop", "time-limit", "interrupted", "rolled-back", "other-rate", "skipped")
PLAIN_LINES = 20  # at most about so many lines of progress where nothing can be redrawn


class Display:
    """A listener that shows a descent.

    Args:
        console: where to print; a terminal gets a line that is redrawn.
        metric: name of the validation metric: ``"accuracy"`` or ``"R²"``.
        epochs: how many epochs there are at most.
    """

    def __init__(self, console: Console, metric: str, epochs: int):
        self._console, self._metric, self._epochs = console, metric, epochs
        self._numbers = ""
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=epochs, epoch=f"1/{epochs}", numbers="compiling …")

    def __enter__(self) -> "Display":
        """Start the live line."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the live line: what is to stay is printed after it."""
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "epoch":
            self._show_epoch(event)
        elif event.kind == "progress":
            steps = f"step {event.step:,} · loss {event.values['loss']:.4g}"
            self._update(event.epoch, self._numbers or steps)
        elif event.kind == "compiled":
            self._update(0, "first steps …")
        elif event.kind == "tuning":
            self._update(0, event.message)
        elif event.kind == "learning-rate":
            print_line(self._console, event.message)
        elif event.kind == "annealing":
            self._epochs = event.values.get("epochs", self._epochs)
            self._progress.update(self._task, total=self._epochs)
            print_line(self._console, event.message)
        elif event.kind in SHOWN:
            print_line(self._console, event.message, style="yellow")

    def _show_epoch(self, event: Event) -> None:
        row = event.values
        self._numbers = epoch_line(row, self._metric)
        if self._console.is_terminal:
            self._update(event.epoch, self._numbers)
        elif event.epoch == 1 or event.epoch % math.ceil(self._epochs / PLAIN_LINES) == 0:
            line = f"epoch {row['epoch']}/{self._epochs}  {self._numbers}"
            print_line(self._console, line)

    def _update(self, epoch: int, numbers: str) -> None:
        under_way = min(epoch + 1, self._epochs)
        self._progress.update(
            self._task, completed=epoch, epoch=f"{under_way}/{self._epochs}", numbers=numbers
        )


def epoch_line(row: dict[str, Any], metric: str) -> str:
    """Return one epoch in words: losses, metric, learning rate, speed."""
    parts = [] if row["train_loss"] is None else [f"loss {row['train_loss']:.4f}"]
    if row["validation_loss"] is not None:
        parts.append(f"validation {row['validation_loss']:.4f}")
    if row["validation_metric"] is not None:
        parts.append(f"{metric} {row['validation_metric']:.4f}")
    parts += [f"rate {row['learning_rate']:.2g}", f"{short(row['examples_per_second'])} rows/s"]
    return " · ".join(parts)


def short(number: float) -> str:
    """Return 950, 12.3k or 4.5M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"
