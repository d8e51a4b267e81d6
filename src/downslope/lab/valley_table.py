"""How each descent on the valley page ended, as a table and in plain words."""

import math
from typing import Any

from dash import html

from downslope.lab import look
from downslope.lab.paths import Path
from downslope.report.formatting import counted, number


def table(paths: dict[tuple[int, str, float], list[Path]]) -> Any:
    """Return how each descent ended."""
    if not paths:
        return []
    rows = [
        html.Tr(
            [
                html.Th([html.Span(className=f"dot swatch-{place}"), rule], scope="row"),
                html.Td(f"{rate:g}", className="number-cell"),
                html.Td(
                    "(" + ", ".join(f"{cell:.3g}" for cell in path.points[0]) + ")"
                    if len(path.points)
                    else "—",
                    className="tight",
                ),
                html.Td(
                    number(end) if (end := last_loss(path)) is not None else "—", className="number-cell"
                ),
                html.Td(verdict(path)),
            ]
        )
        for (place, rule, rate), found in paths.items()
        for path in found
    ]
    head = [
        html.Th("rule", scope="col"),
        html.Th("step size", scope="col", className="number-cell"),
        html.Th("start", scope="col"),
        html.Th("loss at the end", scope="col", className="number-cell"),
        html.Th("what happened", scope="col"),
    ]
    rows_and_head = html.Table([html.Thead(html.Tr(head)), html.Tbody(rows)])
    return html.Div(
        rows_and_head, className="scroll", role="region", tabIndex="0", **look.named("How each descent ended")
    )


def last_loss(path: Path) -> float | None:
    """Return the loss where a descent ended, which may lie outside of the picture; None without a value."""
    if path.left and not math.isnan(path.beyond):
        return float(path.beyond)
    return float(path.losses[-1]) if len(path.losses) else None


def verdict(path: Path) -> str:
    """Return in plain words how a descent went.

    >>> import numpy as np
    >>> verdict(Path(np.array([[2.0], [-2.1], [2.2]]), np.array([4.0, 4.4, 4.8]), True, False, 5.3))
    'went out of the picture after 3 steps: the steps are too large'
    """
    steps = len(path.points) - 1
    if steps < 0:
        return "the loss has no value at the start"
    if path.lost:
        return f"came to where the loss has no value after {counted(steps + 1, 'step')}"
    if path.left:
        why = (
            "it goes down there without end"
            if (last_loss(path) or 0.0) < path.losses[0]
            else "the steps are too large"
        )
        return f"went out of the picture after {counted(steps + 1, 'step')}: {why}"
    moves = path.points[1:] - path.points[:-1]
    lengths = (moves**2).sum(axis=1) ** 0.5
    if steps > 0 and not lengths.any():
        return "never moved: there is no slope here"
    if path.losses[-1] > 1.5 * max(path.losses[0], 1e-12):
        return "climbs: the steps are too large"
    turns = float(((moves[1:] * moves[:-1]).sum(axis=1) < 0).mean()) if steps > 2 else 0.0
    swings = ", swinging from side to side on the way" if turns > 0.5 else ""
    scale = max(float(abs(path.points).max()), 1e-3)
    best = float(path.losses.min())
    is_far = path.losses > best + 0.01 * (float(path.losses[0]) - best)
    arrived = int(is_far.nonzero()[0][-1]) + 1 if is_far.any() else 0
    if steps > 4 and lengths[-5:].max() < 5e-4 * scale:
        return f"came to rest; 99 % of the way down after {counted(arrived, 'step')}{swings}"
    if turns > 0.5:
        return "swings from side to side: the step size is at its limit"
    return "still on its way" if path.losses[-1] < path.losses[0] else "wanders about"
