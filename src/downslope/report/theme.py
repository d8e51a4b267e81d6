"""One look for all figures, in light and in dark.

Figures are drawn in the light colours. The page swaps each light colour for its dark partner, so a
figure is described once; no light colour may appear twice, or its partner would be ambiguous.
"""

import html
from typing import Any

import plotly.graph_objects as go

from downslope.report.formatting import both_ends

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1c2127",
    "muted": "#5d6873",
    "line": "#c9d0d7",
    "grid": "#e9ecf0",
    "train": "#8c96a1",
    "accent": "#0b66c3",
    "cell": "#f4f6f9",
    "cell_full": "#1a6fc9",
    "wash": "rgba(11,102,195,0.09)",
    "layer_1": "#0a7d6c",
    "layer_2": "#a0590b",
    "layer_3": "#8a3fb0",
    "layer_4": "#c2356b",
    "layer_5": "#4f6d0c",
}
DARK = {
    "paper": "#14171b",
    "ink": "#e7eaed",
    "muted": "#9ba6b1",
    "line": "#454d56",
    "grid": "#272c32",
    "train": "#7f8a95",
    "accent": "#6db3ff",
    "cell": "#1c2127",
    "cell_full": "#4a9bf0",
    "wash": "rgba(109,179,255,0.12)",
    "layer_1": "#4fd1bd",
    "layer_2": "#f0ab55",
    "layer_3": "#cf9bf0",
    "layer_4": "#ff8fb3",
    "layer_5": "#b5d45a",
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_AXIS = {
    "gridcolor": LIGHT["grid"],
    "linecolor": LIGHT["line"],
    "tickcolor": LIGHT["line"],
    "tickfont": {"color": LIGHT["muted"], "size": 12},
    "title": {"font": {"color": LIGHT["muted"], "size": 13}, "standoff": 10},
    "zeroline": False,
    "automargin": True,
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "color": LIGHT["ink"], "size": 13},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": [LIGHT["accent"], LIGHT["train"]],
        "margin": {"l": 56, "r": 16, "t": 36, "b": 48},
        "xaxis": _AXIS | {"showgrid": False, "showline": True, "ticks": "outside", "ticklen": 4},
        "yaxis": _AXIS,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "xanchor": "left",
            "yanchor": "bottom",
            "font": {"color": LIGHT["muted"]},
            "bgcolor": "rgba(0,0,0,0)",
        },
        "hoverlabel": {
            "bgcolor": LIGHT["paper"],
            "bordercolor": LIGHT["line"],
            "font": {"family": FONT, "color": LIGHT["ink"], "size": 13},
            "align": "left",
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": LIGHT["line"], "activecolor": LIGHT["accent"]},
        "uirevision": "same",  # a zoom survives the change between light and dark
    }
)


def figure(*traces: Any, height: int, **layout: Any) -> go.Figure:
    """Return a figure in the house look; `layout` goes to Plotly as it is."""
    return go.Figure(data=list(traces), layout={"template": TEMPLATE, "height": height, **layout})


def as_text(value: Any, limit: int = 28) -> str:
    """Return `value` so that Plotly shows it letter for letter: its labels understand some HTML tags."""
    return html.escape(both_ends(value, limit), quote=False)


def on_paper(drawn: go.Figure) -> go.Figure:
    """Return a figure that stands by itself, on white: there is no page around it that has a ground."""
    return drawn.update_layout(paper_bgcolor=LIGHT["paper"], plot_bgcolor=LIGHT["paper"])
