"""The trained model, drawn: what it predicts against what is true, on rows it did not learn from."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from downslope.report.formatting import is_number, percent
from downslope.report.theme import LIGHT, as_text, figure

MAX_CLASSES_WITH_TEXT = 30
MAX_CLASSES = 60
"""More classes than this make a confusion matrix nobody can read; the table by class remains."""
MAX_POINTS = 2000
MAX_COLUMNS = 20


def confusion_figure(classes: Sequence[Any], confusion: Sequence[Sequence[float]]) -> go.Figure:
    """Return the confusion matrix: rows actual, columns predicted, colour by share of the row."""
    names = [as_text(name, limit=22) for name in classes]
    shares = [[count / (sum(row) or 1) for count in row] for row in confusion]
    places = list(range(len(names)))
    size = cell_size(len(names))
    written = len(names) <= MAX_CLASSES_WITH_TEXT
    axis: dict[str, Any] = {
        "showgrid": False,
        "showline": False,
        "ticks": "",
        "tickmode": "array",
        "tickvals": places,
        "ticktext": names,
    }
    return figure(
        go.Heatmap(
            x=places,
            y=places,
            z=[[round(share, 5) for share in row] for row in shares],
            zmin=0,
            zmax=1,
            colorscale=[[0, LIGHT["cell"]], [1, LIGHT["cell_full"]]],
            showscale=False,
            xgap=2 if written else 0,
            ygap=2 if written else 0,
            text=_cell_texts(confusion, shares) if written else None,
            texttemplate="%{text}" if written else None,
            textfont={"size": 13 if size > 60 else 10},
            customdata=_cell_descriptions(names, confusion, shares),
            hovertemplate="%{customdata}<extra></extra>",
        ),
        height=size * len(names) + 120,
        xaxis={
            "title": {"text": "predicted"},
            "side": "bottom",
            **({"autotickangles": [0, -60]} if size > 60 else {"tickangle": -60}),
            "ticklabeloverflow": "allow",  # else the last is left out, and the others never turn
            **axis,
        },
        yaxis={"title": {"text": "actual"}, "autorange": "reversed", **axis},
        margin={"l": 56, "r": 12, "t": 12, "b": 56},
    )


def cell_size(classes: int) -> int:
    """Return the height of one cell in pixels, so that its text fits."""
    if classes <= 4:
        return 84
    if classes <= 12:
        return 64 if classes <= 8 else 50
    return 34 if classes <= MAX_CLASSES_WITH_TEXT else 16


def confusion_width(classes: int) -> int:
    """Return the smallest width in pixels at which the cells' text can be read."""
    return 130 + classes * (58 if classes <= 12 else 34 if classes <= MAX_CLASSES_WITH_TEXT else 16)


def _cell_texts(confusion: Sequence[Sequence[float]], shares: Sequence[Sequence[float]]) -> list[list[str]]:
    return [
        [
            f"{_brief(count)}<br>{100 * share:.0f}%" if count else ""
            for count, share in zip(row, part, strict=True)
        ]
        for row, part in zip(confusion, shares, strict=True)
    ]


def _brief(count: float) -> str:
    return f"{count:,}" if count < 10_000 else f"{count / 1000:,.0f}k"


def _cell_descriptions(
    names: Sequence[str], confusion: Sequence[Sequence[float]], shares: Sequence[Sequence[float]]
) -> list[list[str]]:
    return [
        [
            f"actual {names[actual]}<br>predicted {names[guess]}<br>{count:,} rows, {percent(share)}"
            for guess, (count, share) in enumerate(zip(row, part, strict=True))
        ]
        for actual, (row, part) in enumerate(zip(confusion, shares, strict=True))
    ]


def predicted_figure(actual: Sequence[Any], predicted: Sequence[Any], unit: str) -> go.Figure:
    """Return predicted against actual, one point per row, with the line of perfect prediction."""
    pairs = finite_pairs(actual, predicted)
    everything = [value for pair in pairs for value in pair] or [0.0, 1.0]
    ends = [min(everything), max(everything)]
    return figure(
        _line(ends, ends),
        _points([a for a, _ in pairs], [p for _, p in pairs], "actual %{x:,.4~g}<br>predicted %{y:,.4~g}"),
        height=400,
        xaxis={"title": {"text": f"actual {as_text(unit)}"}, "nticks": 6},
        yaxis={"title": {"text": f"predicted {as_text(unit)}"}, "nticks": 8},
        **_PLAIN,
    )


def residual_figure(actual: Sequence[Any], predicted: Sequence[Any], unit: str) -> go.Figure:
    """Return predicted − actual against predicted, one point per row, with the line of no error."""
    pairs = finite_pairs(actual, predicted)
    guesses = [p for _, p in pairs] or [0.0, 1.0]
    return figure(
        _line([min(guesses), max(guesses)], [0, 0]),
        _points(
            [p for _, p in pairs],
            [float(f"{p - a:.6g}") for a, p in pairs],
            "predicted %{x:,.4~g}<br>off by %{y:+,.4~g}",
        ),
        height=400,
        xaxis={"title": {"text": f"predicted {as_text(unit)}"}, "nticks": 6},
        yaxis={"title": {"text": "predicted − actual"}, "nticks": 8},
        **_PLAIN,
    )


