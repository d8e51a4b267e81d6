"""Every claim of speed, measured: the same work done by Downslope and by its peers.

python -m benchmarks.speed [--quick] [--only NAME …]

A part that has been measured is stored in `benchmarks/results/`, and `benchmarks/RESULTS.md` is written anew
from all that are stored. With --quick nothing is written.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks import page
from benchmarks.harness import BenchmarkError
from benchmarks.section import Section, store, stored
from benchmarks.speed_parts import PARTS, part

WIDTH = 150  # of a table where there is no terminal to fit


def main(words: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(words)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    progress = Console(stderr=True, highlight=False)

    def tell(line: str) -> None:
        progress.print(line, style="dim", soft_wrap=True)

    holds = True
    for name in () if options.page else options.only or PARTS:
        try:
            section = part(name, shlex.split(options.alone))(options.quick, tell)
        except BenchmarkError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        _show(section, console)
        holds = holds and all(bar.holds for bar in section.bars)
        if not options.quick:
            store(section)
            page.write(stored(PARTS), tuple(PARTS))
    if options.page:
        page.write(stored(PARTS), tuple(PARTS))
    return 0 if holds else 1


def _parser() -> argparse.ArgumentParser:
    description, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed", description=description, epilog=rest.split("\n\n")[-1]
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer steps; nothing is written")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, metavar="NAME", help="some parts: " + ", ".join(PARTS)
    )
    parser.add_argument("--page", action="store_true", help="measure nothing, only write RESULTS.md anew")
    parser.add_argument(
        "--alone",
        default="",
        metavar="COMMAND",
        help="start each round of training through this command, such as a queue that keeps others away",
    )
    return parser


def _show(section: Section, console: Console) -> None:
    console.print(f"\n{section.title}", style="bold")
    console.print(section.what, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(section.columns):
        is_text = any(isinstance(row[index], str) for row in section.rows)
        table.add_column(column, justify="left" if is_text else "right", overflow="fold")
    for row in section.rows:
        table.add_row(*map(page.shown, row))
    console.print(table)
    for bar in section.bars:
        word = "PASS" if bar.holds else "MISS"
        console.print(f"{word}  {bar.claim}: {bar.measured}, wanted {bar.wanted}", soft_wrap=True)
    for note in section.notes:
        console.print(note, soft_wrap=True, markup=False)


if __name__ == "__main__":
    sys.exit(main())
