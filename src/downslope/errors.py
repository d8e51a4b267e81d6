"""Everything Downslope refuses or gives up on.

    DownslopeError               exit code 1
    ├── InputError               exit code 2   what the user gave cannot be used
    │   ├── DataError                          a file, a column, a row
    │   ├── OptionError                        an option or an argument
    │   └── RunFolderError                     a run folder: missing, taken, damaged
    └── TrainingError            exit code 1   the descent itself failed
        └── NonFiniteError                     the loss or the gradient stopped being a number

Every message says what was given, what is allowed, and what to do. `InputError` is also a
`ValueError`, so that library users may catch it without importing this module.
"""

import difflib
from collections.abc import Iterable


class DownslopeError(Exception):
    """Base of every error that Downslope raises on purpose."""

    exit_code = 1


class InputError(DownslopeError, ValueError):
    """What the user gave cannot be used; nothing was compiled or written."""

    exit_code = 2


class DataError(InputError):
    """A data file, a column or a row cannot be used."""


class OptionError(InputError):
    """An option or an argument has a value that is not allowed."""


class RunFolderError(InputError):
    """A run folder is missing, already taken, or damaged."""


class TrainingError(DownslopeError):
    """The descent failed after it had started."""


class NonFiniteError(TrainingError):
    """The loss or the gradient became infinite or not a number, or diverged, and smaller steps did not help.

    Attributes:
        result: the run, or the result of `minimize`, with the last weights that were finite.
    """

    def __init__(self, message: str, result: object = None):
        super().__init__(message)
        self.result = result


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'adam'?"`` for the names nearest to `name`, or ``""`` if none is near."""
    known = list(known)
    lowered = {candidate.lower(): candidate for candidate in reversed(known)}
    near = difflib.get_close_matches(str(name).lower(), lowered, n=3, cutoff=0.6)
    if not near:
        return ""
    return " Did you mean " + " or ".join(f"'{lowered[match]}'" for match in near) + "?"
