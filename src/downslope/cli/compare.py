"""`downslope compare`: rules, batch sizes, learning rates or dimensions side by side."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from downslope.cli.arguments import count, refuse_beside, widths

# Heavy imports wait until a command runs: `downslope --help` must answer at once.


def compare(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A CSV, TSV or Parquet file, or digits, iris, wine, breast_cancer, diabetes.",
            show_default=True,
        ),
    ] = "digits",
    target: Annotated[str | None, typer.Option(help="Column to predict.")] = None,
    rules: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Update rules, and random-search or grid-search  [default: gd,sgd,momentum,adam,adamw,lamb]",
        ),
    ] = None,
    batch_sizes: Annotated[
        str | None,
        typer.Option(metavar="1,32,full", help="Compare batch sizes instead; --rules names the one rule."),
    ] = None,
    learning_rates: Annotated[
        str | None,
        typer.Option(
            metavar="0.001,0.1,10|auto",
            help="Compare learning rates instead; auto: too small, good and too large.",
        ),
    ] = None,
    dimensions: Annotated[
        str | None,
        typer.Option(
            metavar="1,2,4,…,1024",
            help="Count what descent and brute force need in so many dimensions; takes no DATA.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="From how many seeds each is run.")] = 5,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="EPOCHS|30s",
            help="Same for every run; with --dimensions, losses per search  [default: by the rows]",
        ),
    ] = None,
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
    test_fraction: Annotated[float, typer.Option(help="Share of the rows held out to test on.")] = 0.2,
    validation_fraction: Annotated[
        float, typer.Option(help="Share of the rows held out to choose rates and weights.")
    ] = 0.1,
    model: Annotated[str, typer.Option(help="mlp or linear")] = "mlp",
    hidden: Annotated[
        str | None,
        typer.Option(metavar="256,256", help="Widths of the hidden layers  [default: by the rows]"),
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Share of units silenced at each step  [default: 0.1 in the mlp]")
    ] = None,
    loss: Annotated[
        str | None, typer.Option(metavar="NAME[:NUMBER]", help="As in train  [default: by the task]")
    ] = None,
    batch_size: Annotated[
        str | None,
        typer.Option(
            metavar="N|full", help="Rows per gradient for every rule  [default: by the rows; gd: full]"
        ),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="constant, linear, cosine, …  [default: each rule's]")
    ] = None,
    seed: Annotated[int, typer.Option(help="The first of the seeds.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder  [default: comparisons/<data>-<n>]")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the comparison that --out holds.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the results as one JSON object, nothing else.")
    ] = False,
) -> None:
    """Train DATA in several ways and set them side by side.

    Same split, same starts: which came lowest, which came down fastest?
    """
    options: dict[str, Any] = {
        "target": target,
        "task": task,
        "drop": tuple(drop or ()),
        "header": not no_header,
        "delimiter": delimiter,
        "test_fraction": test_fraction,
        "validation_fraction": validation_fraction,
        "model": model,
        "hidden": widths(hidden),
        "dropout": dropout,
        "loss": loss,
        "batch_size": count("--batch-size", batch_size, "full"),
        "schedule": schedule,
        "seed": seed,
    }
    if dimensions is not None:
        fine = ("dimensions", "seeds", "seed", "budget", "out", "overwrite", "quiet", "json_")
        refuse_beside(context, "--dimensions trains no network on data", fine)
        options = {"seed": seed}
    from rich.console import Console

    from downslope.workflow.compare import compare as run_comparison

    console = Console(stderr=True, quiet=not sys.stderr.isatty(), highlight=False) if json_ else None
    comparison = run_comparison(
        data,
        rules=rules,
        seeds=seeds,
        budget=budget,
        batch_sizes=batch_sizes,
        learning_rates=learning_rates,
        dimensions=dimensions,
        out=out,
        overwrite=overwrite,
        quiet=quiet,
        console=console,
        **options,
    )
    if json_:
        folder = None if comparison.folder is None else str(comparison.folder)
        json.dump({**comparison.results, "folder": folder}, sys.stdout, indent=2, ensure_ascii=False)
        print()
    if comparison.results["interrupted"]:
        raise SystemExit(130)
