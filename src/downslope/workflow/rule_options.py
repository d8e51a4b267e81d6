"""The rule that the options ask for: by itself, and with what goes before and after it."""

from functools import lru_cache

from downslope.errors import OptionError
from downslope.rules.averaging import with_ema
from downslope.rules.clipping import clip_by_global_norm
from downslope.rules.decay import DECOUPLED
from downslope.rules.registry import rule_by_name
from downslope.rules.rule import Rule, as_rule, chain
from downslope.workflow.options import TrainOptions


def base_rule(options: TrainOptions) -> Rule:
    """Return the rule that was asked for, by itself.

    Without a word on it the weights of a linear model do not decay. They are the answer itself, and as large
    as the columns ask for; decoupled decay pulls them back in proportion to the learning rate, which a
    linear model can have large. LAMB alone needs it: its steps grow with the weights.
    """
    if isinstance(options.optimizer, str):
        weight_decay = None if options.weight_decay == "auto" else options.weight_decay
        if options.weight_decay is None and options.model == "linear" and options.optimizer != "lamb":
            weight_decay = 0.0
        decay = {} if weight_decay is None else {"weight_decay": weight_decay}
        return _named_rule(options.optimizer, **decay)
    if options.weight_decay not in (None, "auto"):
        raise OptionError("--weight-decay goes with an optimizer's name; give it to the rule itself instead")
    rule = as_rule(options.optimizer)
    is_decoupled = rule.name in DECOUPLED
    if options.weight_decay == "auto" and not (is_decoupled and "weight_decay" in rule.hyperparameters):
        what = "within a chain" if is_decoupled else rule.name  # a chain has the name of the rule in it
        raise OptionError(f"--weight-decay auto goes with {', '.join(DECOUPLED)}, not {what}")
    fits = options.learning_rate in (None, "auto", rule.learning_rate)
    if not fits and not isinstance(options.optimizer, Rule):
        raise OptionError(
            "--learning-rate: an Optax transformation has a learning rate of its own; give it there, or take "
            "one of Downslope's rules"
        )
    return rule


def wrapped(rule: Rule, options: TrainOptions) -> Rule:
    """Return the rule with clipping before it and averaging after it, where they were asked for."""
    by_name = isinstance(options.optimizer, str)
    return (_wrapped if by_name else _wrapped.__wrapped__)(rule, options.clip_norm, options.ema)


@lru_cache(maxsize=64)
def _named_rule(name: str, **hyperparameters: float) -> Rule:
    return rule_by_name(name, **hyperparameters)


@lru_cache(maxsize=64)
def _wrapped(rule: Rule, clip_norm: float | None, ema: float | None) -> Rule:
    if clip_norm is not None:
        rule = chain(clip_by_global_norm(clip_norm), rule)
    return rule if ema is None else with_ema(rule, ema)
