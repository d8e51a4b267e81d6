"""`downslope find-lr`: the range test."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from downslope.cli.arguments import count, widths
from downslope.errors import OptionError

# Heavy imports wait until a command runs: `downslope --help` must answer at once.


def find_lr(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A CSV, TSV or Parquet file, or digits, iris, wine, breast_cancer, diabetes.",
            show_default=True,
        ),
    ] = "digits",
    target: Annotated[str | None, typer.Option(help="Column to predict.")] = None,
    task: Annotated[
        str | None, typer.Option(help="classification or regression  [default: from the target's values]")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="COL", help="Leave a column out; repeatable.")
    ] = None,
    no_header: Annotated[
        bool, typer.Option("--no-header", help="The file names no columns: column_1, …")
    ] = False,
    delimiter: Annotated[
        str | None, typer.Option(help="What separates the cells; 'tab' for a tab  [default: found out]")
    ] = None,
    model: Annotated[str, typer.Option(help="mlp or linear")] = "mlp",
    hidden: Annotated[
        str | None,
        typer.Option(metavar="256,256", help="Widths of the hidden layers  [default: by the rows]"),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="Update rule; `downslope rules` lists them.")] = "adamw",
    batch_size: Annotated[
        str | None, typer.Option(metavar="N|full", help="Rows per gradient  [default: by the rows]")
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps at most, at least 10.")] = 200,
    smallest: Annotated[
        float | None, typer.Option(help="Learning rate of the first step  [default: the rule's / 3,000]")
    ] = None,
    largest: Annotated[
        float | None, typer.Option(help="Learning rate of the last step  [default: the rule's × 3,000]")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same curve.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the curve as a page of its own.")
    ] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the curve as one JSON object, nothing else.")
    ] = False,
) -> None:
    """Look where a learning rate may lie; trains nothing.

    A few steps are taken on DATA at growing rates.
    """
    options: dict[str, Any] = {
        "target": target,
        "task": task,
        "drop": tuple(drop or ()),
        "header": not no_header,
        "delimiter": delimiter,
        "model": model,
        "hidden": widths(hidden),
        "optimizer": optimizer,
        "batch_size": count("--batch-size", batch_size, "full"),
        "seed": seed,
    }
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        wrong = "is a folder; name a file in it" if out.is_dir() else f"there is no folder {out.parent}"
        raise OptionError(f"--out {out}: {wrong}")
    from rich.console import Console
    from rich.table import Table

    from downslope.workflow.find import find_learning_rate

    waiting = Console(stderr=True, highlight=False, quiet=not sys.stderr.isatty())
    with waiting.status("compiling …") as status:
        curve = find_learning_rate(
            data,
            steps=steps,
            smallest=smallest,
            largest=largest,
            listeners=[lambda event: status.update(event.message or "compiling …")],
            **options,
        )
    if out is not None:
        curve.save(out)
    if json_:
        json.dump(curve.to_json(), sys.stdout, indent=2)
        print()
        return
    console = Console(highlight=False)
    table = Table("reading", "learning rate", "", box=None, pad_edge=False)
    for name, rate in curve.suggestions.items():
        table.add_row(name, f"{rate:g}", _meaning(name))
    console.print(table)
    wrap = not console.is_terminal
    counted = f"{len(curve.learning_rates):,} steps of {curve.optimizer}, {curve.seconds:.1f} s"
    console.print(f"confidence: {curve.confidence} ({curve.note}; {counted})", soft_wrap=wrap)
    if out is not None:
        console.print(f"figure: {out}", markup=False, soft_wrap=wrap)


def _meaning(name: str) -> str:
    from downslope.tuning.range_test import READINGS

    return READINGS.get(name, "what it takes where nothing is known")
