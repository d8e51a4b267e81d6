"""`downslope lab`: gradient descent to play with, and the runs to look at, in the browser."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from downslope.errors import OptionError, RunFolderError

RUNS = Path("runs")


def lab(
    runs: Annotated[
        Path, typer.Argument(metavar="[RUNS]", help="Folder of runs to show.", show_default=True)
    ] = RUNS,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes one that is free.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the browser.")] = False,
) -> None:
    """Open the lab in the browser.

    Roll down valleys, watch a network learn, compare runs while they train.
    """
    if find_spec("dash") is None:
        raise OptionError("the lab needs Dash, which is not installed; run  pip install 'downslope[lab]'")
    if not 0 <= port < 2**16:
        raise OptionError(f"--port must be a whole number from 0 to 65535, got {port}")
    if runs.exists() and not runs.is_dir():
        raise RunFolderError(f"{runs}: is a file, not a folder of runs")
    if not runs.exists() and runs != RUNS:
        raise RunFolderError(f"{runs}: no such folder; give the folder that holds your runs")
    import webbrowser

    from downslope.lab.app import HOST, Lab, listen

    with listen(port) as listening:
        address = f"http://{HOST}:{listening.getsockname()[1]}/"
        opened = Lab(runs, listening)
        print(f"The lab is open at {address}  (Ctrl-C ends it)", flush=True)
        if not no_browser:
            webbrowser.open(address)
        try:
            opened.serve()
        finally:
            opened.close()
        print("\nThe lab is closed.")
