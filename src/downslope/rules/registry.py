"""Every update rule by the name that is typed: what it adapts, what it keeps in memory, its paper."""

import copyreg
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from downslope.errors import OptionError, did_you_mean
from downslope.rules.adafactor import adafactor
from downslope.rules.adagrad import adadelta, adagrad
from downslope.rules.adam import adam, adamw, amsgrad
from downslope.rules.adamax import adamax, radam
from downslope.rules.lamb import lamb, lars
from downslope.rules.lion import lion
from downslope.rules.muon import muon
from downslope.rules.nadam import nadam, nadamw
from downslope.rules.prodigy import prodigy
from downslope.rules.rmsprop import rmsprop
from downslope.rules.rule import Rule
from downslope.rules.schedule_free import schedule_free_adamw, schedule_free_sgd
from downslope.rules.sgd import gradient_descent, momentum, nesterov, sgd


@dataclass(frozen=True)
class RuleInfo:
    """One line of `downslope rules`.

    Args:
        name: as typed: ``"gradient-descent"``.
        factory: makes the rule from its hyperparameters.
        adapts: what of the step the rule adapts to what it has seen, in a few words.
        memory: numbers kept per parameter, as text: ``"2"``.
        paper: first author and year.
    """

    name: str
    factory: Callable[..., Rule]
    adapts: str
    memory: str
    paper: str


_TABLE = (
    RuleInfo("gradient-descent", gradient_descent, "nothing", "0", "Cauchy 1847"),
    RuleInfo("sgd", sgd, "nothing; gradients of random batches", "0", "Robbins & Monro 1951"),
    RuleInfo("momentum", momentum, "direction: sum of past gradients", "1", "Polyak 1964"),
    RuleInfo("nesterov", nesterov, "direction: momentum, looking ahead", "1", "Nesterov 1983"),
    RuleInfo("adagrad", adagrad, "each coordinate: sum of squares", "1", "Duchi et al. 2011"),
    RuleInfo("adadelta", adadelta, "each coordinate: ratio of two root mean squares", "2", "Zeiler 2012"),
    RuleInfo("rmsprop", rmsprop, "each coordinate: root mean square", "1", "Tieleman & Hinton 2012"),
    RuleInfo("adam", adam, "each coordinate: mean over root mean square", "2", "Kingma & Ba 2015"),
    RuleInfo("amsgrad", amsgrad, "as adam, steps never grow back", "3", "Reddi et al. 2018"),
    RuleInfo("adamax", adamax, "each coordinate: mean over largest", "2", "Kingma & Ba 2015"),
    RuleInfo("nadam", nadam, "as adam, looking ahead", "2", "Dozat 2016"),
    RuleInfo("nadamw", nadamw, "as nadam, with decoupled weight decay", "2", "Dozat 2016"),
    RuleInfo("radam", radam, "as adam, once its variance is reliable", "2", "Liu et al. 2020"),
    RuleInfo("adamw", adamw, "as adam, with decoupled weight decay", "2", "Loshchilov & Hutter 2019"),
    RuleInfo("lars", lars, "each layer: norm of its weights", "1", "You et al. 2017"),
    RuleInfo("lamb", lamb, "as adamw, and each layer: norm of its weights", "2", "You et al. 2020"),
    RuleInfo("lion", lion, "direction: sign of a mean", "1", "Chen et al. 2023"),
    RuleInfo(
        "adafactor",
        adafactor,
        "each row and column: root mean square",
        "rows + columns",
        "Shazeer & Stern 2018",
    ),
    RuleInfo("muon", muon, "each matrix: all directions alike", "1 or 2", "Jordan et al. 2024"),
    RuleInfo("schedule-free-sgd", schedule_free_sgd, "evaluates an average", "1", "Defazio et al. 2024"),
    RuleInfo(
        "schedule-free-adamw",
        schedule_free_adamw,
        "as adamw; evaluates an average",
        "2",
        "Defazio et al. 2024",
    ),
    RuleInfo("prodigy", prodigy, "as adamw, and the learning rate itself", "4", "Mishchenko & Defazio 2024"),
)
RULES: dict[str, RuleInfo] = {info.name: info for info in _TABLE}


def rule_by_name(name: str, **hyperparameters: Any) -> Rule:
    """Return the rule called `name`, made with `hyperparameters`.

    Raises:
        OptionError: for a name, or a hyperparameter, that does not exist (the nearest are suggested), or a
            value outside its range.

    >>> rule_by_name("adamw", weight_decay=0.1).hyperparameters["weight_decay"]
    0.1
    """
    info = RULES.get(name)
    if info is None:
        raise OptionError(
            f"unknown rule '{name}'.{did_you_mean(name, RULES)} The rules are: {', '.join(RULES)}."
        )
    known = inspect.signature(info.factory).parameters
    for given in hyperparameters:
        if given not in known:
            raise OptionError(
                f"{name} has no hyperparameter '{given}'.{did_you_mean(given, known)} "
                f"It has: {', '.join(known)}."
            )
    return info.factory(**hyperparameters)


def _pickled(rule: Rule) -> tuple[Any, ...]:
    """Let `pickle` make a rule again from its name; TypeError for what no name describes."""
    try:
        again = rule_by_name(rule.name, **rule.hyperparameters)
    except OptionError:
        again = None
    if again is None or again.direction.__code__ is not rule.direction.__code__:
        raise TypeError(
            f"the rule '{rule.name}' cannot be pickled: it is not one of Downslope's, but made of others"
        )
    return _made_again, (rule.name, rule.hyperparameters)


def _made_again(name: str, hyperparameters: dict[str, Any]) -> Rule:
    return rule_by_name(name, **hyperparameters)


copyreg.pickle(Rule, _pickled)
