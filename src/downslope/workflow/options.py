"""Every option of a training run, and the check that each value makes sense before anything is read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from downslope.data.dialect import parse_delimiter
from downslope.data.target import TASKS, Task
from downslope.errors import OptionError, did_you_mean
from downslope.gradient.precision import PRECISIONS
from downslope.losses import parse_loss
from downslope.models.layers import ACTIVATIONS
from downslope.rules.decay import DECOUPLED
from downslope.rules.registry import RULES
from downslope.stepsize.schedule import SCHEDULES

MEASURED_SCHEDULES = ("plateau", "line-search")
MODELS = ("linear", "mlp")
SWITCHES = ("header", "batch_norm", "layer_norm", "early_stopping", "watch_sharpness", "guard")
OF_HIDDEN_LAYERS = ("hidden", "activation", "batch_norm", "layer_norm", "group_norm", "dropout", "ramps")
OWN = "own: "  # what config.json puts before the name of what is a function, which no folder can hold
OWN_ARRAYS = ("sample_weight", "test")  # where the user's own, config.json has them as true


def is_own(name: str, stored: Any) -> bool:
    """Return whether an option, as config.json has it, was an object of the user's own.

    >>> is_own("loss", "own: my_loss"), is_own("sample_weight", True), is_own("sample_weight", "own: column")
    (True, True, False)
    """
    return stored is True if name in OWN_ARRAYS else str(stored).startswith(OWN)


@dataclass(frozen=True)
class TrainOptions:
    """What a user may say about a run. `None` means: chosen from the data, and printed.

    Attributes:
        target: column to predict.
        task: ``"classification"`` or ``"regression"``; None: from the target's values.
        test: data to test on, of the same columns; None: a share of the rows is held out.
        test_fraction: share of the rows held out to test on, 0 ≤ fraction < 1.
        validation_fraction: share of the rows held out to choose the best weights, 0 ≤ fraction < 1.
        drop: columns to leave out.
        header: whether the first line of a text file names the columns.
        delimiter: what separates the cells of a text file; None: found out.
        model: ``"mlp"``, ``"linear"``, or a network of your own (`models.functional.as_model`).
        hidden: width of each hidden layer of the mlp.
        activation: one of `models.layers.ACTIVATIONS`.
        batch_norm, layer_norm: normalise over the batch, or over the units.
        group_norm: normalise over so many groups of units, ≥ 0; each hidden width must divide by it.
        dropout: share of units silenced at each training step, 0 ≤ dropout < 1; None: 0.1 in the mlp.
        ramps: into how many steps each number is also cut (`models.layers.ramps`), ≥ 0; None: by the rows.
        loss: one of `losses.LOSSES`, its number after a colon (``"quantile:0.9"``), or a function
            ``(outputs, targets) -> losses`` of shapes (batch, outputs), (batch,), (batch,); None: by task.
        sample_weight: column of each row's weight, ≥ 0, or an array (rows,) beside arrays or a frame.
        class_weight: ``"balanced"`` for weights that make all classes count alike, or {label: weight}. Both
            weights count in the loss of the validation rows too, for it steers; test rows count alike.
        optimizer: a name of `rules.registry.RULES`, a `Rule`, or an Optax transformation.
        learning_rate: > 0; ``"auto"`` or None: chosen by a race on the data (`tuning.race`); an Optax
            transformation keeps its own.
        schedule: ``"auto"`` for warm-up, constant rate, and a decay that begins when the validation loss
            stands still; one of `stepsize.schedule.SCHEDULES`; ``"plateau"`` to lower the rate when the
            validation loss stands still; ``"line-search"`` to measure every step; a function
            ``(step, total_steps) -> multiplier`` of the learning rate; None: ``"auto"`` where the learning
            rate is, else what suits the rule.
        weight_decay: ≥ 0; ``"auto"``: the rule's own, raised while smaller weights do better on the
            validation rows (`training.steering`), for the rules of `rules.decay.DECOUPLED`. None: ``"auto"``
            where it can be, else the rule's own; 0 for ``model="linear"`` unless the rule is ``"lamb"``.
        batch_size: rows per gradient, or ``"full"`` for all of them; None: by the number of rows.
        accumulate: into how many parts a batch is cut to save memory, ≥ 1; the gradient is the whole
            batch's, but for dropout and batch normalisation.
        clip_norm: gradients longer than this are shortened to it, > 0; None: never.
        ema: keep an exponential average of the weights that forgets 1 − ema per step, in [0, 1); None: none.
        precision: ``"float32"``, ``"bfloat16"`` or ``"float16"`` for the forward and backward pass.
        devices: ``"all"`` or a number of devices to spread each batch over; None: the default device.
        shard: ``"parameters"`` to spread weights and rule state over the devices too.
        epochs: passes over the training rows, at most; None: by the number of rows. With the schedule
            ``"auto"``, None or ``"auto"`` means: until the validation loss stands still, and the decay.
        max_seconds: training time, at most.
        early_stopping: with the schedule ``"auto"`` and no number of epochs: begin the decay when the
            validation loss stands still, not after a number of epochs; with another schedule: stop when the
            validation loss has not improved for half of the epochs (at least 10).
        watch_sharpness: measure the largest eigenvalue of the Hessian after every epoch.
        guard: when the descent goes wrong, go back and on with smaller steps (`training.guard`).
        seed: an integer ≥ 0; the same seed gives the same run, bit for bit, on the same machine.
        checkpoint_every: seconds between checkpoints, ≥ 0.
    """

    target: str | None = None
    task: Task | None = None
    test: Any = None
    test_fraction: float = 0.2
    validation_fraction: float = 0.1
    drop: Sequence[str] = ()
    header: bool = True
    delimiter: str | None = None
    model: Any = "mlp"
    hidden: Sequence[int] | None = None
    activation: str = "silu"
    batch_norm: bool = False
    layer_norm: bool = False
    group_norm: int = 0
    dropout: float | None = None
    ramps: int | None = None
    loss: Any = None
    sample_weight: Any = None
    class_weight: Any = None
    optimizer: Any = "adamw"
    learning_rate: float | str | None = "auto"
    schedule: Any = None
    weight_decay: float | str | None = None
    batch_size: int | str | None = None
    accumulate: int = 1
    clip_norm: float | None = None
    ema: float | None = None
    precision: str = "float32"
    devices: str | int | None = None
    shard: str | None = None
    epochs: int | str | None = None
    max_seconds: float | None = None
    early_stopping: bool = True
    watch_sharpness: bool = False
    guard: bool = True
    seed: int = 0
    checkpoint_every: float = 30.0

    def __post_init__(self) -> None:
        """Refuse values that no data could make right."""
        if not isinstance(self.target, str | None):
            hint = f"; pass '{self.target}'" if isinstance(self.target, int) else ""
            raise OptionError(f"--target must be the name of a column, got {self.target!r}{hint}")
        if not isinstance(self.drop, list | tuple) or not all(isinstance(name, str) for name in self.drop):
            raise OptionError(f"--drop must be a list of names of columns, got {self.drop!r}")
        for name in SWITCHES:
            value = getattr(self, name)
            if not isinstance(value, int) or value not in (0, 1):
                raise OptionError(f"{name} must be True or False, got {value!r}")
        if isinstance(self.model, str):
            _among("model", self.model, MODELS)
        _among("activation", self.activation, ACTIVATIONS)
        _among("task", self.task, TASKS)
        if isinstance(self.loss, str):
            parse_loss(self.loss)
        elif self.loss is not None and not callable(self.loss):
            raise OptionError(
                "--loss must be a name, such as 'huber' or 'huber:2', or a function of outputs and targets; "
                f"got a {type(self.loss).__name__}"
            )
        if not callable(self.schedule):
            _among("schedule", self.schedule, ("auto", *SCHEDULES, *MEASURED_SCHEDULES))
        _among("precision", self.precision, PRECISIONS)
        _among("shard", self.shard, ("parameters",))
        if isinstance(self.optimizer, str):
            _among("optimizer", self.optimizer, RULES)
        _number("test_fraction", self.test_fraction, "at least 0 and below 1", lambda x: 0 <= x < 1)
        _number(
            "validation_fraction", self.validation_fraction, "at least 0 and below 1", lambda x: 0 <= x < 1
        )
        _number("dropout", self.dropout, "at least 0 and below 1", lambda x: 0 <= x < 1)
        if self.learning_rate != "auto":
            above_0 = "above 0 and below 1e38, or 'auto'"
            _number("learning_rate", self.learning_rate, above_0, lambda x: 0 < x < 1e38)
        if self.weight_decay != "auto":
            _number("weight_decay", self.weight_decay, "at least 0, or 'auto'", lambda x: x >= 0)
        elif isinstance(self.optimizer, str) and self.optimizer not in DECOUPLED:
            raise OptionError(f"--weight-decay auto goes with {', '.join(DECOUPLED)}, not {self.optimizer}")
        _number("max_seconds", self.max_seconds, "above 0", lambda x: x > 0)
        _number("checkpoint_every", self.checkpoint_every, "at least 0", lambda x: x >= 0)
        _number("clip_norm", self.clip_norm, "above 0", lambda x: x > 0)
        _number("ema", self.ema, "at least 0 and below 1", lambda x: 0 <= x < 1)
        _whole("accumulate", self.accumulate, 1)
        if self.schedule == "line-search" and self.accumulate > 1:
            raise OptionError(
                "--schedule line-search measures whole batches, which --accumulate cuts into parts with "
                "dropout and batch statistics of their own; leave out one of them"
            )
        _whole("group_norm", self.group_norm, 0)
        if self.devices != "all":
            _whole("devices", self.devices, 1, " or 'all'")
        if self.epochs != "auto":
            _whole("epochs", self.epochs, 1)
        _whole("ramps", self.ramps, 0)
        _whole("seed", self.seed, 0)
        if self.seed >= 2**32:
            raise OptionError(f"--seed must be below 2**32, got {self.seed}")
        if self.batch_size != "full":
            _whole("batch_size", self.batch_size, 1, " or 'full'")
        if not isinstance(self.hidden, list | tuple | None):
            raise OptionError(f"--hidden must be a list of widths, such as 256,256, got {self.hidden!r}")
        for width in self.hidden or ():
            _whole("hidden", width, 1, " for each layer, such as 256,256")
        if self.test is not None and self.test_fraction != TrainOptions.test_fraction:
            raise OptionError("--test and --test-fraction exclude each other; give one of them")
        if not isinstance(self.delimiter, str | None):
            raise OptionError(f"--delimiter must be one character, such as ';', got {self.delimiter!r}")
        if self.delimiter is not None:
            parse_delimiter(self.delimiter)
        layers = [name for name in OF_HIDDEN_LAYERS if getattr(self, name) != getattr(TrainOptions, name)]
        if not isinstance(self.model, str) and layers:
            raise OptionError(
                f"{_flag(layers[0])} is for --model mlp; a network of your own has its own layers"
            )
        if self.model == "linear" and any(getattr(self, name) for name in layers):
            raise OptionError(
                "--model linear has no hidden layers: leave out --hidden, --activation, --dropout, --ramps "
                "and the norms"
            )


def options_from(
    given: Mapping[str, Any], caller: str = "train", not_for: Mapping[str, str] = MappingProxyType({})
) -> TrainOptions:
    """Return the options of a library call.

    Args:
        given: options by name.
        caller: the function that was called.
        not_for: what it does not take, and what to do instead.

    Raises:
        OptionError: a name that does not exist, or one of `not_for`.
    """
    known = [field.name for field in fields(TrainOptions) if field.name not in not_for]
    for name in given:
        if name in not_for:
            raise OptionError(f"{caller}() takes no '{name}': {not_for[name]}")
        if name not in known:
            raise OptionError(f"{caller}() has no argument '{name}'.{did_you_mean(name, known)}")
    return TrainOptions(**{name: _plain(value) for name, value in given.items()})


def _plain(value: Any) -> Any:
    """Return NumPy's numbers, as sweeps bring them, as Python's."""
    if type(value) in (list, tuple):
        return type(value)(one.item() if isinstance(one, np.generic) else one for one in value)
    return value.item() if isinstance(value, np.generic) else value


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _is_left_open(name: str, value: Any) -> bool:
    """Return whether the value is None, and that stands for a choice."""
    return value is None and (name == "learning_rate" or getattr(TrainOptions, name) is None)


def _among(name: str, value: Any, allowed: Any) -> None:
    if _is_left_open(name, value) or (isinstance(value, str) and value in allowed):
        return
    near = did_you_mean(str(value), allowed)
    raise OptionError(f"{_flag(name)}: unknown '{value}'.{near} Choose one of {', '.join(allowed)}")


def _number(name: str, value: Any, allowed: str, holds: Any) -> None:
    if _is_left_open(name, value):
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not holds(value):
        raise OptionError(f"{_flag(name)} must be a number {allowed}, got {value!r}")


def _whole(name: str, value: Any, least: int, more: str = "") -> None:
    if _is_left_open(name, value):
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise OptionError(f"{_flag(name)} must be a whole number of at least {least}{more}, got {value!r}")
