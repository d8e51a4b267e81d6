"""RESULTS.md: every section that has been measured, and what it was to show."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.section import Cell, Section

PAGE = Path(__file__).resolve().parent / "RESULTS.md"
INTRODUCTION = """\
# Speed, measured

Written by `python -m benchmarks.speed`, which measures again; `--only NAME` one part. Each part says on which
machine and with which versions it was measured. What was tried on the way stands in [NOTES.md](NOTES.md).
"""


def page(sections: Sequence[Section], parts: Sequence[str] = ()) -> str:
    """Return the whole page as Markdown; it says which of all `parts` have not been measured."""
    missing = [name for name in parts if name not in {section.name for section in sections}]
    note = [f"Not measured on this machine yet: {', '.join(missing)}.\n"] if missing else []
    return "\n".join([INTRODUCTION, *note, _bars(sections), *map(_section, sections)])


def write(sections: Sequence[Section], parts: Sequence[str] = (), path: Path = PAGE) -> None:
    """Write the page anew."""
    path.write_text(page(sections, parts), encoding="utf-8")


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a Markdown table; columns of numbers stand to the right."""
    numeric = [
        bool(rows) and all(isinstance(row[column], int | float | None) for row in rows)
        for column in range(len(columns))
    ]
    lines = [list(columns), ["--:" if right else "---" for right in numeric]]
    lines += [[shown(cell) for cell in row] for row in rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines) + "\n"


def shown(cell: Cell) -> str:
    """Return a cell as text: three digits that count, no exponent."""
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) or abs(cell) >= 1000:
        return f"{cell:,.0f}"
    return f"{cell:#.3g}".rstrip(".") if abs(cell) >= 1e-4 or cell == 0 else f"{cell:.1e}"


def _bars(sections: Sequence[Section]) -> str:
    rows = [
        (f"[{one.name}](#{_anchor(one.title)})", bar.claim, bar.wanted, bar.measured, _word(bar.holds))
        for one in sections
        for bar in one.bars
    ]
    return table(("part", "what", "wanted", "measured", ""), rows)


def _section(section: Section) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in section.versions.items())
    parts = [f"## {section.title}\n", section.what + "\n", table(section.columns, section.rows)]
    if section.bars:
        parts.append("\n".join(f"- {_sentence(bar)}" for bar in section.bars) + "\n")
    parts += [note + "\n" for note in section.notes]
    parts.append(
        f"Measured {section.day} on {section.machine}" + (f"; {versions}" if versions else "") + ".\n"
    )
    return "\n".join(parts)


def _sentence(bar) -> str:
    return f"{bar.claim}: {bar.measured}, wanted {bar.wanted}: {_word(bar.holds)}"


def _word(holds: bool) -> str:
    return "holds" if holds else "**missed**"


def _anchor(title: str) -> str:
    """Return what GitHub makes of a heading in an address."""
    kept = (letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return "".join(kept).replace(" ", "-")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
