"""Losses looked at against dimensions, drawn: what descent needs, and what brute force would."""

import math
from typing import Any

import plotly.graph_objects as go

from downslope.report.comparison_figures import arm_line, horizontal, label
from downslope.report.theme import figure

HIGHEST_POWER = 40  # of ten that the figure shows; what is higher leaves the picture
SECONDS_SINCE_BIG_BANG = 4.35e17
METHODS = {"descent": "gradient descent", "random-search": "random search", "grid-search": "grid search"}


def dimensions_figure(results: dict[str, Any]) -> go.Figure:
    """Return losses looked at against dimensions, both on log scales; what was not measured is dashed."""
    traces: list[Any] = []
    for place, (method, title) in enumerate(METHODS.items()):
        rows = [row for row in results["rows"] if row["method"] == method]
        measured = [row for row in rows if row["measured"]]
        formula = rows[max(len(measured) - 1, 0) :]
        line = arm_line(place)
        traces.append(
            go.Scatter(
                x=[row["dimensions"] for row in measured],
                y=[row["log10"] for row in measured],
                text=[power(row["log10"]) for row in measured],
                name=title,
                legendgroup=method,
                mode="lines+markers",
                line=line,
                marker={"size": 8},
                hovertemplate="%{x} dimensions: %{text} losses",
            )
        )
        if any(not row["measured"] for row in rows):
            traces.append(
                go.Scatter(
                    x=[row["dimensions"] for row in formula],
                    y=[row["log10"] for row in formula],
                    text=[power(row["log10"]) for row in formula],
                    name=f"{title}, by the formula",
                    legendgroup=method,
                    showlegend=False,
                    mode="lines+markers",
                    line=line | {"dash": "dot"},
                    marker={"size": 6, "symbol": "circle-open"},
                    hovertemplate="%{x} dimensions: %{text} losses, by the formula",
                )
            )
    highest = max(row["log10"] for row in results["rows"])
    top = min(HIGHEST_POWER, max(8.0, 1.06 * highest))
    stride = 2 if top <= 14 else 5
    powers = list(range(0, int(top) + 1, stride))
    every = sorted({row["dimensions"] for row in results["rows"]})
    age = math.log10(1e6 * SECONDS_SINCE_BIG_BANG)
    shapes = [horizontal(age)] if age < top else []
    labels = [label("10⁶ a second since the Big Bang", age)] if age < top else []
    return figure(
        *traces,
        height=460,
        xaxis={
            "title": {"text": "dimensions: numbers to be found (log scale)"},
            "type": "log",
            "tickvals": every,
            "ticktext": [f"{dimension:,}" for dimension in every],
        },
        yaxis={
            "title": {"text": "losses looked at (log scale)"},
            "tickvals": powers,
            "ticktext": [ten_to(power) if power else "1" for power in powers],
            "range": [-0.04 * top, top],
        },
        shapes=shapes,
        annotations=labels,
        hovermode="closest",
    )


def power(log10: float) -> str:
    """Return 10^log10 as people read it.

    >>> power(1.0), power(4.2), power(7.301), power(1833.97)
    ('10', '15,800', '2 · 10⁷', '10¹⁸³⁴')
    """
    if log10 < 6:
        value = 10**log10
        return f"{float(f'{value:.3g}'):,.0f}" if value >= 10 else f"{value:.2g}"
    if log10 >= 100:
        return ten_to(round(log10))
    whole = math.floor(log10)
    mantissa = f"{10 ** (log10 - whole):.1f}".removesuffix(".0")
    round_numbers = {"1": ten_to(whole), "10": ten_to(whole + 1)}
    return round_numbers.get(mantissa, f"{mantissa} · {ten_to(whole)}")


def ten_to(exponent: int) -> str:
    """Return 10 with its exponent above the line."""
    return "10" + str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
