"""`downslope landscape`: the loss around a run's weights, or on the line between those of two runs."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def landscape(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, such as runs/digits-1.")],
    other: Annotated[
        Path | None,
        typer.Argument(metavar="OTHER", help="A second run: measure the straight line between both."),
    ] = None,
    resolution: Annotated[int, typer.Option(metavar="N", help="Points along each axis, 3 to 301.")] = 51,
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="The run's data  [default: where it was]")
    ] = None,
    rows: Annotated[int, typer.Option(metavar="N", help="Training rows to use, at most.")] = 2048,
    seed: Annotated[int, typer.Option(help="Of the random directions.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw the loss around a run's weights into its report.

    With OTHER, along the line between two runs.
    """
    from downslope.workflow.landscape import landscape as measure

    found = measure(run, other, resolution=resolution, data=data, rows=rows, seed=seed, quiet=as_json)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif other is None:
        _say_planes(found, run)
    else:
        _say_line(found, run)


def _say_planes(found: dict[str, Any], run: Path) -> None:
    size = found["resolution"]
    print(f"centre    {found['at']}: loss {_number(found['loss'])} on {found['rows']}, in evaluation mode")
    if found["no_path"]:
        print(f"note      {found['no_path']}; random directions alone")
    for plane in found["planes"]:
        values = [value for row in plane["loss"] for value in row if value is not None]
        range_ = f"{size} × {size} points, loss {_number(min(values))} to {_number(max(values))}"
        if plane["explained"]:
            first, second = plane["explained"]
            print(f"path      principal directions: {range_}")
            print(
                f"          they hold {first + second:.1%} of the path's squared distances from the centre "
                f"({first:.1%} + {second:.1%})"
            )
        else:
            print(f"random    filter-normalised directions: {range_}")
    print(f"took      {found['seconds']:.1f} s; numbers in {run / 'landscape.json'}")
    print(f"report    {run / 'report.html'}")


def _say_line(found: dict[str, Any], run: Path) -> None:
    for place, name in enumerate((found["first"], found["second"])):
        print(f"{('from', 'to')[place]:<9} {name}: loss {_number(found['ends'][place])}")
    print(f"rows      {found['rows']} of {found['first']}, in evaluation mode, with its loss")
    if not found["same_rows"]:
        print(f"note      {found['second']} learned from other rows and reads columns a little differently")
    print(f"distance  {_number(found['distance'])} between the weights")
    print(f"verdict   {found['explained']}")
    print(f"took      {found['seconds']:.1f} s; numbers in {run / 'line.json'}")
    print(f"report    {run / 'report.html'}")


def _number(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.4g}"
