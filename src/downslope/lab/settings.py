"""What was typed → numbers in range, or a sentence that says what is allowed.

The address of a page holds its settings as they were typed, so a wrong one arrives here from either.
"""

import math
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from downslope.errors import OptionError

Settings = Mapping[str, str]
LONGEST_ADDRESS = 4000


def from_address(search: str | None, defaults: Settings) -> dict[str, str]:
    """Return the settings of an address ``?surface=bowl&…``; defaults for what it does not name."""
    given = dict(parse_qsl((search or "")[:LONGEST_ADDRESS].lstrip("?"), keep_blank_values=True))
    return {name: given.get(name, default) for name, default in defaults.items()}


def number(settings: Settings, name: str, label: str, low: float, high: float) -> float:
    """Return a setting as a number.

    Raises:
        OptionError: it is no number, or outside low … high.
    """
    text = settings[name].strip()
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise OptionError(f"{label} must be a number from {low:g} to {high:g}; got ‘{_shown(text)}’")
    return value


def whole(settings: Settings, name: str, label: str, low: int, high: int) -> int:
    """Return a setting as a whole number.

    Raises:
        OptionError: it is none, or outside low … high.
    """
    text = settings[name].strip()
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1
    if not low <= value <= high:
        raise OptionError(f"{label} must be a whole number from {low:,} to {high:,}; got ‘{_shown(text)}’")
    return value


def one_of(settings: Settings, name: str, label: str, allowed: Iterable[str]) -> str:
    """Return a setting that must be one of a few words.

    Raises:
        OptionError: it is another.
    """
    allowed = list(allowed)
    if settings[name] not in allowed:
        raise OptionError(f"{label} must be one of {', '.join(allowed)}; got ‘{_shown(settings[name])}’")
    return settings[name]


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
