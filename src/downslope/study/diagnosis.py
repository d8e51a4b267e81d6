"""What happened in a descent, in plain words, with the evidence and one thing to do next.

A pure function of what a run has recorded.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from downslope.study.faults import LOOKS
from downslope.study.finding import Finding, Record, number_of

# What another finding says already, with the better cure.
SAID_BY = {
    "plateau": {"too slow"},
    "recovered by the guard": {"diverged"},
    "no better than guessing": {"diverged"},
    "falls behind": {"diverged", "over-fits"},
    "explains little": {"diverged", "no better than guessing"},
}
OF_THE_NETWORK = ("falls behind", "explains little")  # findings that are no fault of the descent


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
    telling = (finding for finding in found if not SAID_BY.get(finding.name, set()) & names)
    return sorted(telling, key=lambda finding: not finding.alarm)


def in_short(findings: Sequence[Finding], start: float | None, end: float | None) -> list[str]:
    """Return one or two lines for the terminal: what happened, and what to do next.

    Args:
        findings: of `diagnose`.
        start: the training loss before the first step; None: not finite.
        end: that of the weights that are kept.
    """
    alarms = [finding for finding in findings if finding.alarm]
    if alarms:
        others = f" (and {len(alarms) - 1} more, in the report)" if len(alarms) > 1 else ""
        return [alarms[0].words + others, f"next: {alarms[0].next_step}"]
    way = "" if start is None or end is None else _way(start, end)
    if findings and findings[0].name in OF_THE_NETWORK:
        healthy = f"the descent was healthy{f' ({way})' if way else ''}"
        return [f"{healthy}, but {findings[0].words}", f"next: {findings[0].next_step}"]
    if not findings or findings[0].name == "settled":
        healthy = f"healthy: {way}" if way else "healthy"
        return ["; ".join([healthy, *(finding.words for finding in findings[:1])])]
    return ["; ".join([*([way] if way else []), findings[0].words])]


def _way(start: float, end: float) -> str:
    """Return where the loss went, as far as three digits tell."""
    first, last = f"{start:.3g}", f"{end:.3g}"
    if first == last:
        return f"the training loss stayed at {last}"
    return f"the training loss {'fell' if end < start else 'rose'} from {first} to {last}"
