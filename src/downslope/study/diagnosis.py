"""What happened in a descent, in plain words, with the evidence and one thing to do next.

A pure function of what a run has recorded.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from downslope.study.faults import LOOKS
from downslope.study.finding import Finding, Record, number_of

# What the other finding says already, with the better cure.
SAID_BY = {"plateau": "too slow", "recovered by the guard": "diverged", "no better than guessing": "diverged"}


def diagnose(
    history: Mapping[str, Sequence[Any]],
    summary: Mapping[str, Any] | None = None,
    *,
    layers: Iterable[Mapping[str, Any]] = (),
    events: Iterable[Mapping[str, Any]] = (),
    sharpness: Mapping[str, Any] | None = None,
) -> list[Finding]:
    """Return what happened, alarms first; a descent in which nothing is to be mended gets no alarm.

    Args:
        history: the columns of history.parquet, one value per epoch, None where there is none.
        summary: of summary.json: ``loss_at_start``, ``epochs``, ``best_epoch``, ``batch_size``, ``rows``,
            ``stopped_because``, ``dead_units``, …; whatever is missing is not judged.
        layers: the rows of layers.parquet.
        events: the lines of events.jsonl.
        sharpness: where it was measured: ``largest`` and ``smallest`` eigenvalue of the Hessian.
    """
    summary = summary or {}
    columns = {
        name: np.array([number_of(value) for value in values], np.float64) for name, values in history.items()
    }
    columns.setdefault("train_loss", np.zeros(0))
    dead = summary.get("dead_units")
    record = Record(
        columns,
        summary,
        list(layers),
        list(events),
        dead if isinstance(dead, Mapping) else {},
        sharpness or {},
    )
    found = [finding for look in LOOKS if (finding := look(record)) is not None]
    names = {finding.name for finding in found}
    telling = (finding for finding in found if SAID_BY.get(finding.name) not in names)
    return sorted(telling, key=lambda finding: not finding.alarm)


def in_short(findings: Sequence[Finding], history: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return one or two lines for the terminal: what happened, and what to do next."""
    alarms = [finding for finding in findings if finding.alarm]
    if alarms:
        others = f" (and {len(alarms) - 1} more, in the report)" if len(alarms) > 1 else ""
        return [alarms[0].words + others, f"next: {alarms[0].next_step}"]
    losses = [loss for loss in map(number_of, history.get("train_loss", ())) if math.isfinite(loss)]
    way = _way(losses)
    if not findings or findings[0].name == "settled":
        return ["; ".join([f"healthy{way}", *(finding.words for finding in findings[:1])])]
    return ["; ".join([*([way.removeprefix(": ")] if way else []), findings[0].words])]


def _way(losses: Sequence[float]) -> str:
    """Return where the loss went, as far as three digits tell."""
    if not losses:
        return ""
    first, last = f"{losses[0]:.3g}", f"{losses[-1]:.3g}"
    if len(losses) == 1:
        return f": the loss was {last} in the one epoch"
    if first == last:
        return f": the loss stayed at {last}"
    return f": the loss {'fell' if losses[-1] < losses[0] else 'rose'} from {first} to {last}"
