"""results.json of a comparison → tables, panels, sentences, and one self-contained page."""

import html
import math
from collections.abc import Iterator, Sequence
from typing import Any

from downslope.report import comparison_figures as figures, tables
from downslope.report.dimensions_figure import METHODS, dimensions_figure, power
from downslope.report.formatting import (
    ABSENT,
    counted,
    duration,
    file_name,
    grouped,
    is_number,
    number,
    percent,
    r_squared,
    shortened,
)
from downslope.report.page import render_finding
from downslope.report.panels import Panel
from downslope.report.tables import Table, setting

COLUMN = {
    "rules": "update rule",
    "batch-sizes": "rows per gradient",
    "learning-rates": "learning rate",
    "auto-rates": "learning rate",
}
SHORT = 0.5  # an arm that came less of the way down is named
METRICS = {"accuracy": ("accuracy", percent), "r2": ("R²", r_squared)}
READING = {
    "passes": (
        "Each line is the median over the seeds that did not diverge (over all where every one did), the "
        "band the lowest and the highest of them; lower is better. One pass is one gradient for every "
        "training row, or three losses for every row. A seed reaches the target where its own curve first "
        "touches it, which may be before the median does."
    ),
    "seconds": (
        "The same lines against the clock of this machine: time spent stepping, without compiling and "
        "measuring. A rule with cheaper steps, or larger batches, moves to the left."
    ),
    "test": (
        "One dot per seed, on rows that were neither trained nor chosen on; the bar is the median. Arms "
        "whose dots overlap are not told apart by this comparison."
    ),
    "validation": (
        "One dot per seed, on the rows by which rates and weights were chosen, so a little too good: there "
        "are no test rows. The bar is the median. Arms whose dots overlap are not told apart by this "
        "comparison."
    ),
    "rates": (
        "Every rate was trained for the whole budget from the first seed, as drawn, and the best three "
        "from the second too; the lowest mean was chosen (filled). To the left of it steps are too small, "
        "to the right too large; a cross diverged."
    ),
    "profile": (
        "Every seed with every one of five targets (the loss one half, three quarters, 90, 95 and "
        "98\N{NO-BREAK SPACE}% of the way down) is a race. At 1× stands how often an arm was the fastest; at "
        "the right end, how often it arrived at all. Higher is better."
    ),
    "dimensions": (
        "Descent asks the gradient which way is down, and the answer has as many parts as there are "
        "dimensions. A search only ever learns one number per look, and the share of its box that is good "
        "enough shrinks faster than any power. Dotted: not run, but computed with the formulas above."
    ),
}
FORMULAS = (
    "The problem: f(w) = ½ (w − w*)ᵀ H (w − w*) with random directions, curvatures between 1 and 10, and a "
    "minimum at (±½, …, ±½); the start is 0, the searches look through the box [−1, 1]ᵈ, and reached is "
    "f ≤ ε = 0.1. A gradient counts as three losses.",
    "Random search: a try succeeds with p = π^(d/2) (2ε)^(d/2) / (Γ(d/2 + 1) · 10^(d/4) · 2ᵈ), the share of "
    "the box that is low enough; half of all searches need more than ln 2 / p tries.",
    "Grid search: kᵈ points with k = ⌈√(10 d / 2ε)⌉ per axis, the coarsest grid that is sure to hold one "
    "that is low enough; on average half of it is walked, ½ kᵈ tries.",
)


def headlines(results: dict[str, Any]) -> list[str]:
    """Return what came of it: the verdict first, then who was fastest, and what diverged."""
    if results["compared"] == "dimensions":
        return _dimension_headlines(results["rows"])
    said = [results["verdict"]]
    arms = results["arms"]
    arrived = [arm for arm in arms if arm["summary"]["passes_to_target"]["median"] is not None]
    if arrived:
        fewest = min(arm["summary"]["passes_to_target"]["median"] for arm in arrived)
        fastest = [arm for arm in arrived if arm["summary"]["passes_to_target"]["median"] == fewest]
        quickest = min(arrived, key=lambda arm: arm["summary"]["seconds_to_target"]["median"])
        seconds = duration(quickest["summary"]["seconds_to_target"]["median"])
        target = number(results["target_loss"], 3)
        said.append(
            f"{' and '.join(arm['name'] for arm in fastest)} needed the fewest passes over the rows to a "
            f"validation loss of {target}: {number(fewest, 3)}"
            + (
                f", in {seconds}."
                if fastest == [quickest]
                else f"; {quickest['name']} the least time: {seconds}."
            )
        )
    for arm in arms:
        share = arm["summary"]["way_down"]
        if share < SHORT and arm["summary"]["validation_loss"]["median"] is not None:
            said.append(f"{arm['name']} came only {percent(round(share, 2))} of the way down.")
    failed = [arm for arm in arms if arm["summary"]["diverged"]]
    said += [
        f"{a['name']} diverged from {a['summary']['diverged']} of {len(a['runs'])} seeds." for a in failed
    ]
    return said


