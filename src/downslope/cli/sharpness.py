"""`downslope sharpness`: has the descent settled, and in what: a minimum or a saddle?"""

import json
from pathlib import Path
from typing import Annotated

import typer


def sharpness(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, such as runs/digits-1.")],
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="The run's data  [default: where it was]")
    ] = None,
    rows: Annotated[int, typer.Option(metavar="N", help="Training rows to use, at most.")] = 8192,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure slope and curvature where a run ended.

    Is it a minimum, a saddle, or not settled?
    """
    from downslope.workflow.sharpness import sharpness as measure

    found = measure(run, data, rows=rows, quiet=as_json)
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    off = [f"± {value:.1g}" if value else "exact" for value in (found["residuals"] or [])]
    print(f"at          {found['at']}, {found['n_params']:,} weights")
    print(f"loss        {_number(found['loss'])} on {found['rows']}, in evaluation mode")
    print(f"slope       {_number(found['gradient_norm'])}, the norm of the gradient")
    print(f"sharpest    {_number(found['largest'])} ({off[1]}), the Hessian's largest eigenvalue")
    print(f"least       {_number(found['smallest'])} ({off[0]}), its smallest")
    print(f"step size   {found['limit']}")
    if not found["converged"]:
        print(f"note        not converged in {found['products']:,} products; the ± says how far off")
    print(f"verdict     {found['explained']}")
    print(f"report      {run / 'report.html'}")


def _number(value: float | None) -> str:
    return "not a number" if value is None else f"{value:.4g}"
