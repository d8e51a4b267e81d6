"""Cost functions: how wrong is one prediction?

A loss maps the network's raw outputs and the targets of a batch to one number per example. The mean
over the batch, weighted, is taken in one place (`gradient.backprop`), so that padding, sample weights
and any number of devices all mean the same thing.

Classification losses take logits (not probabilities), which is what makes them stable: nothing here
takes the logarithm of a number that could have been rounded to zero.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
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
        options: its numbers, by name, for the record.
        standardise: whether regression targets are brought to mean 0 and variance 1 before training;
            where 0 means something (counts), they are only divided by their mean.
        is_own: whether it is a function of the user's, whatever its name.
    """

    name: str
    task: str
    per_example: Callable[[Any, Any], Any]
    predict: Callable[[Any], Any]
    one_logit: bool = False
    standardise: bool = True
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    is_own: bool = False

    @property
    def spelled(self) -> str:
        """How it is typed, ``"quantile:0.9"``, to the last digit, as run folders keep it."""
        return ":".join([self.name, *(repr(number).removesuffix(".0") for number in self.options.values())])

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
    if not 0 < delta < math.inf:
        raise OptionError(f"huber: delta must be positive and finite, got {delta}")

    def of_error(error: Array) -> Array:
        size = jnp.abs(error)
        return jnp.where(size <= delta, 0.5 * jnp.square(error), delta * (size - 0.5 * delta))

    return _regression("huber", of_error, delta=delta)


def softmax_cross_entropy() -> Loss:
    """−log softmax(z)[y] = logsumexp(z) − z[y], from one logit per class."""

    def per_example(logits: Outputs, labels: Labels) -> Losses:
        return jax.nn.logsumexp(logits, axis=-1) - _chosen(logits, labels)

    return Loss("softmax-cross-entropy", "classification", per_example, jax.nn.softmax)


def binary_cross_entropy() -> Loss:
    """log(1 + eᶻ) − y·z for y in {0, 1}, from a single logit z of class 1."""

    def per_example(logits: Outputs, labels: Labels) -> Losses:
        logit = logits[:, 0]
        return jnp.logaddexp(0.0, logit) - labels * logit

    return Loss("binary-cross-entropy", "classification", per_example, _two_probabilities, one_logit=True)


def quantile(level: float = 0.5) -> Loss:
    """max(τe, (τ − 1)e) with e = y − ŷ: regression to the quantile τ (Koenker & Bassett 1978).

    Args:
        level: τ, 0 < τ < 1; 0.9 is the value that nine of ten targets stay below.
    """
    if not 0 < level < 1:
        raise OptionError(f"quantile: level must be between 0 and 1, got {level}")
    return _regression(
        "quantile", lambda error: jnp.maximum(-level * error, (1 - level) * error), level=level
    )


def log_cosh() -> Loss:
    """Log cosh(ŷ − y): squared error near 0, absolute error far away, smooth everywhere."""
    # |e| + log(1 + e^(−2|e|)) − log 2, which no error is too large for
    return _regression(
        "log-cosh", lambda error: jnp.abs(error) + jnp.log1p(jnp.exp(-2 * jnp.abs(error))) - math.log(2)
    )


def poisson() -> Loss:
    """exp(z) − y·z, from the logarithm z of the rate: regression of counts y ≥ 0.

    The negative log-likelihood of a Poisson distribution, without the term log y! that no weight changes.
    """

    def per_example(outputs: Outputs, targets: Numbers) -> Losses:
        log_rate = outputs[:, 0]
        return jnp.exp(log_rate) - targets * log_rate

    return Loss(
        "poisson", "regression", per_example, lambda outputs: jnp.exp(outputs[:, 0]), standardise=False
    )


def label_smoothing(smoothing: float = 0.1) -> Loss:
    """Cross-entropy against (1 − ε)·one-hot + ε∕K: a network that is told never to be quite sure.

    Szegedy et al. 2016, "Rethinking the Inception Architecture", https://arxiv.org/abs/1512.00567, section 7.

    Args:
        smoothing: ε, 0 ≤ ε < 1.
    """
    if not 0 <= smoothing < 1:
        raise OptionError(f"label-smoothing: smoothing must be at least 0 and below 1, got {smoothing}")

    def per_example(logits: Outputs, labels: Labels) -> Losses:
        log_shares = jax.nn.log_softmax(logits, axis=-1)
        return -(1 - smoothing) * _chosen(log_shares, labels) - smoothing * jnp.mean(log_shares, axis=-1)

    return Loss(
        "label-smoothing", "classification", per_example, jax.nn.softmax, options={"smoothing": smoothing}
    )


