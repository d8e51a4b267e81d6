"""Downslope: train neural networks, and minimise any differentiable loss, by gradient descent.

    params  ←  params − step_size · direction(gradient)

Names are loaded when they are first used, so that ``import downslope`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from downslope.errors import (
        DataError as DataError,
        DownslopeError as DownslopeError,
        InputError as InputError,
        NonFiniteError as NonFiniteError,
        OptionError as OptionError,
        RunFolderError as RunFolderError,
        TrainingError as TrainingError,
    )
    from downslope.rules import *  # noqa: F403
    from downslope.sklearn import (
        DownslopeClassifier as DownslopeClassifier,
        DownslopeRegressor as DownslopeRegressor,
    )
    from downslope.stepsize import (
        LineSearch as LineSearch,
        Plateau as Plateau,
        Schedule as Schedule,
        backtracking as backtracking,
        reduce_on_plateau as reduce_on_plateau,
        schedule_by_name as schedule_by_name,
    )
    from downslope.training.minimize import MinimizeResult as MinimizeResult, minimize as minimize
    from downslope.workflow.compare import compare as compare
    from downslope.workflow.comparison import Comparison as Comparison
    from downslope.workflow.find import (
        LearningRateCurve as LearningRateCurve,
        find_learning_rate as find_learning_rate,
    )
    from downslope.workflow.landscape import landscape as landscape
    from downslope.workflow.run import Run as Run
    from downslope.workflow.sharpness import sharpness as sharpness
    from downslope.workflow.train import train as train

_RULES = [
    "gradient_descent",
    "sgd",
    "momentum",
    "nesterov",
    "adagrad",
    "adadelta",
    "rmsprop",
    "adam",
    "amsgrad",
    "adamax",
    "nadam",
    "nadamw",
    "radam",
    "adamw",
    "lars",
    "lamb",
    "lion",
    "adafactor",
    "muon",
    "schedule_free_sgd",
    "schedule_free_adamw",
    "prodigy",
    "lbfgs",
    "Rule",
    "Group",
    "as_rule",
    "from_optax",
    "chain",
    "clip_by_global_norm",
    "clip_by_value",
    "clip_adaptive",
    "with_ema",
    "with_swa",
    "lookahead",
    "with_groups",
    "rule_by_name",
]

_STEP_SIZES = [
    "LineSearch",
    "Plateau",
    "Schedule",
    "backtracking",
    "reduce_on_plateau",
    "schedule_by_name",
]

# What is public, in the order in which data flows, and where it lives.
_HOME = {
    "train": "downslope.workflow.train",
    "Run": "downslope.workflow.run",
    "DownslopeClassifier": "downslope.sklearn",
    "DownslopeRegressor": "downslope.sklearn",
    "sharpness": "downslope.workflow.sharpness",
    "landscape": "downslope.workflow.landscape",
    "compare": "downslope.workflow.compare",
    "Comparison": "downslope.workflow.comparison",
    "find_learning_rate": "downslope.workflow.find",
    "LearningRateCurve": "downslope.workflow.find",
    "minimize": "downslope.training.minimize",
    "MinimizeResult": "downslope.training.minimize",
    **dict.fromkeys(_RULES, "downslope.rules"),
    **dict.fromkeys(_STEP_SIZES, "downslope.stepsize"),
    **dict.fromkeys(
        [
            "DownslopeError",
            "InputError",
            "DataError",
            "OptionError",
            "RunFolderError",
            "TrainingError",
            "NonFiniteError",
        ],
        "downslope.errors",
    ),
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'downslope' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
