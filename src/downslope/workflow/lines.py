"""Lines for a person: broken between words on a terminal, whole in a file or a pipe."""

import textwrap

from rich.console import Console

from downslope.report.formatting import NO_BREAK

LABEL = 8  # characters


def say(console: Console, label: str, text: str) -> None:
    """Print one line under a label."""
    print_line(console, f"{label:<{LABEL}} {text}", indent=LABEL + 1)


def is_live(console: Console) -> bool:
    """Return whether a line can be redrawn: on a terminal, but not on a dumb one."""
    return console.is_terminal and not console.is_dumb_terminal


def print_line(console: Console, text: str, *, indent: int = 0, style: str | None = None) -> None:
    """Print one line; where it has to be broken, it goes on `indent` characters from the left."""
    if console.is_terminal:
        text = textwrap.fill(
            text,
            console.width,
            subsequent_indent=" " * indent,
            break_long_words=False,  # a path can still be copied
            break_on_hyphens=False,
        )
    console.print(text.replace(NO_BREAK, " "), style=style, markup=False, highlight=False, soft_wrap=True)
