"""The race of the learning rates, drawn: what each arm would give once annealed, and which was taken."""

import math
from typing import Any

import plotly.graph_objects as go

from downslope.report.formatting import is_number, number, shortened
from downslope.report.theme import LIGHT, figure

FATES = {
    "chosen": "nearest to what is taken",
    "tied": "ties or may still catch up",
    "dropped": "dropped",
    "diverged": "diverged",
}


def race_of(events: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the numbers of the latest race among the events, if there was one that can be read."""
    for event in reversed(events):
        values = event.get("values")
        if event.get("kind") == "learning-rate" and isinstance(values, dict):
            arms = values.get("arms")
            if isinstance(arms, list) and all(_is_arm(arm) for arm in arms):
                return {**values, "message": event.get("message", "")}
    return None


def _is_arm(arm: Any) -> bool:
    return isinstance(arm, dict) and is_number(arm.get("learning_rate")) and arm["learning_rate"] > 0


def race_figure(race: dict[str, Any]) -> go.Figure:
    """Return the annealed loss of each arm over its learning rate, with two standard errors of the gap."""
    arms = [arm for arm in race["arms"] if is_number(arm.get("loss"))]
    chosen = [arm for arm in arms if arm.get("fate") == "chosen"]
    others = [arm for arm in arms if arm.get("fate") != "chosen"]
    traces = [
        go.Scatter(
            x=[arm["learning_rate"] for arm in arms],
            y=[arm["loss"] for arm in arms],
            mode="lines",
            line={"color": LIGHT["line"], "width": 1},
            hoverinfo="skip",
            showlegend=False,
        ),
        _points("other arms", others, LIGHT["train"], 8),
        _points("nearest to what is taken", chosen, LIGHT["accent"], 12),
    ]
    if is_number(race.get("learning_rate")):
        traces.append(_upright("taken", race["learning_rate"]))
    diverged = [arm for arm in race["arms"] if not is_number(arm.get("loss"))]
    if diverged:
        traces.append(
            go.Scatter(
                x=[arm["learning_rate"] for arm in diverged],
                y=[1.0] * len(diverged),
                yaxis="y2",
                name="diverged",
                mode="markers",
                marker={"symbol": "x", "color": LIGHT["muted"], "size": 9},
                hovertemplate="learning rate %{x:.2~g}: diverged<extra></extra>",
                cliponaxis=False,
            )
        )
    rates = [arm["learning_rate"] for arm in race["arms"]]
    losses = [arm["loss"] for arm in arms]
    log = bool(losses) and min(losses) > 0 and max(losses) > 5 * min(losses)
    room = 0.25 * math.log10(3)
    return figure(
        *traces,
        height=320,
        xaxis={
            "title": {"text": "learning rate"},
            "type": "log",
            "tickvals": rates,
            "ticktext": [f"{rate:.2g}" for rate in rates],
            "autotickangles": [0, -60],  # on a phone they end at their ticks, so that the last has room
            "range": [math.log10(min(rates)) - room, math.log10(max(rates)) + room],
        },
        yaxis={"title": {"text": "held-out loss, annealed"}, "type": "log" if log else "linear"}
        | ({"tickformat": "~g", "dtick": "D2"} if log else {}),
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
    )


def _upright(name: str, rate: float) -> go.Scatter:
    return go.Scatter(
        x=[rate, rate],
        y=[0.0, 1.0],
        yaxis="y2",
        name=name,
        mode="lines",
        line={"color": LIGHT["accent"], "width": 1.5, "dash": "dot"},
        hovertemplate="learning rate %{x:.2~g}: taken<extra></extra>",
    )


def _points(name: str, arms: list[dict[str, Any]], colour: str, size: int) -> go.Scatter:
    bars = [2 * (arm.get("standard_error") or 0.0) for arm in arms]
    return go.Scatter(
        x=[arm["learning_rate"] for arm in arms],
        y=[arm["loss"] for arm in arms],
        name=name,
        mode="markers",
        marker={"color": colour, "size": size},
        error_y={"type": "data", "array": bars, "color": colour, "thickness": 1.5, "width": 4},
        text=[
            f"{number(arm.get('steps'))} steps, age {number(arm.get('age'))}; "
            + shortened(FATES.get(str(arm.get("fate")), ""), 30)
            for arm in arms
        ],
        hovertemplate="learning rate %{x:.2~g}: %{y:.4~g}<br>%{text}<extra></extra>",
    )


def race_story(race: dict[str, Any]) -> str:
    """Return what was chosen and why, as a sentence."""
    text = shortened(race.get("message", ""), 300).rstrip(".")
    return text[:1].upper() + text[1:] + "." if text else ""


def race_reading(race: dict[str, Any]) -> str:
    """Return how to read the figure."""
    held_out = shortened(race.get("held_out", "held-out rows"), 60)
    annealed = "its steps were let fall to 0" if race.get("annealed") else "so many steps"
    return (
        f"Each point is one learning rate on trial: the loss of the {held_out} after {annealed}, and of one "
        "row more on which it is wrong, so that luck with few rows counts for less; lower is better. All "
        "began at the same weights and saw the same batches. A bar is two standard errors of the "
        "difference to the best arm; who is further off than that drops out, but for the two rates just "
        "below the best where they may catch up in a longer run. The others go on for longer, so points of "
        "arms that dropped out early lie higher."
    )
