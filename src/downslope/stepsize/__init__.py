"""How far to step: schedules of the learning rate, reduction on plateau, and line search."""

from downslope.stepsize.linesearch import LineSearch, LineSearchInfo, LineSearchState, backtracking
from downslope.stepsize.plateau import Plateau, PlateauState, reduce_on_plateau
from downslope.stepsize.schedule import SCHEDULES, Schedule, from_optax, schedule_by_name

__all__ = [
    "SCHEDULES",
    "LineSearch",
    "LineSearchInfo",
    "LineSearchState",
    "Plateau",
    "PlateauState",
    "Schedule",
    "backtracking",
    "from_optax",
    "reduce_on_plateau",
    "schedule_by_name",
]
