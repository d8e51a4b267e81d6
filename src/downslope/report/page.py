"""Everything put on one page: text by Jinja, figures by Plotly, nothing from the network.

The page is one file. Its content security policy forbids every request and lets only the scripts run
whose hashes it names, so that even a hole in the escaping would not let a hostile column name act.
"""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from downslope.errors import RunFolderError
from downslope.report import landscape, panels, sentences, tables, theme
from downslope.report.contents import RunContents, read_contents

PALETTES = {"light": theme.LIGHT, "dark": theme.DARK}


def write_report(folder: Path) -> Path:
    """Read a run folder, write its `report.html`, and return that path.

    The page replaces an older one in one step: whoever looks sees the old page or the new, whole.

    Raises:
        RunFolderError: the folder cannot be read, is damaged, or cannot be written to.

    """
    folder = Path(folder)
    page = render_report(read_contents(folder))
    target = folder / "report.html"
    draft = folder / f".report.html.{os.getpid()}"
    try:
        # "replace": a lone surrogate, which JSON can smuggle in, has no UTF-8 form
        draft.write_text(page, encoding="utf-8", errors="replace", newline="\n")
        os.replace(draft, target)
    except OSError as error:
        raise RunFolderError(
            f"{target}: cannot be written ({error.strerror}); make the folder writable, or copy it elsewhere"
        ) from None
    finally:
        draft.unlink(missing_ok=True)
    return target


def render_report(contents: RunContents) -> str:
    """Return the report of a run as the text of one HTML page."""
    cost = panels.cost_panel(contents)
    drive = list(panels.drive_panels(contents))
    race = panels.race_panel(contents)
    layers = list(panels.layer_panels(contents))
    ground = list(landscape.ground_panels(contents))
    importance = panels.importance_panel(contents)
    confusion = panels.confusion_panel(contents)
    results = list(panels.result_panels(contents))
    shown = [
        panel for panel in (cost, *drive, race, *layers, *ground, confusion, *results, importance) if panel
    ]
    return _rendered(
        "template.html.j2",
        shown,
        PALETTES,
        contents=contents,
        target=contents.summary.get("target", "a model"),
        headline=sentences.headline(contents),
        what_happened=sentences.what_happened(contents),
        tiles=tables.tiles(contents),
        metrics=tables.metrics_table(contents),
        cost=cost,
        drive=drive,
        race=race,
        ground=ground,
        curvature=landscape.curvature_words(contents),
        layers=layers,
        importance=importance,
        findings=sentences.findings(contents),
        confusion=confusion,
        classes=tables.class_table(contents),
        results=results,
        columns=tables.column_table(contents),
        events=tables.event_table(contents),
        history=tables.history_table(contents),
        config=tables.config_table(contents),
        versions=tables.version_table(contents),
    )


def render_finding(
    *,
    title: str,
    headline: str,
    lead: str,
    about: Sequence[str] = (),
    tiles: Sequence[tuple[str, str, str]] = (),
    summary: tables.Table,
    notes: Sequence[str] = (),
    panels: Sequence[panels.Panel],
    details: Sequence[tuple[str, tables.Table]] = (),
    palettes: dict[str, Any] = PALETTES,
) -> str:
    """Return a page about one finding: what came of it, a table, then the evidence.

    Like a report it is one file that asks the network for nothing. `tiles` are (name, value, small print);
    `details` are tables behind a title that opens them.
    """
    return _rendered(
        "finding.html.j2",
        panels,
        palettes,
        title=title,
        headline=headline,
        lead=lead,
        about=about,
        tiles=tiles,
        summary=summary,
        notes=notes,
        panels=panels,
        details=details,
    )


def _rendered(template: str, shown: Sequence[panels.Panel], palettes: dict[str, Any], **content: Any) -> str:
    """Return a page with all that every page needs: the figures that are shown, styles, scripts."""
    scripts = [get_plotlyjs(), asset("page.js")]
    return (
        environment()
        .get_template(template)
        .render(
            table_note=tables.table_note,
            palettes=json_for_script(palettes),
            figures=json_for_script({panel.name: panel.figure.to_plotly_json() for panel in shown}),
            style=Markup(asset("page.css")),
            scripts=[Markup(script) for script in scripts],
            script_hashes=Markup(" ".join(map(csp_hash, scripts))),
            **content,
        )
    )


def json_for_script(value: Any) -> Markup:
    r"""Return JSON that can stand inside a `<script>` element: nothing in it can end the element.

    >>> print(json_for_script({"name": "</script>"}))
    {"name":"\u003c/script\u003e"}
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def asset(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files("downslope.report").joinpath(name).read_text(encoding="utf-8")


def csp_hash(script: str) -> str:
    """Return what allows one script, and no other, in a page's content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def environment() -> Environment:
    """Return how templates are filled in: everything escaped, nothing undefined passed over."""
    return Environment(
        loader=PackageLoader("downslope.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
