"""`downslope report`: a run folder → one HTML file."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, such as runs/digits-1.")],
) -> None:
    """(Re)write the report of a run."""
    from downslope.report.page import write_report

    print(write_report(run))
