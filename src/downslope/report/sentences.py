"""What the run means, in plain words: how good the model is, and what happened on the way."""

from collections.abc import Sequence
from typing import Any

from downslope.report.contents import RunContents
from downslope.report.formatting import (
    NO_BREAK,
    counted,
    duration,
    grouped,
    is_number,
    number,
    percent,
    r_squared,
    shortened,
)
from downslope.study.diagnosis import diagnose

SPLITS = ("test", "validation", "train")
"""From the most to the least honest place to judge a model."""

_SEEN = {
    "test": "it had never seen",
    "validation": "that chose the best weights, so a little flattering",
    "train": "that it learned from, which says little about new ones",
}
_SPLIT_NAME = {"train": "training"}


def judged_split(contents: RunContents) -> str | None:
    """Return the most honest split that the run measured."""
    metrics = contents.summary["metrics"]
    return next((split for split in SPLITS if metrics.get(split)), None)


def headline(contents: RunContents) -> str:
    """Return one sentence on how good the model is, next to what a guess without a model reaches."""
    said = _quality(contents)
    if contents.summary.get("failed"):
        return f"The descent failed. What was kept of it {said[:1].lower()}{said[1:]}"
    return said


def _quality(contents: RunContents) -> str:
    split = judged_split(contents)
    target = f"“{shortened(contents.summary.get('target', 'the target'), 80)}”"
    if split is None:
        return f"Was trained to predict {target}; no split was measured, so how good it is remains open."
    metrics = contents.summary["metrics"][split]
    rows = contents.summary.get("rows", {}).get(split)
    noun = f"{_SPLIT_NAME.get(split, split)} row"
    where = f"{counted(rows, noun)} {_SEEN[split]}" if is_number(rows) else f"{noun}s {_SEEN[split]}"
    if contents.summary["task"] == "classification":
        right, guess = _class_guess(contents, metrics.get("accuracy"))
        return f"Predicts {target} right for {right} of {where}{guess}."
    sentence = f"Predicts {target} with R²{NO_BREAK}{r_squared(metrics.get('r2'), 3)} on {where}"
    if is_number(metrics.get("mae")):
        sentence += f": off by {number(metrics['mae'], 3)} on average{_mean_guess(contents)}"
    return sentence + "."


def _class_guess(contents: RunContents, accuracy: Any) -> tuple[str, str]:
    """Return the accuracy, and next to it that of a guess, with as many digits as tell them apart."""
    share = commonest_share(contents.evaluation)
    if share is None or not _speaks_of(contents):
        return percent(accuracy), ""
    digits = next((d for d in (1, 2, 3) if percent(accuracy, d) != percent(share, d)), 1)
    right, guess = percent(accuracy, digits), percent(share, digits)
    if right == guess or (is_number(accuracy) and accuracy < share):
        than = "no better than" if right == guess else "worse than"
        return right, f", {than} always guessing the commonest class ({guess})"
    return right, f" (always guessing the commonest class would be right for {guess})"


def _mean_guess(contents: RunContents) -> str:
    known = contents.summary.get("guessing") or {}
    same = known.get("split") == judged_split(contents)
    error = known.get("mae") if same else mean_guess_error(contents.evaluation)
    mae = contents.summary["metrics"].get(judged_split(contents), {}).get("mae")
    if error is None or not _speaks_of(contents):
        return ""
    if is_number(mae) and (mae > error or number(mae, 3) == number(error, 3)):
        than = "no better than" if number(mae, 3) == number(error, 3) else "worse than"
        return f", {than} always guessing the mean (about {number(error, 3)})"
    return f" (always guessing the mean would be off by about {number(error, 3)})"


def _speaks_of(contents: RunContents) -> bool:
    """Whether evaluation.json was made on the split that the headline is about."""
    return (contents.evaluation or {}).get("split") == judged_split(contents)


def commonest_share(evaluation: dict[str, Any] | None) -> float | None:
    """Return the accuracy of always guessing the commonest class, from the confusion matrix."""
    totals = [sum(row) for row in (evaluation or {}).get("confusion", [])]
    return max(totals) / sum(totals) if sum(totals) else None


