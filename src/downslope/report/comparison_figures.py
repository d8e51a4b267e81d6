"""A comparison, drawn: losses side by side, held-out losses seed by seed, rates tried, who was fastest."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from downslope.report.figures import log_axis, spans
from downslope.report.theme import DARK, LIGHT, as_text, figure

# (light, dark) for each arm, in the order of the arms
SERIES = (
    ("#0b66c3", "#6db3ff"),
    ("#c2410c", "#ff9a62"),
    ("#15803d", "#5fd38a"),
    ("#9333ea", "#c99bff"),
    ("#b91c5c", "#ff86b0"),
    ("#a16207", "#e6b84a"),
    ("#475569", "#a9b8cc"),
    ("#0e8f9c", "#4fd1dd"),
    ("#7c2d12", "#d9a08a"),
    ("#4d7c0f", "#a5d65a"),
)
DASHES = ("solid", "dash", "dot")  # for the second and third ten arms
UNITS = {"passes": "passes over the training rows", "seconds": "seconds of training"}


def palettes() -> dict[str, dict[str, str]]:
    """Return the colours of the theme and of the arms, light and dark, by name."""
    light, dark = dict(LIGHT), dict(DARK)
    for place, (in_light, in_dark) in enumerate(SERIES):
        light |= {f"arm-{place}": in_light, f"band-{place}": _band(in_light)}
        dark |= {f"arm-{place}": in_dark, f"band-{place}": _band(in_dark)}
    return {"light": light, "dark": dark}


def loss_figure(results: dict[str, Any], unit: str) -> go.Figure:
    """Return each arm's validation loss against ``"passes"`` or ``"seconds"``: median and range over seeds.

    An arm whose runs mostly diverged is drawn as far as its numbers go, with a cross where they end.
    """
    arms, target, start = results["arms"], results["target_loss"], results["start_loss"]
    traces: list[Any] = []
    shown = [start]
    for place, arm in enumerate(arms):
        x, median, low, high = _over_seeds(arm, unit)
        skip = 1 if unit == "seconds" else 0  # a log axis has no 0
        x, median, low, high = x[skip:], median[skip:], low[skip:], high[skip:]
        shown += [value for value in median if value is not None]
        traces += _band_traces(place, arm["name"], x, low, high) if len(arm["runs"]) > 1 else []
        traces.append(
            go.Scatter(
                x=x,
                y=median,
                name=_name(arm),
                legendgroup=arm["name"],
                mode="lines+markers" if len(x) < 3 else "lines",
                line=arm_line(place),
                hovertemplate="%{y:.4~g}",
            )
        )
        if arm["summary"]["diverged"] == len(arm["runs"]) and x:
            traces.append(_cross(place, arm["name"], x[-1], median[-1]))
    lowest, highest = min(shown), start + 0.1 * abs(start - min(shown))
    log = lowest > 0 and highest > 2.5 * lowest
    visible = [lowest, min(max(shown), highest)]
    margin = 1.12 if log else 1.0
    bounds = [lowest / margin, visible[1] * margin]
    if not log:
        room = 0.06 * (bounds[1] - bounds[0])
        bounds = [bounds[0] - room, bounds[1] + room]
    axis = log_axis(visible, log)
    shapes, annotations = [], []
    if target is not None:
        where = math.log10(target) if log else target
        shapes.append(horizontal(target))
        annotations.append(label("target", where))
    x_axis: dict[str, Any] = {"title": {"text": UNITS[unit]}, "rangemode": "tozero"}
    if unit == "seconds":
        times = [second for arm in arms for run in arm["runs"] for second in run["seconds"][1:]]
        x_axis = {"title": {"text": UNITS[unit] + " (log scale)"}, **log_axis(times, log=True)}
    return figure(
        *traces,
        height=420,
        xaxis=x_axis,
        yaxis={
            "title": {"text": "validation loss"},
            **axis,
            "range": [math.log10(bound) for bound in bounds] if log else bounds,
        },
        shapes=shapes,
        annotations=annotations,
        hovermode="x unified" if unit == "passes" else "closest",
    )


def held_out_figure(results: dict[str, Any]) -> go.Figure:
    """Return the held-out loss of every run, a dot each, with the median of each arm; best arm on top."""
    order = results["ranking"]
    arms = [(place, results["arms"][place]) for place in order]
    losses = {place: _held_out(arm) for place, arm in arms}
    every = [loss for own in losses.values() for loss in own]
    traces: list[Any] = []
    annotations: list[dict[str, Any]] = []
    for row, (place, arm) in enumerate(arms):
        colour = SERIES[place % len(SERIES)][0]
        seeds = [f"seed {run['seed']}" for run in arm["runs"] if run["metrics"]]
        traces.append(
            go.Scatter(
                x=losses[place],
                y=[row] * len(losses[place]),
                mode="markers",
                marker={"color": colour, "size": 9, "opacity": 0.55},
                text=seeds,
                hovertemplate="%{text}: %{x:.4~g}<extra></extra>",
            )
        )
        median = arm["summary"]["held_out_loss"]["median"]
        if median is not None:
            traces.append(
                go.Scatter(
                    x=[median],
                    y=[row],
                    mode="markers",
                    marker={"symbol": "line-ns", "size": 22, "line": {"width": 3, "color": colour}},
                    hovertemplate="median: %{x:.4~g}<extra></extra>",
                )
            )
        diverged = arm["summary"]["diverged"]
        if diverged:
            text = f"{diverged} of {len(arm['runs'])} diverged"
            annotations.append(_note(text, row))
    return figure(
        *traces,
        height=110 + 38 * len(arms),
        showlegend=False,
        xaxis={
            "title": {"text": f"{results['measured_on']} loss"},
            **(log_axis(every, spans(every, factor=8)) if every else {}),
            "showgrid": True,
        },
        yaxis={
            "tickvals": list(range(len(arms))),
            "ticktext": [as_text(arm["name"]) for _, arm in arms],
            "range": [len(arms) - 0.5, -0.5],
            "showgrid": False,
        },
        annotations=annotations,
        margin={"l": 56, "r": 16, "t": 12, "b": 48},
    )


def rates_figure(results: dict[str, Any]) -> go.Figure | None:
    """Return what each learning rate that was tried led to; None where none was tried.

    A search has no learning rate, and is left out.
    """
    arms = [
        (place, arm)
        for place, arm in enumerate(results["arms"])
        if arm["trials"] and not arm["rule"].endswith("-search")
    ]
    losses = [t["validation_loss"] for _, arm in arms for t in arm["trials"] if t["validation_loss"]]
    if not losses:
        return None
    log = spans(losses, factor=4)
    top = max(losses) * (1.3 if log else 1.05)
    traces: list[Any] = []
    for place, arm in arms:
        tried = [t["learning_rate"] for t in arm["trials"]]
        found = [t["validation_loss"] for t in arm["trials"]]
        traces.append(
            go.Scatter(
                x=tried,
                y=found,
                name=_name(arm),
                legendgroup=arm["name"],
                mode="lines+markers",
                line=arm_line(place),
                marker={
                    "symbol": ["circle" if rate == arm["learning_rate"] else "circle-open" for rate in tried],
                    "size": [12 if rate == arm["learning_rate"] else 6 for rate in tried],
                },
                hovertemplate="rate %{x:.3~g}: %{y:.4~g}",
            )
        )
        failed = [rate for rate, loss in zip(tried, found, strict=True) if loss is None]
        if failed:
            traces.append(_crosses(place, arm["name"], failed, [top] * len(failed)))
    rates = [t["learning_rate"] for _, arm in arms for t in arm["trials"]]
    return figure(
        *traces,
        height=380,
        xaxis={"title": {"text": "learning rate (log scale)"}, **log_axis(rates, log=True)},
        yaxis={"title": {"text": "lowest validation loss"}, **log_axis(losses, log)},
        hovermode="closest",
    )


def profile_figure(results: dict[str, Any]) -> go.Figure:
    """Return the performance profile: in what share of the races an arm was within a factor of the best."""
    profile = results["profile"]
    factors = profile["factors"]
    traces = [
        go.Scatter(
            x=factors,
            y=profile["shares"][arm["name"]],
            name=_name(arm),
            mode="lines",
            line=arm_line(place) | {"shape": "hv"},
            hovertemplate="%{y:.0%}",
        )
        for place, arm in enumerate(results["arms"])
    ]
    ticks = [1, 2, 4, 8, 16, 32, 64]
    return figure(
        *traces,
        height=400,
        xaxis={
            "title": {"text": "times the passes of the fastest"},
            "type": "log",
            "tickvals": ticks,
            "ticktext": [f"{tick}×" for tick in ticks],
            "range": [0, math.log10(factors[-1])],
        },
        yaxis={"title": {"text": "share of races"}, "range": [-0.03, 1.05], "tickformat": ".0%"},
        hovermode="x unified",
    )


def _over_seeds(arm: dict[str, Any], unit: str) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
    """Return x, median, lowest and highest at each measurement, over the runs that did not diverge.

    Where all did, over all of them, as far as the shortest has numbers.
    """
    runs = [run for run in arm["runs"] if not run["diverged"]] or arm["runs"]
    points = min(len([loss for loss in run["losses"] if loss is not None]) for run in runs)
    losses = np.array([run["losses"][:points] for run in runs], np.float64)  # (runs, points)
    x = np.median([run[unit][:points] for run in runs], axis=0)
    columns = x, np.median(losses, axis=0), losses.min(axis=0), losses.max(axis=0)
    x, median, low, high = ([float(f"{value:.6g}") for value in column] for column in columns)
    return x, median, low, high


def _band_traces(
    place: int, name: str, x: Sequence[Any], low: Sequence[Any], high: Sequence[Any]
) -> list[Any]:
    common = {"x": x, "legendgroup": name, "showlegend": False, "hoverinfo": "skip", "mode": "lines"}
    line = {"width": 0, "color": SERIES[place % len(SERIES)][0]}
    fill = _band(SERIES[place % len(SERIES)][0])
    return [
        go.Scatter(y=high, line=line, **common),
        go.Scatter(y=low, line=line, fill="tonexty", fillcolor=fill, **common),
    ]


def _cross(place: int, name: str, x: Any, y: Any) -> go.Scatter:
    return _crosses(place, name, [x], [y])


def _crosses(place: int, name: str, x: Sequence[Any], y: Sequence[Any]) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        legendgroup=name,
        showlegend=False,
        marker={"symbol": "x", "size": 9, "color": SERIES[place % len(SERIES)][0]},
        hovertemplate="%{x:.3~g}: diverged<extra></extra>",
    )


def _name(arm: dict[str, Any]) -> str:
    diverged = arm["summary"]["diverged"]
    return as_text(arm["name"]) + (f" ({diverged} of {len(arm['runs'])} diverged)" if diverged else "")


def _held_out(arm: dict[str, Any]) -> list[float]:
    return [run["metrics"]["loss"] for run in arm["runs"] if run["metrics"]]


def arm_line(place: int) -> dict[str, Any]:
    """Return the colour, width and dash of an arm's line."""
    dash = DASHES[place // len(SERIES) % len(DASHES)]
    return {"color": SERIES[place % len(SERIES)][0], "width": 2, "dash": dash}


def _band(colour: str) -> str:
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return f"rgba({','.join(map(str, parts))},0.13)"


def horizontal(y: float) -> dict[str, Any]:
    """Return a dotted line across the figure at the height y."""
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "layer": "below",
        "line": {"color": LIGHT["muted"], "width": 1, "dash": "dot"},
    }


def label(text: str, y: float) -> dict[str, Any]:
    """Return a text at the right end of the figure, above the height y."""
    return {
        "text": text,
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "y": y,
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"color": LIGHT["muted"], "size": 12},
    }


def _note(text: str, row: int) -> dict[str, Any]:
    return label(text, row) | {"yanchor": "middle", "xanchor": "right"}
