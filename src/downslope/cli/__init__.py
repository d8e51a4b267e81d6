"""The command line: one file per command; each parses, calls, prints."""

from downslope.cli.main import main

__all__ = ["main"]