def focal(focus: float = 2.0) -> Loss:
    """−(1 − p)^γ log p, with p the probability of the true class: easy examples hardly count.

    Lin et al. 2017, "Focal Loss for Dense Object Detection", https://arxiv.org/abs/1708.02002, equation 4.

    Args:
        focus: γ ≥ 0; 0 is the cross-entropy.
    """
    if not 0 <= focus < math.inf:
        raise OptionError(f"focal: focus must be at least 0 and finite, got {focus}")

    def per_example(logits: Outputs, labels: Labels) -> Losses:
        log_p = _chosen(jax.nn.log_softmax(logits, axis=-1), labels)
        # 1 − p as −expm1(log p); the floor keeps the power's slope finite at p = 1
        return -jnp.power(jnp.maximum(-jnp.expm1(log_p), 1e-7), focus) * log_p

    return Loss("focal", "classification", per_example, jax.nn.softmax, options={"focus": focus})


def hinge() -> Loss:
    """max(0, 1 + max over other classes of z − z[y]): a margin of 1 (Crammer & Singer 2001).

    Its probabilities are a softmax of the margins: they rank, but are not calibrated.
    """

    def per_example(logits: Outputs, labels: Labels) -> Losses:
        is_true = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
        best_other = jnp.max(jnp.where(is_true, -jnp.inf, logits), axis=-1)
        return jnp.maximum(0.0, 1.0 + best_other - _chosen(logits, labels))

    return Loss("hinge", "classification", per_example, jax.nn.softmax)


def kl_divergence() -> Loss:
    """Σ p log(p ∕ q), from logits of q: for targets that are distributions p, (batch, classes).

    Targets that are class codes are taken for one-hot, of which it is the cross-entropy.
    """

    def per_example(logits: Outputs, targets: Any) -> Losses:
        log_q = jax.nn.log_softmax(logits, axis=-1)
        if targets.ndim == 1:
            return -_chosen(log_q, targets)
        return jnp.sum(jax.scipy.special.xlogy(targets, targets) - targets * log_q, axis=-1)

    return Loss("kl", "classification", per_example, jax.nn.softmax)


def from_function(function: Callable[[Any, Any], Any], task: str) -> Loss:
    """Return a loss made from ``function(outputs, targets) -> losses``.

    The shapes are (batch, outputs), (batch,) and (batch,).
    For classification the outputs are taken for logits, for regression the first is the prediction.
    """
    predict = jax.nn.softmax if task == "classification" else lambda outputs: outputs[:, 0]
    return Loss(getattr(function, "__name__", "custom"), task, function, predict, is_own=True)


LOSSES: dict[str, Callable[..., Loss]] = {
    "squared-error": squared_error,
    "absolute-error": absolute_error,
    "huber": huber,
    "log-cosh": log_cosh,
    "quantile": quantile,
    "poisson": poisson,
    "softmax-cross-entropy": softmax_cross_entropy,
    "binary-cross-entropy": binary_cross_entropy,
    "label-smoothing": label_smoothing,
    "focal": focal,
    "hinge": hinge,
    "kl": kl_divergence,
}

DEFAULT_LOSS = {"classification": "softmax-cross-entropy", "regression": "squared-error"}


@lru_cache(maxsize=64)
def loss_by_name(name: str, task: str, n_classes: int = 0) -> Loss:
    """Return the loss called `name`, after checking that it suits the task.

    Args:
        name: a name of `LOSSES`; its one number may follow a colon, as in ``"quantile:0.9"``.
        task: ``"classification"`` or ``"regression"``.
        n_classes: classes of the target; 0 for regression.

    Raises:
        OptionError: no such loss, a number that it does not take, a loss for the other task, or a single
            logit for more than two classes.
    """
    loss = parse_loss(name)
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


def parse_loss(text: str) -> Loss:
    """Return the loss that ``name`` or ``name:number`` stands for; OptionError where there is none."""
    name, _, number = text.partition(":")
    if name not in LOSSES:
        near = did_you_mean(name, LOSSES)
        raise OptionError(f"--loss: unknown loss '{name}'.{near} Choose one of {', '.join(LOSSES)}")
    if not number:
        return LOSSES[name]()
    if not inspect.signature(LOSSES[name]).parameters:
        raise OptionError(f"--loss {text}: {name} takes no number; leave out ':{number}'")
    try:
        return LOSSES[name](float(number))
    except ValueError as error:
        if isinstance(error, OptionError):
            raise
        raise OptionError(f"--loss {text}: '{number}' is not a number") from None


def _chosen(values: Outputs, labels: Labels) -> Losses:
    """Return the value of each row's own class."""
    return jnp.take_along_axis(values, labels[:, None], axis=-1)[:, 0]


def _regression(name: str, of_error: Callable[[Any], Any], **options: float) -> Loss:
    def per_example(outputs: Outputs, targets: Numbers) -> Losses:
        return of_error(outputs[:, 0] - targets)

    return Loss(name, "regression", per_example, lambda outputs: outputs[:, 0], options=options)


def _two_probabilities(logits: Outputs) -> Float[Array, "batch 2"]:
    # not 1 − σ(z), which is 0 from z = 17
    return jnp.concatenate([jax.nn.sigmoid(-logits), jax.nn.sigmoid(logits)], axis=-1)
