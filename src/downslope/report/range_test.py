"""The range test, drawn: loss over growing learning rates, and where it suggests to look."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from downslope.report.theme import LIGHT, figure

MARKS = ("circle", "diamond", "square", "triangle-up")


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
        xaxis={"title": {"text": "learning rate"}, "type": "log", "dtick": 1, "exponentformat": "power"},
        yaxis={"title": {"text": "loss, as if all batches were alike"}, "range": [low, high]},
    )


def _window(smoothed: Sequence[float]) -> tuple[float, float]:
    """Return the losses worth seeing: not how far a diverging curve flies off."""
    if len(smoothed) == 0:
        return 0.0, 1.0
    low, first = min(smoothed), smoothed[0]
    high = max(first, low) + 0.5 * (abs(first - low) or 1.0)
    return low - 0.08 * (high - low), high
