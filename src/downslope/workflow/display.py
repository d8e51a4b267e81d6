"""What the person sees while a run trains: a live line on a terminal, plain lines anywhere else."""

import math
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from downslope.training.events import Event
from downslope.workflow.lines import is_live, print_line

SHOWN = ("resumed", "early-stop", "time-limit", "interrupted", "rolled-back", "other-rate", "skipped")
PLAIN_LINES = 20  # at most about so many lines of progress where nothing can be redrawn
WIDE = 100  # columns of a terminal on which the bar is as long as it gets
LONGEST_TIME = len("0:00:00")
BETWEEN = " · "


class Display:
    """A listener that shows a descent.

    Args:
        console: where to print; a terminal gets a line that is redrawn.
        metric: name of the validation metric: ``"accuracy"`` or ``"R²"``.
        epochs: how many epochs there are at most.
        max_seconds: how long choosing and training may take; None: no limit.
    """

    def __init__(self, console: Console, metric: str, epochs: int, max_seconds: float | None = None):
        self._console, self._metric, self._epochs = console, metric, epochs
        self._max_seconds = math.inf if max_seconds is None else max_seconds
        self._tuned = 0.0  # seconds of choosing, which the clock of the descent leaves out
        self._numbers: list[str] = []
        self._bar_width = 24 if console.width >= WIDE else max(4, console.width // 8)
        self._time_left = _TimeLeft()
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=self._bar_width),
            TextColumn("{task.fields[numbers]}"),
            self._time_left,
            console=console,
            transient=True,
            disable=not is_live(console),
        )
        self._task = self._progress.add_task("", total=epochs, epoch=f"1/{epochs}", numbers="")
        self._update(0, ["compiling …"])

    def __enter__(self) -> "Display":
        """Start the live line."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the live line: what is to stay is printed after it."""
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind == "learning-rate":
            self._tuned = event.values.get("seconds", 0.0)
        self._time_left.deadline = time.monotonic() + self._max_seconds - event.seconds - self._tuned
        if event.kind == "epoch":
            self._show_epoch(event)
        elif event.kind == "progress":
            steps = [f"step {event.step:,}", f"loss {event.values['loss']:.4g}"]
            self._update(event.epoch, self._numbers or steps)
        elif event.kind == "compiled":
            self._update(0, ["first steps …"])
        elif event.kind == "tuning":
            self._update(0, [event.message])
        elif event.kind == "learning-rate":
            print_line(self._console, event.message)
        elif event.kind == "annealing":
            self._epochs = event.values.get("epochs", self._epochs)
            self._progress.update(self._task, total=self._epochs)
            print_line(self._console, event.message)
        elif event.kind in SHOWN:
            print_line(self._console, event.message, style="yellow")

    def _show_epoch(self, event: Event) -> None:
        self._numbers = numbers_of(event.values, self._metric)
        if is_live(self._console):
            self._update(event.epoch, self._numbers)
        elif event.epoch == 1 or event.epoch % math.ceil(self._epochs / PLAIN_LINES) == 0:
            line = f"epoch {event.values['epoch']}/{self._epochs}  {BETWEEN.join(self._numbers)}"
            print_line(self._console, line)

    def _update(self, epoch: int, numbers: list[str]) -> None:
        """Show so many of the numbers as there is room for beside the epoch, the bar and the time."""
        latest = f"{max(epoch, 1)}/{self._epochs}"  # the one that the numbers are of
        longest = f"epoch {self._epochs}/{self._epochs}"
        room = self._console.width - len(longest) - self._bar_width - LONGEST_TIME - 3
        shown = fitted(numbers, room)
        self._progress.update(self._task, completed=epoch, epoch=latest, numbers=shown)


class _TimeLeft(ProgressColumn):
    """The time until all epochs are done or the time is up, whichever comes first."""

    max_refresh = 0.5  # seconds, so that it does not tremble

    def __init__(self):
        super().__init__()
        self.deadline = math.inf

    def render(self, task: Task) -> Text:
        """Return it as 02:28 or 1:02:28."""
        left = math.inf if task.time_remaining is None else task.time_remaining
        left = min(left, max(0.0, self.deadline - time.monotonic()))
        if math.isinf(left):
            return Text("--:--", style="progress.remaining")
        minutes, seconds = divmod(int(left), 60)
        hours, minutes = divmod(minutes, 60)
        text = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"
        return Text(text, style="progress.remaining")


def fitted(parts: list[str], room: int) -> str:
    """Return the first parts that fit into the room; of a single one that does not, its beginning.

    >>> fitted(["loss 0.1234", "rate 0.001"], 15)
    'loss 0.1234'
    >>> fitted(["choosing the rate: 0.001"], 12)
    'choosing th…'
    """
    while len(parts) > 1 and len(BETWEEN.join(parts)) > room:
        parts = parts[:-1]
    text = BETWEEN.join(parts)
    return text if len(text) <= room else text[: max(0, room - 1)] + "…"


def numbers_of(row: dict[str, Any], metric: str) -> list[str]:
    """Return one epoch in words, the most important first: losses, metric, learning rate, speed."""
    parts = [] if row["train_loss"] is None else [f"loss {row['train_loss']:.4f}"]
    if row["validation_loss"] is not None:
        parts.append(f"validation {row['validation_loss']:.4f}")
    if row["validation_metric"] is not None:
        parts.append(f"{metric} {row['validation_metric']:.4f}")
    return [*parts, f"rate {row['learning_rate']:.2g}", f"{short(row['examples_per_second'])} rows/s"]


def short(number: float) -> str:
    """Return 950, 12.3k or 4.5M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"
