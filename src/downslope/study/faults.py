"""The faults of a descent, each looked for by itself: a record in, a finding out, or None.

The margins are wide on purpose: a healthy descent must not alarm anybody. Where the rate falls during
training, progress is measured against the sum of the rates so far, the distance that was walked, and not
against the epochs.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from downslope.study.finding import Finding, Record, number_of
from downslope.study.held_out import explains_little, falls_behind, no_better_than_guessing

EPOCHS_NEEDED = 6  # fewer show no shape

ABOVE_START = 1.2  # a mean of an epoch so much above the loss of the start is an overshoot
ALTERNATING = 0.8  # share of changes of direction in full-batch losses; noise has 2/3
STRAIGHT = 0.6  # second half of the way as good as so much of the first: still falling straight
FALLEN_LITTLE = 0.05  # share of the start: less is not learning
OVERFIT_RISE, OVERFIT_GAP = 1.25, 1.5
BOUNCE = 0.1  # standard deviation of late epochs, next to their level
VANISHING, EXPLODING = 1e-4, 1e4
DEAD = 0.25  # share of the units of a layer
STABLE = 2.0  # step_size × sharpness below it: gradient descent is stable


def _failed(record: Record) -> Finding | None:
    kinds = ("non-finite", "overflow", "diverged")
    ends = [event for event in record.events if event.get("kind") in kinds]
    if not ends or str(record.summary.get("stopped_because", "")).startswith("all epochs"):
        return None
    told = record.summary.get("stopped_because") or ends[-1].get("message", "")
    what, *remedies = re.split(r"\. (?=Try |Look |Kept )", str(told).strip().rstrip("."))
    if remedies and not remedies[0].startswith("Kept"):
        step = remedies[0][:1].lower() + remedies[0][1:]
    else:
        overflow = ends[-1]["kind"] == "overflow"
        step = "use a higher precision" if overflow else "lower the learning rate tenfold"
    return Finding("diverged", f"diverged: {what}", {"step": ends[-1].get("step")}, step)


def _recovered(record: Record) -> Finding | None:
    back = [event for event in record.events if event.get("kind") in ("rolled-back", "other-rate")]
    if not back:
        return None
    rates = [number_of((event.get("values") or {}).get("learning_rate")) for event in back]
    at = f" and went on at {rates[-1]:.3g}" if rates and math.isfinite(rates[-1]) else ""
    times = "once" if len(back) == 1 else f"{len(back)} times"
    return Finding(
        "recovered by the guard",
        f"the steps were too large: the guard went back {times}{at}",
        {"roll_backs": len(back), "learning_rate": None if not at else rates[-1]},
        f"begin with a learning rate of {rates[-1]:.2g}" if at else "begin with a lower learning rate",
    )


def _overshoots(record: Record) -> Finding | None:
    # Dropout makes the training loss higher than that of the start was, which is measured without; what
    # rises because steps are too large rises on the validation rows too.
    losses = np.fmin(record.column("train_loss"), record.column("validation_loss"))
    known = losses[np.isfinite(losses)]
    if len(known) == 0:
        return None
    start = record.start if math.isfinite(record.start) else float(known[0])
    high = float(known.max())
    if not (start > 0 and high > ABOVE_START * start + 1e-12):
        return None
    epoch = int(record.column("epoch")[int(np.nanargmax(losses))])
    return Finding(
        "overshoots",
        f"overshoots: the loss rose above its start, from {start:.3g} to {high:.3g} in epoch {epoch}",
        {"start": start, "highest": high, "epoch": epoch},
        "lower the learning rate threefold, or warm up longer",
    )


def _oscillates(record: Record) -> Finding | None:
    sharpest = number_of(record.sharpness.get("largest"))
    rates = record.column("learning_rate")
    if math.isfinite(sharpest) and len(rates) and str(record.summary.get("optimizer", "")) in PLAIN_RULES:
        product = float(np.nanmax(rates[-max(1, len(rates) // 10) :])) * sharpest
        if product > STABLE:
            return Finding(
                "oscillates",
                f"oscillates: step size × sharpness is {product:.2g}, above 2: steps jump across the valley",
                {"step_size_times_sharpness": product},
                f"lower the learning rate below {STABLE / sharpest:.2g}",
            )
    if not record.full_batch:
        return None
    losses = record.column("train_loss")
    changes = np.sign(np.diff(losses[np.isfinite(losses)]))
    if len(changes) < 2 * EPOCHS_NEEDED:
        return None
    turns = float(np.mean(changes[1:] * changes[:-1] < 0))
    if turns < ALTERNATING:
        return None
    return Finding(
        "oscillates",
        f"oscillates: the loss went up and down by turns in {100 * turns:.0f} % of the steps",
        {"alternating": turns},
        "lower the learning rate threefold",
    )


def _too_slow(record: Record) -> Finding | None:
    halves = _halves(record)
    if halves is None:
        return None
    first, second, end = halves
    start = record.start if math.isfinite(record.start) else record.column("train_loss")[0]
    if not (first > 0 and second > STRAIGHT * first and second > 1e-4 * abs(start)):
        return None
    if end < 0.2 * start:
        return None
    return Finding(
        "too slow",
        f"too slow: the loss was still falling in a straight line at the end, at {end:.3g}",
        {"first_half": first, "second_half": second, "end": end},
        "raise the learning rate threefold, or train longer",
    )


def _halves(record: Record) -> tuple[float, float, float] | None:
    """Return (fall in the first half of the way, fall in the second, end); None where there is no trend."""
    losses, rates = record.column("train_loss"), record.column("learning_rate")
    usable = np.isfinite(losses) & np.isfinite(rates)
    losses, rates = losses[usable], rates[usable]
    if len(losses) < EPOCHS_NEEDED:
        return None
    way = np.cumsum(rates) - rates[0]
    if way[-1] <= 0:
        return None
    middle = float(np.interp(0.5 * way[-1], way, losses))
    width = max(1, len(losses) // 10)
    end = float(np.mean(losses[-width:]))
    falls = np.diff(losses)
    if np.mean(falls < 0) < 0.8:  # noise, not a straight line
        return None
    return float(losses[0]) - middle, middle - end, end


def _plateau(record: Record) -> Finding | None:
    losses, epochs = record.column("train_loss"), record.column("epoch")
    losses, epochs = losses[np.isfinite(losses)], epochs[np.isfinite(losses)]
    if len(losses) < EPOCHS_NEEDED:
        return None
    start = record.start if math.isfinite(record.start) else float(losses[0])
    if start > 0 and start - losses.min() < FALLEN_LITTLE * start:
        return Finding(
            "plateau",
            f"plateau: the loss hardly moved, from {start:.3g} to {losses.min():.3g}",
            {"start": start, "lowest": float(losses.min())},
            "raise the learning rate, standardise the inputs, or check that they say anything of the target",
        )
    fallen = max(start, float(losses[0])) - float(losses.min())
    last = len(losses) // 4
    for begin in range(1, len(losses) - 2 * last):
        flat = losses[begin : begin + last + 1]
        still = flat.max() - flat.min() < 0.01 * fallen
        if last >= 5 and still and flat.min() - losses.min() > 0.3 * fallen:
            first = int(epochs[begin])
            return Finding(
                "plateau",
                f"plateau: the loss stood still at {flat[0]:.3g} from epoch {first} on, and fell again later",
                {"epoch": first, "loss": float(flat[0])},
                "raise the learning rate, or use a rule with momentum",
            )
    return None


def _over_fits(record: Record) -> Finding | None:
    validation, train = record.column("validation_loss"), record.column("train_loss")
    known = np.isfinite(validation)
    if known.sum() < EPOCHS_NEEDED:
        return None
    place = int(np.nanargmin(validation))
    best, end = float(validation[place]), float(np.nanmean(validation[known][-3:]))
    late = max(end, float(np.nanmedian(validation[place:])))  # an annealed end may come back down
    fell = bool(train[known][-1] < train[place])
    rose = late > OVERFIT_RISE * best and late - best > 0.05 * abs(validation[known][0] - best)
    if not (rose and fell and end > OVERFIT_GAP * train[known][-1] and place < 0.7 * len(validation)):
        return None
    epoch = int(record.column("epoch")[place])
    kept = "the weights of that epoch were kept; " if record.summary.get("best_epoch") == epoch else ""
    return Finding(
        "over-fits",
        f"over-fits: after epoch {epoch} the validation loss rose from {best:.3g} to {late:.3g} "
        f"{f'and ended at {end:.3g} ' if end < 0.99 * late else ''}while the training loss went on falling, "
        f"to {train[known][-1]:.3g}",
        {"best": best, "end": end, "train_loss": float(train[known][-1]), "epoch": epoch},
        f"{kept}more dropout, weight decay or rows would help",
        alarm=place < 0.35 * len(validation) and end > 2 * best,
    )


def _noisy(record: Record) -> Finding | None:
    losses, rates = record.column("train_loss"), record.column("learning_rate")
    usable = np.isfinite(losses) & np.isfinite(rates)
    losses, rates = losses[usable], rates[usable]
    size, rows = (
        number_of(record.summary.get("batch_size")),
        number_of((record.summary.get("rows") or {}).get("train")),
    )
    if len(losses) < 2 * EPOCHS_NEEDED or not (size * 20 <= rows) or rates[-1] < 0.3 * rates.max():
        return None
    late = losses[len(losses) // 2 :]
    place = np.arange(len(late))
    trend = np.polyval(np.polyfit(place, late, 1), place)
    bounce = float(np.std(late - trend) / max(abs(float(np.mean(late))), 1e-30))
    if bounce < BOUNCE or trend[0] - trend[-1] > np.std(late - trend) * 2:
        return None
    return Finding(
        "noisy gradient",
        f"noisy gradient: with batches of {size:.0f} the loss bounced by {100 * bounce:.0f} % from epoch to "
        "epoch without falling",
        {"bounce": bounce, "batch_size": size},
        "double the batch size, or let the learning rate fall to 0 (--schedule cosine)",
    )


def _dead(record: Record) -> Finding | None:
    worst = max(record.dead_units.items(), key=lambda item: number_of(item[1]), default=None)
    if worst is None or not number_of(worst[1]) > DEAD:
        return None
    network = str(record.summary.get("model"))
    others = [name for name in ("leaky-relu", "silu") if name not in network]
    return Finding(
        "dead units",
        f"dead units: {100 * worst[1]:.0f} % of the units of {worst[0]} answer the same to every row",
        {"layer": worst[0], "share": worst[1]},
        f"lower the learning rate, or use --activation {' or '.join(others)}, or --batch-norm",
    )


def _layers(record: Record) -> Finding | None:
    norms: dict[str, list[float]] = {}
    for row in record.layers:
        value = number_of(row.get("gradient_norm"))
        if math.isfinite(value):
            norms.setdefault(str(row.get("layer")), []).append(value)
    usual = {name: float(np.median(values)) for name, values in norms.items() if values}
    if not usual:
        return None
    largest = max(usual, key=lambda name: usual[name])
    smallest = min(usual, key=lambda name: usual[name])
    if usual[largest] > EXPLODING:
        return Finding(
            "exploding gradients",
            f"exploding gradients: the gradient of {largest} is {usual[largest]:.2g} long",
            {"layer": largest, "gradient_norm": usual[largest]},
            "use --clip-norm 1, a smaller learning rate, or --layer-norm",
        )
    if len(usual) > 1 and usual[smallest] < VANISHING * usual[largest]:
        return Finding(
            "vanishing gradients",
            f"vanishing gradients: {smallest} gets a gradient of {usual[smallest]:.1e}, {largest} one of "
            f"{usual[largest]:.1e}",
            {"layer": smallest, "gradient_norm": usual[smallest], "largest": usual[largest]},
            "use --activation silu or relu, --layer-norm, or fewer layers",
        )
    return None


def _settled(record: Record) -> Finding | None:
    if record.sharpness.get("verdict") == "not settled":  # measured, which counts for more than a curve
        return None
    norms = record.column("gradient_norm")
    norms = norms[np.isfinite(norms)]
    losses = record.column("train_loss")
    losses = losses[np.isfinite(losses)]
    if len(norms) < EPOCHS_NEEDED or len(losses) < EPOCHS_NEEDED:
        return None
    share = float(np.median(norms[-3:]) / max(norms.max(), 1e-300))
    late = losses[-max(3, len(losses) // 10) :]
    flat = late.max() - late.min() < 0.02 * (max(losses[0], record.start) - losses.min() + 1e-300)
    if share > 0.02 or not flat:
        return None
    low = number_of(record.sharpness.get("smallest"))
    where = _place(record.sharpness)
    what = f"settled {where}" if where else "levelled off"
    return Finding(
        "settled",
        f"{what}: the gradient is down to {100 * share:.2g} % of its largest, and the loss no longer falls",
        {"gradient_share": share, "smallest_curvature": None if math.isnan(low) else low},
        "disturb it: smaller batches or a larger learning rate" if "saddle" in where else "",
        alarm="saddle" in where,
    )


def _place(sharpness: Mapping[str, Any]) -> str:
    """Return where it has settled, by the curvature; empty where that was not measured."""
    if "verdict" in sharpness:
        return SETTLED.get(str(sharpness["verdict"]), "")
    low, high = (number_of(sharpness.get(name)) for name in ("smallest", "largest"))
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return SETTLED["minimum" if low >= -0.05 * abs(high) else "saddle"]


# What `study.sharpness` says of the place, as the end of a sentence.
SETTLED = {
    "minimum": "in a minimum",
    "flat minimum": "in a minimum with flat directions",
    "saddle": "on a saddle: some directions still lead down",
    "maximum": "on a maximum",
    "flat": "on flat ground",
}

# Rules whose step is step_size × gradient; for the others the bound of 2 does not hold.
PLAIN_RULES = ("gradient-descent", "sgd")


LOOKS: tuple[Callable[[Record], Finding | None], ...] = (
    _failed,
    _recovered,
    _overshoots,
    _oscillates,
    _layers,
    _dead,
    _over_fits,
    _noisy,
    _too_slow,
    _plateau,
    no_better_than_guessing,
    falls_behind,
    explains_little,
    _settled,
)
