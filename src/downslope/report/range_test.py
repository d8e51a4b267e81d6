"""The range test, drawn: loss over growing learning rates, and where it suggests to look."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from downslope.report.formatting import counted, duration, file_name, number, shortened
from downslope.report.page import render_finding
from downslope.report.panels import Panel
from downslope.report.tables import Table
from downslope.report.theme import LIGHT, figure

READING = (
    "Every step was taken at a larger rate than the one before, left to right. Where the curve stands still "
    "the steps are too small to matter, where it falls they help, where it turns up they overshoot. Some "
    "batches are harder than others at any rate; that difference, measured at the start, is taken out, so "
    "the loss of a single batch may be drawn below 0."
)
MARKS = ("circle", "diamond", "square", "triangle-up")


def render_range_test(
    *,
    data: str,
    optimizer: str,
    figure: go.Figure,
    suggestions: Mapping[str, float],
    meanings: Mapping[str, str],
    confidence: str,
    note: str,
    steps: int,
    seconds: float,
) -> str:
    """Return the page of a range test: one file that asks the network for nothing."""
    first = next(iter(suggestions))
    is_seen = first in meanings
    found = f"A good learning rate for {optimizer} may lie near {number(suggestions[first])}"
    rows = [[name, number(rate), meanings.get(name, "")] for name, rate in suggestions.items()]
    return render_finding(
        title=f"Range test of {shortened(file_name(data), 60)}",
        headline=f"{found}." if is_seen else "The curve shows no learning rate.",
        lead=f"The confidence in it is {confidence}: {note}.",
        about=[f"{counted(steps, 'step')} of {optimizer} in {duration(seconds)}"],
        summary=Table(["reading", "learning rate", "what it is"], rows, frozenset({1})),
        notes=[
            "It is an estimate, quick and rough: one descent over one order of the batches. Training does "
            "not rely on it, but on a race between several rates."
        ],
        panels=[Panel("range-test", "The loss as the learning rate grows", figure, READING)],
    )


def range_test_figure(
    learning_rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggestions: Mapping[str, float],
) -> go.Figure:
    """Return the loss of each step's batch and its running average, with the suggestions marked on it."""
    traces = [
        go.Scatter(
            x=learning_rates,
            y=losses,
            name="each batch",
            mode="lines",
            line={"color": LIGHT["line"], "width": 1},
            hoverinfo="skip",
        ),
        go.Scatter(
            x=learning_rates,
            y=smoothed,
            name="running average",
            mode="lines",
            line={"color": LIGHT["accent"], "width": 2},
            hovertemplate="rate %{x:.2~g}: loss %{y:.4~g}<extra></extra>",
        ),
    ]
    for (name, rate), symbol in zip(suggestions.items(), MARKS, strict=False):
        if len(learning_rates) == 0:
            break
        place = min(range(len(learning_rates)), key=lambda i, rate=rate: abs(learning_rates[i] / rate - 1))
        traces.append(
            go.Scatter(
                x=[learning_rates[place]],
                y=[smoothed[place]],
                name=f"{name}: {rate:.2g}",
                mode="markers",
                marker={"color": LIGHT["ink"], "size": 10, "symbol": symbol},
                hoverinfo="name",
            )
        )
    low, high = _window(smoothed)
    return figure(
        *traces,
        height=420,
        xaxis={"title": {"text": "learning rate"}, "type": "log", "dtick": 1, "tickformat": "~g"},
        yaxis={"title": {"text": "loss, as if all batches were alike"}, "range": [low, high]},
    )


def _window(smoothed: Sequence[float]) -> tuple[float, float]:
    """Return the losses worth seeing: not how far a diverging curve flies off."""
    if len(smoothed) == 0:
        return 0.0, 1.0
    low, first = min(smoothed), smoothed[0]
    high = max(first, low) + 0.5 * (abs(first - low) or 1.0)
    return low - 0.08 * (high - low), high
