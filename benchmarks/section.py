"""What one part of the benchmark found, as it is stored and shown."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

Cell = str | float | int | None
Tell = Callable[[str], None]  # called with a line about what is being done

RESULTS = Path(__file__).resolve().parent / "results"
CPU_INFO = Path("/proc/cpuinfo")  # on Linux


@dataclass(frozen=True)
class Bar:
    """A claim, and whether it holds.

    Attributes:
        claim: what is compared with what, such as "steps per second ÷ the fastest peer's".
        measured, wanted: as they are shown, with their unit.
        holds: whether what was measured is as wanted.
    """

    claim: str
    measured: str
    wanted: str
    holds: bool

    @classmethod
    def at_least(cls, claim: str, measured: float, wanted: float, unit: str = "×") -> "Bar":
        """Return the bar of a number that must not be below another; a rounded number decides nothing."""
        return cls(claim, f"{measured:.3g} {unit}", f"≥ {wanted:g} {unit}", measured >= wanted)

    @classmethod
    def at_most(cls, claim: str, measured: float, wanted: float, unit: str = "s") -> "Bar":
        """Return the bar of a number that must not be above another."""
        return cls(claim, f"{measured:.3g} {unit}", f"≤ {wanted:g} {unit}", measured <= wanted)


@dataclass(frozen=True)
class Section:
    """What one part of the benchmark found.

    Attributes:
        name: of the part, and of the file that keeps this.
        title: the heading.
        what: one paragraph: what is done, with how many threads, in how many rounds.
        columns: headings of the table; those that say what a row is come first.
        rows: text and numbers, as many in each as there are columns; None where there is nothing to say.
        bars: what it must show.
        notes: paragraphs or tables in Markdown: where the time goes, for a bar missed.
        machine: what it was measured on.
        versions: of the packages that took part.
        day: when, year-month-day.
    """

    name: str
    title: str
    what: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    bars: tuple[Bar, ...] = ()
    notes: tuple[str, ...] = ()
    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    day: str = field(default_factory=lambda: date.today().isoformat())

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), f"{self.name}: ragged rows"

    def to_json(self) -> str:
        """Return it as text that `from_json` reads."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Section":
        """Read what `to_json` wrote."""
        content: dict[str, Any] = json.loads(text)
        return cls(
            **{
                **content,
                "columns": tuple(content["columns"]),
                "rows": tuple(map(tuple, content["rows"])),
                "bars": tuple(Bar(**bar) for bar in content["bars"]),
                "notes": tuple(content["notes"]),
            }
        )


def store(section: Section, folder: Path = RESULTS) -> None:
    """Write a section to its file."""
    folder.mkdir(exist_ok=True)
    (folder / f"{section.name}.json").write_text(section.to_json(), encoding="utf-8")


def stored(names: tuple[str, ...], folder: Path = RESULTS) -> list[Section]:
    """Return the sections of these names that have been stored, in this order."""
    files = [folder / f"{name}.json" for name in names]
    return [Section.from_json(file.read_text(encoding="utf-8")) for file in files if file.exists()]


def machine() -> str:
    """Return what this machine is, in a few words."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{cores()} cores of {model}, {platform.system()}, Python {platform.python_version()}"


def versions(*packages: str) -> dict[str, str]:
    """Return the version of each package that is installed."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
