"""Groups of parameters: own rule, own rate, own decay, or frozen, chosen by the path of the leaf."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import jax
import jax.numpy as jnp
import optax

from downslope.errors import OptionError, did_you_mean
from downslope.pytrees import paths, zeros_like
from downslope.rules.leafwise import each_leaf
from downslope.rules.partition import labels, merge, split
from downslope.rules.ranges import NOT_NEGATIVE, POSITIVE, checked
from downslope.rules.registry import rule_by_name
from downslope.rules.rule import Rule, as_rule

PyTree = Any


@dataclass(frozen=True)
class Group:
    """What differs for the leaves whose path matches a pattern.

    Args:
        pattern: as for file names, over the whole path: ``"*/bias"``, ``"layers/0/*"``; ``*`` also matches
            ``/``.
        rule: their own rule; `None`: the rule of all others.
        rate: their learning rate as a multiple of the others', > 0.
        weight_decay: their own decay λ ≥ 0, on all leaves of the group; `None`: as the rule has it.
        frozen: leave them as they are; no state is kept for them.
    """

    pattern: str
    rule: Rule | optax.GradientTransformation | None = None
    rate: float = 1.0
    weight_decay: float | None = None
    frozen: bool = False


def with_groups(rule: Rule | optax.GradientTransformation, groups: Sequence[Group]) -> Rule:
    """Return a rule that treats each group of leaves in its own way, and all other leaves by `rule`.

    A leaf belongs to the first group whose pattern it matches. What a rule reads of the whole tree
    (Prodigy's estimate, a clip by global norm) it reads of its group alone; put
    ``chain(clip_by_global_norm(1.0), with_groups(…))`` to clip over all.

    Raises:
        OptionError: a pattern that matches no leaf (at `init`), or a decay for a rule that is wrapped.

    >>> import jax.numpy as jnp
    >>> from downslope.rules import Group, sgd, with_groups
    >>> params = {"body": jnp.ones(2), "head": jnp.ones(2)}
    >>> rule = with_groups(sgd(), [Group("body", frozen=True), Group("head", rate=10.0)])
    >>> rule.direction(params, rule.init(params), params)[0]
    {'body': Array([0., 0.], dtype=float32), 'head': Array([10., 10.], dtype=float32)}
    """
    for group in groups:
        if not isinstance(group, Group):
            raise OptionError(f"with_groups takes a list of Group(pattern, …), got {group!r} among them")
    default = as_rule(rule)
    members = [*groups, Group("*")]
    rules = [_rule_of(group, default) for group in members]

    def parts(params):
        of_leaf = labels(params, lambda path, leaf: _first_match(path, members))
        return of_leaf, split(params, of_leaf, len(members))

    def init(params):
        names = paths(params)
        for group in groups:
            if not any(fnmatchcase(name, group.pattern) for name in names):
                raise OptionError(
                    f"no parameter matches the pattern '{group.pattern}'."
                    f"{did_you_mean(group.pattern, names)} The parameters are: {', '.join(names)}."
                )
        of_leaf, own = parts(params)
        for place, group in enumerate(groups):
            if place not in jax.tree.leaves(of_leaf):
                raise OptionError(
                    f"every parameter that '{group.pattern}' matches is in an earlier group; put it first"
                )
        if names and all(rules[place] is None for place in jax.tree.leaves(of_leaf)):
            raise OptionError("every parameter is frozen; leave some to train")
        return tuple(() if r is None else r.init(part) for r, part in zip(rules, own, strict=True))

    def direction(grads, state, params, *, step_size=None, **context):
        of_leaf, own = parts(params)
        directions, states = [], []
        undecayed = {name: value for name, value in context.items() if name != "weight_decay"}
        rows = zip(members, rules, split(grads, of_leaf, len(members)), state, own, strict=True)
        for group, own_rule, own_grads, own_state, own_params in rows:
            if own_rule is None:
                d = zeros_like(own_params)
            else:
                own_step_size = None if step_size is None else group.rate * jnp.asarray(step_size)
                has_own_decay = group.rule is not None or group.weight_decay is not None
                told = undecayed if has_own_decay else context
                d, own_state = own_rule.direction(
                    own_grads, own_state, own_params, step_size=own_step_size, **told
                )
                (d,) = each_leaf(lambda d, rate: (rate * d,), own_params, d, numbers=(group.rate,))
            directions.append(d)
            states.append(own_state)
        return merge(directions, of_leaf, like=params), tuple(states)

    def evaluated(params, state):
        of_leaf, own = parts(params)
        chosen = [
            part if r is None or r.evaluated is None else r.evaluated(part, own_state)
            for r, part, own_state in zip(rules, own, state, strict=True)
        ]
        return merge(chosen, of_leaf, like=params)

    averages = any(r is not None and r.evaluated is not None for r in rules)
    record = {**default.hyperparameters, "groups": [_record(group) for group in groups]}
    return replace(
        default,
        init=init,
        direction=direction,
        hyperparameters=record,
        evaluated=evaluated if averages else None,
        needs_step_size=any(r is not None and r.needs_step_size for r in rules),
    )


def _rule_of(group: Group, default: Rule) -> Rule | None:
    """Return the rule of a group with its decay, or `None` where it is frozen."""
    if group.frozen:
        return None
    checked(f"group '{group.pattern}'", rate=(group.rate, POSITIVE))
    own = default if group.rule is None else as_rule(group.rule)
    if group.weight_decay is None:
        return own
    checked(f"group '{group.pattern}'", weight_decay=(group.weight_decay, NOT_NEGATIVE))
    try:
        decay = {"weight_decay": group.weight_decay, "decay_mask": None}
        return rule_by_name(own.name, **{**own.hyperparameters, **decay})
    except OptionError as error:
        raise OptionError(
            f"group '{group.pattern}': the decay of '{own.name}' cannot be changed, as it is wrapped or not "
            f"made by Downslope; give the group a rule of its own, such as rule=adamw(weight_decay=0.1)"
        ) from error


def _first_match(path: str, members: Sequence[Group]) -> int:
    return next(i for i, group in enumerate(members) if fnmatchcase(path, group.pattern))


def _record(group: Group) -> dict[str, Any]:
    rule = None if group.rule is None else as_rule(group.rule).name
    return {
        "pattern": group.pattern,
        "rule": rule,
        "rate": group.rate,
        "weight_decay": group.weight_decay,
        "frozen": group.frozen,
    }
