"""`downslope predict`: what a trained network says about new rows."""

import csv
import os
import sys
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from downslope.errors import InputError, OptionError


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, such as runs/digits-1.")],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="File with the columns that the run was trained on.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV file to write  [default: print]")
    ] = None,
    proba: Annotated[bool, typer.Option("--proba", help="Add the probability of every class.")] = False,
) -> None:
    """Predict one value per row of DATA, in order."""
    if out is not None and not out.absolute().parent.is_dir():
        raise OptionError(f"--out {out}: there is no folder {out.parent}; make it first")
    if out is not None and out.is_dir():
        raise OptionError(f"--out {out}: is a folder; name a file in it")
    if out is not None and out.exists():
        is_data = Path(data).exists() and out.samefile(data)
        if is_data or out.resolve().is_relative_to(run.resolve()):
            what = "DATA itself" if is_data else f"a file of {run}"
            raise OptionError(f"--out {out}: is {what}, which would be lost; name another file")
    from downslope.report.formatting import counted
    from downslope.workflow.trained import load

    trained = load(run)
    table = trained.read(data)
    shares = trained.predict_proba(table) if proba else None  # first, because a regression has none
    columns: dict[str, Any] = {trained.encoding.target: trained.predict(table)}
    for line in trained.unfamiliar(table):
        print(f"note: {line}", file=sys.stderr)
    if shares is not None:
        for place, label in enumerate(trained.encoding.classes):
            columns[f"probability_{label}"] = shares[:, place]
    if out is None:
        _write(sys.stdout, columns)
        return
    draft = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with open(draft, "w", encoding="utf-8", newline="") as file:
            _write(file, columns)
        os.replace(draft, out)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror})") from None
    finally:
        draft.unlink(missing_ok=True)
    print(f"{counted(table.n_rows, 'prediction')} in {out}")


def _write(file: TextIO, columns: dict[str, Any]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))
