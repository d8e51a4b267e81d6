"""Cost functions: how wrong is one prediction?

A loss maps the network's raw outputs and the targets of a batch to one number per example. The mean
over the batch, weighted, is taken in one place (`gradient.backprop`), so that padding, sample weights
and any number of devices all mean the same thing.

Classification losses take logits (not probabilities), which is what makes them stable: nothing here
takes the logarithm of a number that could have been rounded to zero.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from downslope.errors import OptionError, did_you_mean

Outputs = Float[Array, "batch outputs"]
Labels = Int[Array, " batch"]
Numbers = Float[Array, " batch"]
Losses = Float[Array, " batch"]


@dataclass(frozen=True)
class Loss:
    """A cost function and what must be known to use it.

    Args:
        name: as typed on the command line.
        task: ``"classification"`` or ``"regression"``.
        per_example: ``per_example(outputs, targets) -> losses``, shapes ``(batch, outputs)``, ``(batch,)``
            and ``(batch,)``; targets are class codes or numbers.
        predict: ``predict(outputs)``: probabilities ``(batch, classes)`` for classification, numbers
            ``(batch,)`` for regression.
        one_logit: one output for two classes, instead of one output per class.
        standardise: whether regression targets are brought to mean 0 and variance 1 before training;
            not for losses that need the target's own scale (counts).
    """

    name: str
    task: str
    per_example: Callable[[Any, Any], Any]
    predict: Callable[[Any], Any]
    one_logit: bool = False
    standardise: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    def n_outputs(self, n_classes: int) -> int:
        """Return how many outputs the network needs: 1 for regression and for a single logit."""
        return 1 if self.task == "regression" or self.one_logit else n_classes


def squared_error() -> Loss:
    """(ŷ − y)²: regression to the mean. Gradient 2(ŷ − y)."""
    return _regression("squared-error", lambda error: jnp.square(error))


def absolute_error() -> Loss:
    """|ŷ − y|: regression to the median; a few wild targets do not pull it."""
    return _regression("absolute-error", lambda error: jnp.abs(error))


def huber(delta: float = 1.0) -> Loss:
    """½e² while |e| ≤ δ, then δ(|e| − ½δ), where e = ŷ − y (Huber 1964, eq. 1.2).

    Args:
        delta: where the parabola becomes a straight line, in standard deviations of the target; > 0.
    """
    if not delta > 0:
        raise OptionError(f"huber: delta must be positive, got {delta}")

    def of_error(error: Array) -> Array:
        size = jnp.abs(error)
        return jnp.where(size <= delta, 0.5 * jnp.square(error), delta * (size - 0.5 * delta))

    return _regression("huber", of_error, delta=delta)


def softmax_cross_entropy() -> Loss:
    """−log softmax(z)[y] = logsumexp(z) − z[y], from one logit per class."""

    def per_example(logits: Outputs, labels: Labels) -> Losses:
        chosen = jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
        return jax.nn.logsumexp(logits, axis=-1) - chosen

    return Loss("softmax-cross-entropy", "classification", per_example, jax.nn.softmax)


def binary_cross_entropy() -> Loss:
    """log(1 + eᶻ) − y·z for y in {0, 1}, from a single logit z of class 1."""

    def per_example(logits: Outputs, labels: Labels) -> Losses:
        logit = logits[:, 0]
        return jnp.logaddexp(0.0, logit) - labels * logit

    return Loss("binary-cross-entropy", "classification", per_example, _two_probabilities, one_logit=True)


LOSSES: dict[str, Callable[..., Loss]] = {
    "squared-error": squared_error,
    "absolute-error": absolute_error,
    "huber": huber,
    "softmax-cross-entropy": softmax_cross_entropy,
    "binary-cross-entropy": binary_cross_entropy,
}

DEFAULT_LOSS = {"classification": "softmax-cross-entropy", "regression": "squared-error"}


def loss_by_name(name: str, task: str, n_classes: int = 0) -> Loss:
    """Return the loss called `name`, after checking that it suits the task.

    Raises:
        OptionError: no such loss, a loss for the other task, or a single logit for more than two classes.
    """
    if name not in LOSSES:
        raise OptionError(
            f"--loss: unknown loss '{name}'.{did_you_mean(name, LOSSES)} Known: {', '.join(LOSSES)}"
        )
    loss = LOSSES[name]()
    if loss.task != task:
        suited = [known for known, make in LOSSES.items() if make().task == task]
        raise OptionError(
            f"--loss {name} is for {loss.task}, but this is {task}; choose one of {', '.join(suited)}"
        )
    if loss.one_logit and n_classes != 2:
        raise OptionError(
            f"--loss {name} is for two classes, but the target has {n_classes}; use softmax-cross-entropy"
        )
    return loss


def _regression(name: str, of_error: Callable[[Any], Any], **options: float) -> Loss:
    def per_example(outputs: Outputs, targets: Numbers) -> Losses:
        return of_error(outputs[:, 0] - targets)

    return Loss(name, "regression", per_example, lambda outputs: outputs[:, 0], options=options)


def _two_probabilities(logits: Outputs) -> Float[Array, "batch 2"]:
    positive = jax.nn.sigmoid(logits)
    return jnp.concatenate([1.0 - positive, positive], axis=-1)
