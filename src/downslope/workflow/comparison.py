"""What a comparison leaves behind: its numbers, its figures, and a folder of plain files.

comparisons/<data>-<n>/
config.json        every option, the resolved ones too
results.json       every run of every arm, and what is said of them
comparison.html    the page
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from downslope.errors import RunFolderError
from downslope.report import comparison as page
from downslope.runs import folder as runs

FILES = {"config.json", "results.json", "comparison.html"}
FOLDER = Path("comparisons")


@dataclass(frozen=True)
class Comparison:
    """Arms that were run side by side.

    Attributes:
        results: the content of results.json.
        config: the content of config.json.
        folder: where it was written; None: nowhere.
    """

    results: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None

    @classmethod
    def load(cls, folder: str | Path) -> "Comparison":
        """Read a comparison back; RunFolderError where it is missing or damaged."""
        folder = Path(folder)
        if not (folder / "results.json").is_file():
            raise RunFolderError(f"{folder}: holds no comparison (no results.json)")
        return cls(runs.read_json(folder / "results.json"), runs.read_json(folder / "config.json"), folder)

    @property
    def verdict(self) -> str:
        """What came of it, in a sentence or two."""
        return " ".join(page.headlines(self.results))

    def table(self) -> list[dict[str, Any]]:
        """Return one row per arm, best first, or one per dimension and method: medians over the seeds."""
        return page.flat_table(self.results)

    @property
    def figures(self) -> list[str]:
        """The names that `plot` takes."""
        return [panel.name for panel in page.panels(self.results)]

    def plot(self, name: str | None = None) -> Any:
        """Return a Plotly figure of the page by its name; the first if None.

        Raises:
            KeyError: this comparison has no figure of that name.
        """
        panels = {panel.name: panel.figure for panel in page.panels(self.results)}
        if name is not None and name not in panels:
            raise KeyError(f"no figure '{name}'; there are {', '.join(panels)}")
        return panels[name or next(iter(panels))]

    def to_html(self) -> str:
        """Return the page: one file that needs nothing else."""
        return page.render_comparison(self.results, self.config)

    def save(self, folder: Path) -> "Comparison":
        """Write the folder, in place of what `check_free` allowed to replace."""
        runs.create(folder, self.config)
        runs.write_json(folder / "results.json", self.results)
        text = self.to_html()
        (folder / "comparison.html").write_text(text, encoding="utf-8", errors="replace", newline="\n")
        return Comparison(self.results, self.config, folder)

    def __repr__(self) -> str:
        """Return the verdict and where the rest is."""
        return f"<Comparison: {self.verdict} {self.folder or 'not saved'}>"

    def _repr_html_(self) -> str:
        """Return the table, for notebooks."""
        return page.notebook_table(self.results)


def free_folder(out: str | Path | bool | None, name: str, overwrite: bool) -> Path | None:
    """Return the folder to write to; RunFolderError where it holds something already."""
    if out is False:
        return None
    if out is None or out is True:
        return runs.next_free(FOLDER, name)
    folder = Path(out)
    if folder.is_dir() and any(folder.iterdir()):
        if not {path.name for path in folder.iterdir()} <= FILES:
            raise RunFolderError(f"{folder}: holds files that are not a comparison's; choose another --out")
        if not overwrite:
            raise RunFolderError(
                f"{folder}: holds a comparison already; add --overwrite to replace it, or choose another "
                "--out"
            )
        return folder
    runs.check_free(folder, overwrite)
    return folder
