"""`downslope`: the command that everything else hangs on, and what it says when something is wrong."""

import atexit
import gc
import os
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from downslope.cli import compare, evaluate, find_lr, lab, landscape, predict, report, rules, sharpness, train
from downslope.errors import DownslopeError

# Typer's own kind of error, whichever Click it carries inside.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="downslope",
    help="Train neural networks by gradient descent: from a data file to a trained, saved, explained model.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(train.train)
app.command("find-lr")(find_lr.find_lr)
app.command()(predict.predict)
app.command()(evaluate.evaluate)
app.command()(report.report)
app.command()(sharpness.sharpness)
app.command()(landscape.landscape)
app.command()(compare.compare)
app.command()(rules.rules)
app.command()(lab.lab)

OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory")  # how JAX says it
DISK_FULL = "No space left on device"  # how the writer of checkpoints says it, after RESOURCE_EXHAUSTED


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"downslope {version('downslope')}")
        raise typer.Exit


@app.callback()
def downslope(
    context: typer.Context,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Train neural networks by gradient descent: from a data file to a trained, saved, explained model."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line; every failure is one line on standard error and an exit code.

    0: done. 1: the descent failed, or the machine did. 2: something given cannot be used. 130: interrupted.
    """
    keep_compiled_programs()
    collect_garbage_rarely()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: in good order, at any moment
    try:
        code = app(prog_name="downslope", standalone_mode=False)
        if code == 130:  # Typer's answer to Ctrl-C; a command that has said more about it exits by itself
            _fail("interrupted", code)
    except DownslopeError as error:
        code = _fail(str(error), error.exit_code)
    except UsageError as error:
        code = _fail(_usage(error), 2)
    except (KeyboardInterrupt, EOFError):
        code = _fail("interrupted", 130)
    except BrokenPipeError:  # `downslope … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:  # a full disk, say
        what = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
        code = _fail(what or str(error), 1)
    except Exception as error:
        if DISK_FULL in str(error):
            code = _fail("the disk is full; make room, and go on with --resume", 1)
        elif isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
            code = _fail("there is not enough memory; take a smaller network, batch size or --ramps", 1)
        else:
            raise
    sys.exit(code)


def _usage(error: Any) -> str:
    """Return what is wrong with a line that was typed; a column among the files is easily meant well."""
    message = error.format_message()
    known = [parameter.name for parameter in error.ctx.command.params] if error.ctx else []
    if "target" in known and "unexpected extra argument" in message:
        message += "; name the column to predict with --target, and put quotes around spaces"
    return message


def keep_compiled_programs() -> None:
    """Keep compiled programs in the user's cache folder, so that the second run does not wait for them.

    JAX reads these from the environment when it is first imported; what the user has set stays.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "downslope" / "compiled"
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def collect_garbage_rarely() -> None:
    """Look for circular garbage a hundred times less often than Python would, and not at the end.

    A command makes little of it and millions of objects that stay, which each search reads again: a tenth of
    a short run. What is left at the end goes with the process.
    """
    gc.set_threshold(100_000, 50, 100)
    atexit.register(gc.freeze)


def _fail(message: str, code: int) -> int:
    """Print one ``error:`` line, whatever the message's own line breaks."""
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return code