def summary_table(results: dict[str, Any]) -> Table:
    """Return the comparison as a table of text, best arm first."""
    if results["compared"] == "dimensions":
        return _dimension_table(results["rows"])
    name, write = METRICS[results["metric"]]
    header = [
        COLUMN[results["compared"]],
        *(["rate"] if results["compared"] in ("rules", "batch-sizes") else []),
        f"{results['measured_on']} loss",
        "range",
        name,
        "reached target",
        "steps to it",
        "passes to it",
        "time to it",
        "per step",
    ]
    rows = []
    for place in results["ranking"]:
        arm = results["arms"][place]
        said = arm["summary"]
        loss = said["held_out_loss"]
        failed = loss["median"] is None
        rows.append(
            [
                arm["name"],
                *([_rate(arm)] if "rate" in header else []),
                "diverged" if failed else number(loss["median"]),
                _range(loss),
                ABSENT if failed else write(said["metric"]["median"]),
                f"{said['reached']} of {said['runs']}",
                number(_whole(said["steps_to_target"]["median"])),
                number(said["passes_to_target"]["median"], 3),
                duration(said["seconds_to_target"]["median"]),
                _microseconds(said["seconds_per_step"]["median"]),
            ]
        )
    return Table(header, rows, frozenset(range(1, len(header))))


def run_table(results: dict[str, Any]) -> Table | None:
    """Return every run in a line, so that the medians can be checked by hand."""
    if results["compared"] == "dimensions":
        return None
    name, write = METRICS[results["metric"]]
    rows = []
    for place in results["ranking"]:
        arm = results["arms"][place]
        for run in arm["runs"]:
            metrics = run["metrics"] or {}
            losses = [loss for loss in run["losses"] if loss is not None]
            rows.append(
                [
                    arm["name"],
                    number(run["seed"]),
                    number(run["steps"][-1]),
                    duration(run["seconds"][-1]),
                    "diverged" if run["diverged"] else number(min(losses)),
                    number(metrics.get("loss")),
                    write(metrics.get(results["metric"])),
                ]
            )
    header = [
        "arm",
        "seed",
        "steps",
        "time",
        "lowest validation loss",
        f"{results['measured_on']} loss",
        name,
    ]
    return tables.cut(header, rows, range(1, 7))


def flat_table(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one flat row of numbers per arm, best first, or per dimension and method."""
    if results["compared"] == "dimensions":
        return [dict(row) for row in results["rows"]]
    rows = []
    for place in results["ranking"]:
        arm = results["arms"][place]
        row = {name: arm[name] for name in ("name", "rule", "batch_size", "learning_rate")}
        for name, value in arm["summary"].items():
            if isinstance(value, dict):
                row |= {f"{name}_{which}" if which != "median" else name: v for which, v in value.items()}
            else:
                row[name] = value
        rows.append(row)
    return rows


def notes(results: dict[str, Any]) -> list[str]:
    """Return what must be said beside the table: how the target is set, what the searches did."""
    if results["compared"] == "dimensions":
        return list(FORMULAS)
    said = []
    if results.get("target_loss") is not None:
        share = percent(1 - results["tau"])
        said.append(
            f"the target is a validation loss of {number(results['target_loss'])}, {share} of the way from "
            f"{number(results['start_loss'])} at the start to the lowest median of any arm"
        )
    return said + [f"{arm['name']}: {arm['note']}" for arm in results["arms"] if arm["note"]]


def panels(results: dict[str, Any]) -> Iterator[Panel]:
    """Yield every figure with its title and how to read it."""
    if results["compared"] == "dimensions":
        title = "The curse of dimensionality"
        reading = READING["dimensions"]
        yield Panel("dimensions", title, dimensions_figure(results), reading)
        return
    if not results["arms"]:
        return
    reading = READING["passes"]
    yield Panel("loss", "Loss against work", figures.loss_figure(results, "passes"), reading)
    yield Panel("time", "Loss against time", figures.loss_figure(results, "seconds"), READING["seconds"])
    title = f"How good in the end: loss of the {results['measured_on']} rows"
    yield Panel("held-out", title, figures.held_out_figure(results), READING[results["measured_on"]])
    rates = figures.rates_figure(results)
    if rates is not None:
        yield Panel("rates", "Every learning rate that was tried", rates, READING["rates"])
    if results["profile"]["races"] and len(results["arms"]) > 1:
        races = f"{counted(results['profile']['races'], 'race')}."
        drawn = figures.profile_figure(results)
        yield Panel("profile", "Performance profile", drawn, READING["profile"], story=races)


def tiles(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the key figures as (name, value, small print)."""
    seeds = counted(len(results["seeds"]), "seed")
    if results["compared"] == "dimensions":
        rows = results["rows"]
        most = max(row["dimensions"] for row in rows)
        last = {row["method"]: power(row["log10"]) for row in rows if row["dimensions"] == most}
        small = f"losses, {number(most)} dimensions"
        return [(title, last[method], small) for method, title in METHODS.items()]
    name, write = METRICS[results["metric"]]
    best = max((results["arms"][place] for place in results["ranking"]), key=_metric)  # not the lowest loss
    passes = max(run["passes"][-1] for arm in results["arms"] for run in arm["runs"])
    runs = sum(len(arm["runs"]) for arm in results["arms"])
    tried = sum(len(arm["trials"]) for arm in results["arms"])
    return [
        (
            f"best {name}",
            write(best["summary"]["metric"]["median"]),
            f"{best['name']}, {results['measured_on']} rows",
        ),
        ("target", number(results["target_loss"], 3), "validation loss"),
        ("arms", number(len(results["arms"])), f"{counted(runs, 'run')}, {seeds} each"),
        ("rates tried", number(tried), "a whole run each" if tried else "as given"),
        ("budget", f"{number(passes, 3)} passes", "at most, in each run"),
        ("time", duration(results["seconds"]), shortened(grouped(results["devices"]), 40)),
    ]


def render_comparison(results: dict[str, Any], config: dict[str, Any]) -> str:
    """Return the page of a comparison: one file that asks the network for nothing."""
    said = headlines(results)
    shown = list(panels(results))
    about = []
    if results["compared"] != "dimensions":
        about.append(f"{file_name(results['data'])}, {results['model']}")
    if results["interrupted"]:
        about.append("It was interrupted: this is what was finished.")
    runs = run_table(results)
    settings = [[shortened(name), setting(value)] for name, value in config.items()]
    return render_finding(
        title=_title(results),
        headline=said[0],
        lead=" ".join(said[1:]),
        about=about,
        tiles=tiles(results) if shown else [],
        summary=summary_table(results),
        notes=[f"{text[:1].upper()}{text[1:].removesuffix('.')}." for text in notes(results)],
        panels=shown,
        details=[
            *([("Every run", runs)] if runs else []),
            *([("Configuration", tables.cut(["option", "value"], settings))] if settings else []),
        ],
        palettes=figures.palettes(),
    )


def notebook_table(results: dict[str, Any]) -> str:
    """Return the summary as a small HTML table, for notebooks."""
    table = summary_table(results)

    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in table.rows)
    verdict = html.escape(" ".join(headlines(results)))
    return f"<p>{verdict}</p><table><thead>{line(table.header, 'th')}</thead><tbody>{body}</tbody></table>"


