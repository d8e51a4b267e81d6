"""Update rules: which way to step. One (init, direction) pair per rule, each from its paper."""

from downslope.rules.adafactor import adafactor
from downslope.rules.adagrad import adadelta, adagrad
from downslope.rules.adam import adam, adamw, amsgrad
from downslope.rules.adamax import adamax, radam
from downslope.rules.averaging import lookahead, with_ema, with_swa
from downslope.rules.clipping import clip_adaptive, clip_by_global_norm, clip_by_value
from downslope.rules.groups import Group, with_groups
from downslope.rules.lamb import lamb, lars
from downslope.rules.lbfgs import lbfgs
from downslope.rules.lion import lion
from downslope.rules.muon import muon
from downslope.rules.nadam import nadam, nadamw
from downslope.rules.prodigy import prodigy
from downslope.rules.registry import RULES, RuleInfo, rule_by_name
from downslope.rules.rmsprop import rmsprop
from downslope.rules.rule import Rule, as_rule, chain, from_optax
from downslope.rules.schedule_free import schedule_free_adamw, schedule_free_sgd
from downslope.rules.sgd import gradient_descent, momentum, nesterov, sgd

__all__ = [
    "RULES",
    "Group",
    "Rule",
    "RuleInfo",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "amsgrad",
    "as_rule",
    "chain",
    "clip_adaptive",
    "clip_by_global_norm",
    "clip_by_value",
    "from_optax",
    "gradient_descent",
    "lamb",
    "lars",
    "lbfgs",
    "lion",
    "lookahead",
    "momentum",
    "muon",
    "nadam",
    "nadamw",
    "nesterov",
    "prodigy",
    "radam",
    "rmsprop",
    "rule_by_name",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "sgd",
    "with_ema",
    "with_groups",
    "with_swa",
]