def mean_guess_error(evaluation: dict[str, Any] | None) -> float | None:
    """Return the mean absolute error of always guessing the mean, over the sampled actual values."""
    actual = [value for value in (evaluation or {}).get("actual", []) if is_number(value)]
    if not actual:
        return None
    mean = sum(actual) / len(actual)
    return sum(abs(value - mean) for value in actual) / len(actual)


def what_happened(contents: RunContents) -> str:
    """Return how training ended, which weights were kept, how long it took and on what."""
    summary = contents.summary
    epochs = summary.get("epochs")
    parts = [f"Training ended after {counted(epochs, 'epoch')}" if is_number(epochs) else "Training ended"]
    if summary.get("stopped_because") and not summary.get("failed"):  # else the diagnosis says it
        parts[0] += f": {shortened(summary['stopped_because'], 300).rstrip('.')}"
    kept = summary.get("best_epoch")
    if kept == 0:
        parts.append("The weights of the start were kept")
    elif is_number(kept):
        parts.append(f"The weights kept are those of epoch {number(kept)}{_why_kept(contents)}")
    seconds = summary.get("seconds", {})
    devices = grouped(summary.get("devices", []))
    if is_number(seconds.get("total")):
        parts.append(
            f"The whole run took {duration(seconds['total'])}" + (f" on {devices}" if devices else "")
        )
    return ". ".join(parts) + "."


def _why_kept(contents: RunContents) -> str:
    """Return why the weights of that epoch: of the lowest validation loss, or annealed and about as good."""
    history, kept = contents.history, contents.summary["best_epoch"]
    losses = history.get("validation_loss", [])
    measured = {
        epoch: loss for epoch, loss in zip(history["epoch"], losses, strict=False) if loss is not None
    }
    if kept in measured and measured[kept] > min(measured.values()):
        return ": fully annealed, and no earlier ones were better by more than chance"
    return ", the best"


def findings(contents: RunContents) -> list[tuple[bool, str, str]]:
    """Return (is an alarm, what was found, what to do next), the diagnosis of the descent."""
    found = diagnose(
        contents.history,
        contents.summary,
        layers=contents.layers,
        events=contents.events,
        sharpness=contents.sharpness,
    )
    return [
        (finding.alarm, _capital(shortened(finding.words, 400)), _capital(shortened(finding.next_step, 300)))
        for finding in found
    ]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def cost_story(contents: RunContents) -> str:
    """Return where the cost began and ended, and where the validation cost was lowest."""
    history = contents.history
    train = [value for value in history["train_loss"] if value is not None]
    if not train:
        return ""
    first, last = number(train[0], 3), number(train[-1], 3)
    story = f"The training cost went from {first} to {last}"
    if first == last:
        story = f"The training cost {'was' if len(train) == 1 else 'stayed at'} {last}"
    measured = [
        (loss, epoch)
        for loss, epoch in zip(history.get("validation_loss", []), history["epoch"], strict=False)
        if loss is not None
    ]
    if measured:
        lowest, epoch = min(measured)
        place = f"lowest, {number(lowest, 3)}, at epoch {number(epoch)}"
        story += f"; on the validation rows it was {place if len(measured) > 1 else number(lowest, 3)}"
    return story + "."


def commonest_mistake(classes: Sequence[Any], confusion: Sequence[Sequence[float]]) -> str:
    """Return which class is most often taken for which."""
    mistakes = [
        (count, actual, guess)
        for actual, row in enumerate(confusion)
        for guess, count in enumerate(row)
        if actual != guess and count
    ]
    if not mistakes:
        return "It made no mistake here."
    most = max(count for count, *_ in mistakes)
    commonest = [
        " taken for ".join(f"“{shortened(classes[place], 40)}”" for place in places)
        for count, *places in mistakes
        if count == most
    ]
    if len(commonest) == 1:
        return f"The commonest mistake is {commonest[0]}: {counted(most, 'row')}."
    others = f" and {len(commonest) - 2} others" if len(commonest) > 2 else ""
    return f"The commonest mistakes, {counted(most, 'row')} each, are {' and '.join(commonest[:2])}{others}."
