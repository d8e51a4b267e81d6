"""`downslope train`: from a data file to a run folder."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from downslope.cli.arguments import class_weights, count, number, refuse_beside, widths

# Heavy imports wait until a command runs: `downslope --help` must answer at once.


def train(
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
    task: Annotated[
        str | None, typer.Option(help="classification or regression  [default: from the target's values]")
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="FILE", help="Test on this file instead of held-out rows.")
    ] = None,
    test_fraction: Annotated[float, typer.Option(help="Share of the rows held out to test on.")] = 0.2,
    validation_fraction: Annotated[
        float, typer.Option(help="Share of the rows held out to choose the best weights.")
    ] = 0.1,
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
    activation: Annotated[
        str, typer.Option(help="relu, leaky-relu, gelu, silu, mish, elu, selu, tanh, sigmoid, softplus")
    ] = "silu",
    batch_norm: Annotated[
        bool, typer.Option("--batch-norm", help="Normalise each unit over the batch.")
    ] = False,
    group_norm: Annotated[
        int, typer.Option(metavar="N", help="Normalise each row over N groups of units.")
    ] = 0,
    layer_norm: Annotated[
        bool, typer.Option("--layer-norm", help="Normalise each row over the units.")
    ] = False,
    dropout: Annotated[
        float | None, typer.Option(help="Share of units silenced at each step  [default: 0.1 in the mlp]")
    ] = None,
    ramps: Annotated[
        int | None,
        typer.Option(help="Steps that each number is also cut into, 0 for none  [default: by the rows]"),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:NUMBER]",
            help="squared-error, absolute-error, huber, log-cosh, quantile:0.9, poisson; "
            "softmax-cross-entropy, binary-cross-entropy, label-smoothing:0.1, focal:2, hinge, kl"
            "  [default: by the task]",
        ),
    ] = None,
    sample_weight: Annotated[
        str | None, typer.Option(metavar="COL", help="Column that says how much each row counts.")
    ] = None,
    class_weight: Annotated[
        str | None,
        typer.Option(metavar="balanced|A=2,B=1", help="How much each class counts in training."),
    ] = None,
    optimizer: Annotated[str, typer.Option(help="Update rule; `downslope rules` lists them.")] = "adamw",
    learning_rate: Annotated[
        str, typer.Option(metavar="auto|NUMBER", help="Step size; auto: chosen by a race on the data.")
    ] = "auto",
    schedule: Annotated[
        str | None,
        typer.Option(
            help="auto, constant, linear, cosine, exponential, step, polynomial, one-cycle, wsd, plateau, "
            "line-search  [default: auto where the learning rate is, else the rule's]"
        ),
    ] = None,
    weight_decay: Annotated[
        str | None,
        typer.Option(
            metavar="auto|NUMBER",
            help="Pull of the weights to 0; auto: as strong as the validation rows ask for  [default: auto "
            "for adamw, nadamw, lion, muon, else the rule's; 0 for --model linear, but for lamb]",
        ),
    ] = None,
    batch_size: Annotated[
        str | None, typer.Option(metavar="N|full", help="Rows per gradient  [default: by the rows]")
    ] = None,
    accumulate: Annotated[
        int, typer.Option(metavar="N", help="Cut each batch into N parts, to save memory; the same gradient.")
    ] = 1,
    clip_norm: Annotated[
        float | None, typer.Option(help="Shorten gradients that are longer than this.")
    ] = None,
    ema: Annotated[
        float | None, typer.Option(help="Keep an average of the weights that forgets 1 − EMA per step.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16 or float16, for the forward and backward pass")
    ] = "float32",
    devices: Annotated[
        str | None, typer.Option(metavar="N|all", help="Spread each batch over devices  [default: one]")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="parameters", help="Spread weights and rule state over the devices too."),
    ] = None,
    epochs: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto", help="Passes over the rows, at most  [default: until validation stands still]"
        ),
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Stop after so many seconds of choosing the rate and training.")
    ] = None,
    early_stopping: Annotated[
        bool,
        typer.Option("--early-stopping/--no-early-stopping", help="Stop when validation no longer improves."),
    ] = True,
    watch_sharpness: Annotated[
        bool,
        typer.Option("--watch-sharpness", help="Measure the sharpest curvature after every epoch."),
    ] = False,
    guard: Annotated[
        bool,
        typer.Option("--guard/--no-guard", help="When the loss diverges, go back and on with smaller steps."),
    ] = True,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run, bit for bit.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Run folder  [default: runs/<data>-<n>]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that --out holds.")] = False,
    checkpoint_every: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time between checkpoints.")
    ] = 30.0,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Go on with an interrupted run, with its own options; DATA only if the file has moved.",
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the summary as one JSON object, nothing else.")
    ] = False,
) -> None:
    """Train a network on DATA, test it, save it and explain it.

    Without DATA it learns the bundled digits.
    """
    options: dict[str, Any] = {
        "target": target,
        "task": task,
        "test": test,
        "test_fraction": test_fraction,
        "validation_fraction": validation_fraction,
        "drop": tuple(drop or ()),
        "header": not no_header,
        "delimiter": delimiter,
        "model": model,
        "hidden": widths(hidden),
        "activation": activation,
        "batch_norm": batch_norm,
        "layer_norm": layer_norm,
        "group_norm": group_norm,
        "dropout": dropout,
        "ramps": ramps,
        "loss": loss,
        "sample_weight": sample_weight,
        "class_weight": class_weights(class_weight),
        "optimizer": optimizer,
        "learning_rate": number("--learning-rate", learning_rate),
        "schedule": schedule,
        "weight_decay": number("--weight-decay", weight_decay),
        "batch_size": count("--batch-size", batch_size, "full"),
        "accumulate": accumulate,
        "clip_norm": clip_norm,
        "ema": ema,
        "precision": precision,
        "devices": count("--devices", devices, "all"),
        "shard": shard,
        "epochs": count("--epochs", epochs, "auto"),
        "max_seconds": max_seconds,
        "early_stopping": early_stopping,
        "watch_sharpness": watch_sharpness,
        "guard": guard,
        "seed": seed,
        "checkpoint_every": checkpoint_every,
    }
    if resume is not None:
        fine = ("data", "test", "resume", "quiet", "json_")  # files may have moved
        refuse_beside(context, "--resume goes on with the run's own options", fine)
        options = {} if test is None else {"test": test}
    from rich.console import Console

    from downslope.workflow.train import train as run_training

    # Beside the JSON object on standard output, a person at a terminal still sees the descent.
    console = Console(stderr=True, quiet=not sys.stderr.isatty(), highlight=False) if json_ else None
    try:
        run = run_training(
            data, out=out, overwrite=overwrite, resume=resume, quiet=quiet, console=console, **options
        )
    except KeyboardInterrupt as interruption:
        print(": ".join(word for word in ("interrupted", str(interruption)) if word), file=sys.stderr)
        raise SystemExit(130) from None
    if json_:
        json.dump({**run.summary, "folder": str(run.folder)}, sys.stdout, indent=2, ensure_ascii=False)
        print()
    if run.summary["stopped_because"] == "interrupted":
        print(f"interrupted: go on with  downslope train --resume {run.folder}", file=sys.stderr)
        raise SystemExit(130)
