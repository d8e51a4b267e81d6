"""Numbers as people read them: `0.926` → "92.6 %", `32041.7` → "32,040", `200.3` → "3 min 20 s"."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, TypeGuard

NO_BREAK = "\N{NO-BREAK SPACE}"
ABSENT = "–"


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether `value` is a finite number; booleans are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, digits: int = 4) -> str:
    """Return `value` with `digits` significant digits and thousands separated; whole numbers entire.

    >>> number(32041.7), number(0.00012345), number(4128), number(None)
    ('32,040', '0.0001234', '4,128', '–')
    """
    if value is None:
        return ABSENT
    if not is_number(value):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if not -5 <= magnitude < 15:
        return f"{value:.{digits - 1}e}"
    rounded = round(value, digits - 1 - magnitude)
    decimals = max(0, digits - 1 - magnitude)
    text = f"{rounded:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(fraction: Any, decimals: int = 1) -> str:
    """Return a fraction as per cent; only 0 and 1 themselves become 0 % and 100 %.

    >>> percent(0.926).replace(NO_BREAK, " "), percent(0.99996).replace(NO_BREAK, " ")
    ('92.6 %', '99.996 %')
    """
    if not is_number(fraction):
        return number(fraction)
    for places in range(decimals, 5):
        text = f"{100 * fraction:.{places}f}"
        if float(text) not in (0.0, 100.0):
            break
    else:
        text = f"{100 * fraction:.1f}"
    if fraction in (0, 1):
        text = f"{100 * fraction:.0f}"
    return text.removesuffix(".0") + NO_BREAK + "%"


def r_squared(value: Any, digits: int = 4) -> str:
    """Return an R² with as many digits as it takes: only 1 itself becomes 1.

    >>> r_squared(0.8194), r_squared(0.99951, 3), r_squared(1.0)
    ('0.8194', '0.9995', '1')
    """
    while number(value, digits) == "1" and value != 1 and digits < 8:
        digits += 1
    return number(value, digits)


def file_name(data: str) -> str:
    r"""Return what data are called, without the folders they lie in.

    >>> file_name("/home/ada/houses.csv"), file_name(r"C:\ada\houses.csv"), file_name("iris")
    ('houses.csv', 'houses.csv', 'iris')
    """
    return data.replace("\\", "/").rstrip("/").rpartition("/")[2] or data


def duration(seconds: Any) -> str:
    """Return a time span in the two units that matter.

    >>> [duration(s).replace(NO_BREAK, " ") for s in (0.0042, 12.44, 200.3, 7500)]
    ['4 ms', '12.4 s', '3 min 20 s', '2 h 5 min']
    """
    if not is_number(seconds):
        return number(seconds)
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f}{NO_BREAK}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}{NO_BREAK}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{NO_BREAK}min {whole % 60}{NO_BREAK}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,}{NO_BREAK}h {minutes % 60}{NO_BREAK}min"


def counted(count: Any, noun: str) -> str:
    """Return the count and its noun.

    >>> counted(1, "epoch"), counted(4128, "row")
    ('1 epoch', '4,128 rows')
    """
    return f"{number(count)} {noun}" + ("" if count == 1 else "s")


def grouped(names: Iterable[Any]) -> str:
    """Return names joined, equal ones counted.

    >>> grouped(["NVIDIA H100", "NVIDIA H100"]), grouped(["cpu"])
    ('2 × NVIDIA H100', 'cpu')
    """
    counts = Counter(map(str, names))
    return ", ".join(name if count == 1 else f"{count} × {name}" for name, count in counts.items())


def both_ends(value: Any, limit: int) -> str:
    """Return the text of `value` on one line, cut in the middle: names often differ at their ends.

    >>> both_ends("category of the outcome: bad", 22)
    'category of…tcome: bad'
    """
    text = " ".join(str(value).split())
    if len(text) <= limit:
        return text
    end = (limit - 1) // 2
    return f"{text[: limit - 1 - end]}…{text[len(text) - end :]}"


def shortened(value: Any, limit: int = 160) -> str:
    """Return the text of `value` on one line, cut at `limit` characters.

    >>> shortened("a  b", 10), shortened("abcdefgh", 5)
    ('a b', 'abcd…')
    """
    text = " ".join(str(value).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
