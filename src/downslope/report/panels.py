"""Each figure with its title and how to read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from downslope.report import figures, race, results
from downslope.report.contents import RunContents
from downslope.report.formatting import counted, is_number, number, shortened
from downslope.report.sentences import commonest_mistake, cost_story


@dataclass(frozen=True)
class Panel:
    """One figure of the page.

    `story` is what this run's figure says; `reading` is how to read any such figure. `min_width` in
    pixels makes the figure scroll in its own box on narrower screens, `max_width` keeps a small one from
    being stretched. `scales` adds the two buttons
    for a log or linear cost axis.
    """

    name: str
    title: str
    figure: go.Figure
    reading: str
    story: str = ""
    min_width: int = 0
    max_width: int | None = None
    scales: bool = False

    @property
    def height(self) -> int:
        """Height in pixels, reserved before the figure is drawn."""
        return int(self.figure.layout.height)  # pyright: ignore[reportAttributeAccessIssue]


_READING = {
    "cost": (
        "Each point is the mean loss over one epoch; lower is better. Both curves falling: it is "
        "learning. Training falling while validation rises: it is learning the training rows by heart. On "
        "the log scale equal distances are equal ratios."
    ),
    "learning-rate": (
        "How far one step goes. A warm-up rises, a decay falls, so that the last steps settle."
    ),
    "weight-decay": (
        "How strongly weights are pulled to 0. It rises while rows are learned by heart: while slightly "
        "smaller weights do better on the validation rows. Else it falls, to the rule's own."
    ),
    "gradient-norm": (
        "How steep the slope is. Falling: nearing flat ground. A sudden peak: a step went too far."
    ),
    "layer-gradients": (
        "How strongly each layer is pulled. One line far below the others: that layer hardly learns "
        "(vanishing); one that shoots up: exploding."
    ),
    "layer-updates": (
        "How far one step moves the weights of a layer, next to their size. Around 0.001 is usual; above "
        "0.1 the steps tear the weights about, below 0.00001 nothing moves."
    ),
    "dead-units": "Units that answer the same to every row have nothing left to learn from.",
    "importance": (
        "Each column was shuffled among the rows, three times: the more the loss rises, the more the network "
        "relies on it. Lines show the spread. Columns that say the same share their importance."
    ),
    "metric": (
        "The {metric} on rows held back from learning, after each epoch; higher is better, 1 is perfect."
    ),
    "predicted": (
        "One point per row. On the dotted line the prediction is exact; above it too high, below too low."
    ),
    "residuals": (
        "How far each prediction is off. A shapeless band around zero is good; a bend or a funnel is "
        "structure that the model misses."
    ),
    "reliability": (
        "On the dotted line, “90 % sure” is right 90 % of the time. Below it the model is too sure of "
        "itself, above it too modest. Larger dots hold more rows."
    ),
    "roc": (
        "Each point is one threshold. The closer the curve comes to the upper left corner the better; the "
        "dotted line is guessing."
    ),
}

_WEIGHTED = " Both losses count rows by their weights."
_DROPOUT = (
    " The training curve may lie well above the other: it is measured during the epoch, while dropout "
    "silences units; the validation rows after it, with all units."
)

METRIC_NAMES = {"classification": "accuracy", "regression": "R²"}


def cost_panel(contents: RunContents) -> Panel | None:
    """Return the falling cost, or `None` if no epoch was finished."""
    history = contents.history
    losses = [v for name in ("train_loss", "validation_loss") for v in history.get(name, []) if v is not None]
    if not losses:
        return None
    positive = min(losses) > 0
    return Panel(
        name="cost",
        title="The cost function falling",
        figure=figures.cost_figure(
            history, contents.summary.get("best_epoch"), contents.events, log=figures.spans(losses, factor=10)
        ),
        story=cost_story(contents),
        reading=_READING["cost"]
        + (_WEIGHTED if _is_weighted(contents.config) else "")
        + (_DROPOUT if _has_dropout(contents) else ""),
        scales=positive,
    )


def _is_weighted(config: dict[str, Any]) -> bool:
    """Whether some rows counted more than others in training."""
    return any(config.get(name) for name in ("class_weight", "sample_weight"))


def _has_dropout(contents: RunContents) -> bool:
    """Whether two curves are drawn that dropout has set apart."""
    dropout = contents.config.get("dropout")
    measured = any(value is not None for value in contents.history.get("validation_loss", []))
    return measured and is_number(dropout) and dropout > 0


def drive_panels(contents: RunContents) -> Iterator[Panel]:
    """Yield the smaller figures beneath the cost: what drove it, epoch by epoch."""
    history = contents.history

    def recorded(column: str) -> bool:
        return any(value is not None for value in history.get(column, []))

    if recorded("learning_rate"):
        yield Panel(
            name="learning-rate",
            title="Learning rate",
            figure=figures.learning_rate_figure(history),
            reading=_READING["learning-rate"],
        )
    if recorded("weight_decay"):
        yield Panel(
            name="weight-decay",
            title="Weight decay",
            figure=figures.weight_decay_figure(history),
            reading=_READING["weight-decay"],
        )
    if recorded("gradient_norm"):
        yield Panel(
            name="gradient-norm",
            title="Gradient norm",
            figure=figures.gradient_norm_figure(history),
            reading=_READING["gradient-norm"],
        )
    if recorded("validation_metric"):
        metric = METRIC_NAMES[contents.summary["task"]]
        yield Panel(
            name="metric",
            title=f"Validation {metric}",
            figure=figures.metric_figure(history, metric),
            reading=_READING["metric"].format(metric=metric),
        )


def race_panel(contents: RunContents) -> Panel | None:
    """Return how the learning rate was chosen, if it was."""
    found = race.race_of(contents.events)
    if found is None or not any(arm.get("loss") is not None for arm in found["arms"]):
        return None
    return Panel(
        name="race",
        title="How the learning rate was chosen",
        figure=race.race_figure(found),
        story=race.race_story(found),
        reading=race.race_reading(found),
    )


def layer_panels(contents: RunContents) -> Iterator[Panel]:
    """Yield what each layer saw: gradients, updates, and units that died."""
    for column, name, title, axis in (
        ("gradient_norm", "layer-gradients", "Gradient norm by layer", "‖gradient‖"),
        ("update_ratio", "layer-updates", "Update-to-weight ratio by layer", "‖update‖ / ‖weights‖"),
    ):
        if any(is_number(row.get(column)) for row in contents.layers):
            drawn = figures.layers_figure(contents.layers, column, axis)
            yield Panel(name=name, title=title, figure=drawn, reading=_READING[name])
    dead = contents.summary.get("dead_units")
    shares = [(k, v) for k, v in dead.items() if is_number(v)] if isinstance(dead, dict) else []
    if shares:
        all_alive = max(share for _, share in shares) == 0
        yield Panel(
            name="dead-units",
            title="Units that died",
            figure=results.dead_figure(shares),
            story="None: every unit reacts to the rows." if all_alive else "",
            reading=_READING["dead-units"],
        )


def importance_panel(contents: RunContents) -> Panel | None:
    """Return which inputs matter, if the run has measured it."""
    evaluation = contents.evaluation or {}
    found = evaluation.get("importance")
    if not found or not found["columns"]:
        return None
    total, shown = len(found["columns"]), results.MAX_COLUMNS
    story = f"The {shown} most important of {total} columns." if total > shown else ""
    if found.get("left_out"):
        story += f" {counted(found['left_out'], 'column')} could not be measured in time."
    return Panel(
        name="importance",
        title=f"Which inputs matter ({shortened(evaluation.get('split', 'test'), 20)} rows)",
        figure=results.importance_figure(found["columns"], found["rise"], found["spread"]),
        story=story.strip(),
        reading=_READING["importance"],
        max_width=760,
    )


def confusion_panel(contents: RunContents) -> Panel | None:
    """Return the confusion matrix, if the run has one that can be read."""
    evaluation = contents.evaluation or {}
    classes, confusion = evaluation.get("classes", []), evaluation.get("confusion")
    if not confusion or len(classes) > results.MAX_CLASSES:
        return None
    written = len(classes) <= results.MAX_CLASSES_WITH_TEXT
    return Panel(
        name="confusion",
        title=f"Right and wrong, class by class ({shortened(evaluation.get('split', 'test'), 20)} rows)",
        figure=results.confusion_figure(classes, confusion),
        story=commonest_mistake(classes, confusion),
        reading="One line per actual class, one column per predicted class; the diagonal is right. "
        + ("A cell holds the number of rows and its share of the line; the" if written else "The")
        + " stronger the colour, the larger the share.",
        min_width=results.confusion_width(len(classes)),
        max_width=180 + 170 * len(classes),
    )


def result_panels(contents: RunContents) -> Iterator[Panel]:
    """Yield the figures that stand in pairs: predictions and errors, or trust and trade-off."""
    evaluation = contents.evaluation or {}
    if evaluation.get("actual"):
        actual, predicted = evaluation["actual"], evaluation["predicted"]
        unit = str(evaluation.get("unit", contents.summary.get("target", "")))
        split = shortened(evaluation.get("split", "test"), 20)
        shown = len(results.finite_pairs(actual, predicted))
        all_of = shown == contents.summary.get("rows", {}).get(split)
        yield Panel(
            name="predicted",
            title="Predicted against actual",
            figure=results.predicted_figure(actual, predicted, unit),
            story=f"{f'All {number(shown)}' if all_of else f'{number(shown)} of the'} {split} rows.",
            reading=_READING["predicted"],
        )
        yield Panel(
            name="residuals",
            title="Errors",
            figure=results.residual_figure(actual, predicted, unit),
            reading=_READING["residuals"],
        )
    if evaluation.get("reliability", {}).get("confidence"):
        yield Panel(
            name="reliability",
            title="Can its confidence be trusted?",
            figure=results.reliability_figure(
                *(evaluation["reliability"][k] for k in ("confidence", "accuracy", "count"))
            ),
            reading=_READING["reliability"],
        )
    if evaluation.get("roc", {}).get("fpr"):
        roc = evaluation["roc"]
        area = f"The area beneath is {number(roc.get('auc'), 3)}." if "auc" in roc else ""
        classes = evaluation.get("classes") or []
        found = f" “Found” are the rows of “{shortened(classes[1], 40)}”." if len(classes) == 2 else ""
        yield Panel(
            name="roc",
            title="Found against false alarms (ROC)",
            figure=results.roc_figure(roc["fpr"], roc["tpr"]),
            story=area,
            reading=_READING["roc"] + found,
        )