def _title(results: dict[str, Any]) -> str:
    if results["compared"] == "dimensions":
        return "Descent against search"
    what = {"rules": "Update rules", "batch-sizes": "Batch sizes"}.get(results["compared"], "Learning rates")
    return f"{what} on {shortened(file_name(results['data']), 60)}"


def _dimension_headlines(rows: list[dict[str, Any]]) -> list[str]:
    most = max(row["dimensions"] for row in rows)
    last = {row["method"]: row for row in rows if row["dimensions"] == most}
    counts = {method: power(row["log10"]) for method, row in last.items()}
    found = [
        f"In {counted(most, 'dimension')} descent looks at {counts['descent']} losses; random search "
        f"{_would(last['random-search'])} {counts['random-search']}, grid search "
        f"{_would(last['grid-search'])} {counts['grid-search']}."
    ]
    for method in ("random-search", "grid-search"):
        own = [row for row in rows if row["method"] == method]
        given_up = [row["dimensions"] for row in own if not row["measured"]]
        if given_up:
            found.append(
                f"From {counted(given_up[0], 'dimension')} on {METHODS[method]} does not finish within the "
                "budget from most seeds; its numbers are the formula's."
            )
    return found


def _would(row: dict[str, Any]) -> str:
    return "looked at" if row["measured"] else "would look at about"


def _dimension_table(rows: list[dict[str, Any]]) -> Table:
    header = ["dimensions", "descent", "random search", "seeds", "grid search", "seeds"]
    lines = []
    for dimension in sorted({row["dimensions"] for row in rows}):
        own = {row["method"]: row for row in rows if row["dimensions"] == dimension}
        line = [number(dimension), power(own["descent"]["log10"])]
        for method in ("random-search", "grid-search"):
            row = own[method]
            arrived = sum(count is not None for count in row["losses"])
            count = power(row["log10"])
            line.append(count if row["measured"] else f"formula: {count}")
            line.append(f"{arrived} of {len(row['losses'])} arrived" if row["tried"] else "not tried")
        lines.append(line)
    return Table(header, lines, frozenset(range(6)))


def _range(values: dict[str, Any]) -> str:
    high = "diverged" if values["high"] is None else number(values["high"])
    return ABSENT if values["low"] is None else f"{number(values['low'])} – {high}"


def _metric(arm: dict[str, Any]) -> float:
    """Return the median metric of an arm; below all others where it diverged."""
    median = arm["summary"]["metric"]["median"]
    return -math.inf if median is None else median


def _rate(arm: dict[str, Any]) -> str:
    rate = number(arm["learning_rate"], 3)
    return f"radius {rate}" if arm["rule"].endswith("-search") else rate


def _whole(value: Any) -> Any:
    return round(value) if is_number(value) else value


def _microseconds(seconds: Any) -> str:
    if not is_number(seconds):
        return ABSENT
    return f"{seconds * 1e6:,.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:,.3g} ms"
