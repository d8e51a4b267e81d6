"""What an update rule is: which way to step, never how far.

    params  ←  params − step_size · direction(gradient)

A rule is a pair of pure functions over pytrees. `init` builds the state that the rule carries from
step to step, `direction` turns a gradient into the direction that is *subtracted*. The step size is
multiplied in by whoever calls the rule; a rule is told it only because a few papers need it. So one
compiled program can race many learning rates, and a run can lower its own without compiling again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from downslope.errors import OptionError
from downslope.rules.ranges import POSITIVE, checked

Params = Any
RuleState = Any

TRANSFORMATION = "optax-transformation"  # the name of one of gradients, which is no rule by itself


@dataclass(frozen=True)
class Rule:
    """An update rule: the (init, direction) pair with its name and its defaults.

    Args:
        name: as typed on the command line, such as ``"adamw"``.
        init: ``init(params) -> state``.
        direction: ``direction(grads, state, params, **context) -> (direction, state)``. `grads`,
            `params` and the returned direction have one structure and one set of shapes; the direction has
            the dtypes of `params`. `context` may hold `step` (int, first is 0), `step_size`, `loss`,
            `weight_decay` (scalars) and `key`; a rule names what it needs and ignores the rest. Rules of
            decoupled decay (`rules.decay.DECOUPLED`) have a default for `weight_decay`, their own.
        learning_rate: the step size to use when the user names none (dimensionless, > 0).
        hyperparameters: what the rule was made with; with `name`, enough to make it again.
        evaluated: ``evaluated(params, state) -> params``: the weights to measure and to save, where they
            differ from those at which the gradient is taken (Schedule-Free, averages). `None`: the same.
        schedule: the schedule that suits the rule when the user names none: ``"cosine"``, or ``"constant"``
            for the rules that do without.
        needs_step_size: whether `direction` must be told the step size; then none can be measured after it.
    """

    name: str
    init: Callable[[Params], RuleState]
    direction: Callable[..., tuple[Params, RuleState]]
    learning_rate: float
    hyperparameters: dict[str, Any] = field(default_factory=dict, hash=False)
    evaluated: Callable[[Params, RuleState], Params] | None = None
    schedule: str = "cosine"
    needs_step_size: bool = False

    def __copy__(self) -> "Rule":
        return self

    def __deepcopy__(self, memo: Any) -> "Rule":
        """Return the rule itself: nothing in it changes, and what it is made of need not be copyable."""
        return self

    def as_optax(self, learning_rate: float | optax.Schedule) -> optax.GradientTransformationExtraArgs:
        """Return this rule as an Optax transformation, whose updates are *added*: −learning_rate · direction.

        Its `update` always needs the params: ``update(grads, state, params)``. The loss, for a rule that
        reads it, is Optax's extra argument ``value``. Where the rule has `evaluated` weights, they are
        ``rule.evaluated(params, state[1])``: the state is (step, that of the rule).

        Args:
            learning_rate: a number > 0, or an Optax schedule (step → number).

        Raises:
            OptionError: the learning rate is none of these.
        """
        if not callable(learning_rate) and not hasattr(learning_rate, "dtype"):
            checked("as_optax", learning_rate=(learning_rate, POSITIVE))

        def init(params: Params) -> tuple[jax.Array, RuleState]:
            return jnp.zeros([], jnp.int32), self.init(params)

        def update(updates, state, params=None, **context):
            if params is None:
                raise OptionError(
                    f"the rule '{self.name}' needs the params: call update(grads, state, params)"
                )
            step, rule_state = state
            step_size = jnp.asarray(learning_rate(step) if callable(learning_rate) else learning_rate)
            context = {"loss": context.get("value"), **context, "step": step, "step_size": step_size}
            direction, rule_state = self.direction(updates, rule_state, params, **context)
            updates = jax.tree.map(lambda d: -jnp.asarray(step_size, d.dtype) * d, direction)
            return updates, (step + 1, rule_state)

        return optax.GradientTransformationExtraArgs(init, update)


def chain(*rules: Rule | optax.GradientTransformation) -> Rule:
    """Return the rules one after the other: the direction of each is the gradient of the next.

    Name, default learning rate, schedule and evaluated weights are those of the last that is more than a
    transformation of gradients, such as Optax's `clip` or `add_decayed_weights`.

    >>> from downslope.rules import adam, chain, sgd
    >>> chain(sgd(), adam()).learning_rate == adam().learning_rate
    True
    """
    if not rules:
        raise OptionError("chain needs at least one rule, such as chain(clip_by_global_norm(1.0), adam())")
    links = tuple(as_rule(rule) for rule in rules)
    whole = [place for place, link in enumerate(links) if link.name != TRANSFORMATION]
    place_of_last = whole[-1] if whole else -1
    last = links[place_of_last]

    def init(params):
        return tuple(link.init(params) for link in links)

    def direction(grads, state, params, **context):
        states = []
        for link, link_state in zip(links, state, strict=True):
            grads, link_state = link.direction(grads, link_state, params, **context)
            states.append(link_state)
        return grads, tuple(states)

    def evaluated(params, state):
        return params if last.evaluated is None else last.evaluated(params, state[place_of_last])

    return replace(
        last,
        init=init,
        direction=direction,
        evaluated=last.evaluated and evaluated,
        hyperparameters={"chain": [{"name": link.name, **link.hyperparameters} for link in links]},
        needs_step_size=any(link.needs_step_size for link in links),
    )


def from_optax(transformation: optax.GradientTransformation, name: str = "optax") -> Rule:
    """Return an Optax transformation as a rule.

    Optax's updates are added. An optimizer has the learning rate and the minus sign inside, so the step size
    that fits is 1, and a schedule multiplies the learning rate that is already there. A transformation of
    gradients, such as `optax.clip`, has neither, and its sign is kept; the two are told apart by what they
    make of a gradient.
    """
    extended = optax.with_extra_args_support(transformation)
    goes_uphill = _goes_uphill(extended)

    def direction(grads, state, params, *, loss=None, **context):
        try:
            updates, state = extended.update(grads, state, params, value=loss, grad=grads)
        except TypeError as error:  # such as: missing 1 required keyword-only argument: 'value_fn'
            if "missing" not in str(error):
                raise
            raise OptionError(
                f"this Optax transformation asks for more than gradient, params and loss ({error}); "
                "use a rule of Downslope's, such as downslope.lbfgs() for L-BFGS"
            ) from None
        return updates if goes_uphill else jax.tree.map(jnp.negative, updates), state

    name = TRANSFORMATION if goes_uphill and name == "optax" else name
    return Rule(name, extended.init, direction, learning_rate=1.0, schedule="constant")


def _goes_uphill(transformation: optax.GradientTransformationExtraArgs) -> bool:
    """Return whether the first updates that are not 0 point along the gradient; False if there are none."""
    gradient, params = jnp.array([[1.0, 2.0], [3.0, 5.0]]), jnp.ones((2, 2))

    @jax.jit
    def along() -> jax.Array:
        state, found = transformation.init(params), []
        for _ in range(3):  # a learning rate that is warmed up begins with 0
            updates, state = transformation.update(gradient, state, params, value=jnp.ones([]), grad=gradient)
            found.append(jnp.sum(jnp.asarray(updates) * gradient))
        return jnp.stack(found)

    try:
        with jax.ensure_compile_time_eval():
            signs = np.sign(along())
    except Exception:  # masks and labels of the params that it is made for, or other arguments
        return False
    return bool(signs[signs != 0][:1] > 0)


def as_rule(rule: Rule | optax.GradientTransformation) -> Rule:
    """Return `rule` itself, or an Optax transformation wrapped as a rule; refuse anything else."""
    if isinstance(rule, Rule):
        return rule
    if isinstance(rule, optax.GradientTransformation):
        return from_optax(rule)
    if isinstance(rule, optax.MultiSteps):
        raise OptionError("a rule may not be optax.MultiSteps itself; pass its .gradient_transformation()")
    raise OptionError(
        f"a rule must be made by Downslope, such as downslope.adam(), or be an Optax GradientTransformation; "
        f"got {type(rule).__name__}"
    )