def reliability_figure(confidence: Sequence[Any], accuracy: Sequence[Any], count: Sequence[Any]) -> go.Figure:
    """Return how often the model is right, against how sure it says it is; points sized by rows."""
    bins = [
        (c, a, n)
        for c, a, n in zip(confidence, accuracy, count, strict=True)
        if is_number(c) and is_number(a) and is_number(n) and n > 0
    ]
    most = max((n for *_, n in bins), default=1)
    return figure(
        _line([0, 1], [0, 1]),
        go.Scatter(
            x=[c for c, *_ in bins],
            y=[a for _, a, _ in bins],
            mode="lines+markers",
            line={"color": LIGHT["accent"], "width": 1.5},
            marker={
                "color": LIGHT["accent"],
                "size": [6 + 16 * (n / most) ** 0.5 for *_, n in bins],
                "opacity": 1,
                "line": {"width": 0},
            },
            text=[f"{n:,} rows" for *_, n in bins],
            hovertemplate="sure %{x:.1%}<br>right %{y:.1%}<br>%{text}<extra></extra>",
            cliponaxis=False,
        ),
        height=360,
        xaxis={"title": {"text": "how sure it was"}, "tickformat": ".0%", "range": [0, 1.02], "nticks": 6},
        yaxis={
            "title": {"text": "how often it was right"},
            "tickformat": ".0%",
            "range": [0, 1.02],
            "nticks": 6,
        },
        **_PLAIN,
    )


def importance_figure(columns: Sequence[Any], rise: Sequence[Any], spread: Sequence[Any]) -> go.Figure:
    """Return how much the loss rises when each column is shuffled, the most important on top."""
    rows = [
        (as_text(name, 26), mean, off)
        for name, mean, off in zip(columns, rise, spread, strict=True)
        if is_number(mean) and is_number(off)
    ][:MAX_COLUMNS]
    return figure(
        go.Bar(
            x=[float(f"{mean:.5g}") for _, mean, _ in rows],
            y=list(range(len(rows))),
            orientation="h",
            marker={"color": LIGHT["accent"]},
            error_x={
                "type": "data",
                "array": [float(f"{off:.3g}") for *_, off in rows],
                "color": LIGHT["ink"],
                "thickness": 1.5,
                "width": 4,
            },
            text=[name for name, *_ in rows],
            textposition="none",
            hovertemplate="%{text}<br>loss + %{x:.3~g}<extra></extra>",
        ),
        height=24 * len(rows) + 90,
        xaxis={"title": {"text": "the loss rises by"}, "nticks": 6, "zeroline": True},
        yaxis={
            "tickmode": "array",
            "tickvals": list(range(len(rows))),
            "ticktext": [name for name, *_ in rows],
            "autorange": "reversed",
            "showgrid": False,
        },
        **_PLAIN,
    )


def dead_figure(shares: Sequence[tuple[str, float]]) -> go.Figure:
    """Return the share of dead units by hidden layer."""
    highest = max((share for _, share in shares), default=0.0)
    return figure(
        go.Bar(
            x=[as_text(name, 20) for name, _ in shares],
            y=[round(share, 5) for _, share in shares],
            marker={"color": LIGHT["accent"]},
            hovertemplate="%{x}: %{y:.1%}<extra></extra>",
        ),
        height=300,
        xaxis={"title": {"text": ""}, "type": "category"},
        yaxis={
            "title": {"text": "units that died"},
            "tickformat": ".0%",
            "range": [0, max(0.1, min(1.0, 1.2 * highest))],
        },
        **_PLAIN,
    )


def roc_figure(fpr: Sequence[Any], tpr: Sequence[Any]) -> go.Figure:
    """Return the true positive rate against the false positive rate, over all thresholds."""
    pairs = finite_pairs(fpr, tpr)
    return figure(
        _line([0, 1], [0, 1]),
        go.Scatter(
            x=[f for f, _ in pairs],
            y=[t for _, t in pairs],
            mode="lines",
            line={"color": LIGHT["accent"], "width": 2},
            fill="tozeroy",
            fillcolor=LIGHT["wash"],
            hovertemplate="false alarms %{x:.1%}<br>found %{y:.1%}<extra></extra>",
        ),
        height=360,
        xaxis={"title": {"text": "false alarms"}, "tickformat": ".0%", "range": [0, 1.01], "nticks": 6},
        yaxis={"title": {"text": "found"}, "tickformat": ".0%", "range": [0, 1.02], "nticks": 6},
        **_PLAIN,
    )


_PLAIN: dict[str, Any] = {
    "showlegend": False,
    "hovermode": "closest",
    "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
}


def finite_pairs(first: Sequence[Any], second: Sequence[Any]) -> list[tuple[float, float]]:
    """Return the pairs in which both are finite, thinned evenly to `MAX_POINTS`, six digits each."""
    pairs = [
        (float(f"{a:.6g}"), float(f"{b:.6g}"))
        for a, b in zip(first, second, strict=True)
        if is_number(a) and is_number(b)
    ]
    if len(pairs) <= MAX_POINTS:
        return pairs
    return [pairs[round(i * (len(pairs) - 1) / (MAX_POINTS - 1))] for i in range(MAX_POINTS)]


def _line(x: Sequence[float], y: Sequence[float]) -> go.Scatter:
    return go.Scatter(
        x=list(x),
        y=list(y),
        mode="lines",
        line={"color": LIGHT["muted"], "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )


def _points(x: list[float], y: list[float], hover: str) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"color": LIGHT["accent"], "size": 5, "opacity": 0.35},
        hovertemplate=hover + "<extra></extra>",
    )
