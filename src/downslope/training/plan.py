"""What a descent is given and what it gives: the plan, the problem, the end."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from downslope.gradient.backprop import Batch, Objective
from downslope.rules.rule import Rule
from downslope.stepsize.plateau import Plateau
from downslope.stepsize.schedule import Schedule
from downslope.training.devices import ONE_DEVICE, Devices
from downslope.training.evaluate import Evaluation
from downslope.training.guard import UNGUARDED, Guard
from downslope.training.pacing import Pacing
from downslope.training.programs import Programs
from downslope.training.progress import Progress
from downslope.training.step import Step


@dataclass(frozen=True)
class Plan:
    """How long to descend and how fast.

    Attributes:
        epochs: passes over the training rows, at most.
        batch_size: rows averaged into one gradient.
        learning_rate: > 0.
        seed: what the order of the rows and dropout are a function of.
        patience: epochs without a better validation loss before stopping; None: never.
        max_seconds: training time, at most; None: no limit.
        checkpoint_every: seconds between checkpoints, at least.
        micro_batches: into how many parts a batch is cut to save memory.
        plateau: lowers the learning rate when the validation loss stands still; None: never.
        pacing: decides on the way when the decay begins; None: the schedule is stretched over all epochs.
        devices: where to run.
        snapshots_per_epoch: how often listeners are told the weights, at the start and then at even steps
            of every epoch, its end among them; 0: never.
        guard: what to do when the descent goes wrong; by default, stop.
        least_decay: where weight decay begins that is steered (`training.steering`), and its least, > 0;
            None: it stays the rule's own.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    patience: int | None = None
    max_seconds: float | None = None
    checkpoint_every: float = 30.0
    micro_batches: int = 1
    plateau: Plateau | None = None
    pacing: Pacing | None = None
    devices: Devices = ONE_DEVICE
    snapshots_per_epoch: int = 0
    guard: Guard = UNGUARDED
    least_decay: float | None = None

    @property
    def lanes(self) -> int:
        """Width of a batch with the padding that equal shares for all devices and micro-batches need."""
        share = self.devices.count * self.micro_batches
        return -(-self.batch_size // share) * share


@dataclass(frozen=True)
class Problem:
    """What is descended: the parts that compiled code is made of, and the rows.

    Attributes:
        objective: the loss of a batch in training mode (`gradient.backprop.training_objective`).
        step: one step downhill (`training.step.make_step`).
        rule, schedule: those inside `step`.
        evaluation: outputs and losses in evaluation mode (`training.evaluate.make_evaluation`), jitted.
        score: predictions on the validation rows → the number people read (accuracy or R²).
        train, validation: rows in memory; `validation` is None where there are none.
        programs: those of `training.programs.programs_of`, where they are there already.
        sharpness: (params, model_state) → largest eigenvalue of the Hessian, watched every epoch; or None.
    """

    objective: Objective
    step: Step
    rule: Rule
    schedule: Schedule
    evaluation: Evaluation
    score: Callable[[np.ndarray], float]
    train: Batch
    validation: Batch | None
    sharpness: Callable[[Any, Any], float] | None = None
    programs: Programs | None = None


@dataclass(frozen=True)
class Descent:
    """Where a descent ended.

    Attributes:
        params, model_state: the kept weights: best on the validation rows, or the last finite ones.
        progress: history, best epoch, why it stopped.
        compile_seconds: time spent compiling.
        learning_rate: the plan's, or the one that was chosen.
    """

    params: Any
    model_state: Any
    progress: Progress
    compile_seconds: float
    learning_rate: float
