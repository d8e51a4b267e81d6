"""What several commands read from their arguments, each refused with its flag and what is allowed."""

from collections.abc import Collection

import typer

from downslope.errors import OptionError


def refuse_beside(context: typer.Context, why: str, fine: Collection[str]) -> None:
    """Refuse arguments that were given, other than the `fine` ones.

    Args:
        context: of the command; its parameters by their names in Python.
        why: what they do not go with, to be continued with what to leave out.
        fine: names of the parameters that do.

    Raises:
        OptionError: there are some.
    """
    given = [
        "DATA" if name == "data" else "--" + name.replace("_", "-")
        for name in context.params
        if name not in fine
        and (source := context.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    ]
    if given:
        raise OptionError(f"{why}; leave out {', '.join(given)}")


def widths(text: str | None) -> tuple[int, ...] | None:
    """Read ``256,256``."""
    if text is None:
        return None
    try:
        return tuple(int(width) for width in text.split(",") if width.strip())
    except ValueError:
        raise OptionError(
            f"--hidden must be widths with commas between them, such as 256,256; got '{text}'"
        ) from None


def number(flag: str, text: str | None) -> float | str | None:
    """Read a number or ``auto``."""
    try:
        return text if text in (None, "auto") else float(text)
    except ValueError:
        raise OptionError(f"{flag} must be a number or 'auto', got '{text}'") from None


def count(flag: str, text: str | None, word: str) -> int | str | None:
    """Read a whole number, or the one word that is allowed instead."""
    if text is None or text == word:
        return text
    try:
        return int(text)
    except ValueError:
        raise OptionError(f"{flag} must be a whole number or '{word}', got '{text}'") from None


def class_weights(text: str | None) -> str | dict[str, float] | None:
    """Read ``balanced`` or ``A=2,B=1``."""
    if text is None or "=" not in text:
        return text
    pairs = [pair.rpartition("=") for pair in text.split(",") if pair.strip()]
    try:
        return {label.strip(): float(weight) for label, _, weight in pairs}
    except ValueError:
        raise OptionError(f"--class-weight must be 'balanced' or label=weight,…, got '{text}'") from None
