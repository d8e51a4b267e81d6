"""Descend any differentiable loss: the third way in, for those who bring their own."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from downslope.data.batches import padded_order
from downslope.data.order import epoch_order
from downslope.errors import NonFiniteError, OptionError
from downslope.gradient.backprop import Batch
from downslope.rules.adam import adam
from downslope.rules.ranges import POSITIVE, checked
from downslope.rules.rule import Rule, as_rule
from downslope.stepsize.linesearch import LineSearch
from downslope.stepsize.schedule import Schedule, as_schedule
from downslope.training.compiling import jit_steps
from downslope.training.interrupt import interrupts
from downslope.training.own_arrays import as_params, as_rows, refuse_tracers, whole_number
from downslope.training.own_loss import as_objective, has_slope, on_all_rows
from downslope.training.recording import (
    MOST_WEIGHTS,
    empty_path,
    path_so_far,
    recording,
    steps_per_point,
)
from downslope.training.state import TrainState, initial_state
from downslope.training.step import Pace, make_step
from downslope.training.stretch import STEPS_PER_NORM, Stretch, Trace, empty_trace, make_stretch

LONGEST_STRETCH = 10_000  # steps in one compiled call, so that Ctrl-C is heard
SECONDS_PER_CALL = 0.25  # between two calls of the callback, at least


@dataclass(frozen=True)
class MinimizeResult:
    """Where a minimisation ended.

    Attributes:
        params: the end of the path, in the structure of the start.
        loss: at `params`; with `data`, of all rows: the mean over batches of consecutive rows, each counted
            by its rows. A float.
        losses: (steps,), float32: the loss of each step's batch, before that step.
        gradient_norms: ‖gradient‖₂ at every 16th step of each epoch, and where there are no batches of all
            steps; float32.
        steps: updates done.
        seconds: wall-clock time, compiling included.
        stopped_because: ``"all steps done"`` or ``"interrupted"``; in a `NonFiniteError`, ``"the loss is not
            finite"``, and the steps are those up to the last finite params.
        path: tree of arrays (points, …), where the params were: at every step, or at every so many of a long
            descent, and at the end. None where there are more than 10,000 params.
        path_steps: (points,), the step of each point.
        loss_at: ``params -> loss`` on all rows, for the map. None in a result that was copied or pickled: a
            function need not survive that, and it holds all rows.
    """

    params: Any
    loss: float
    losses: np.ndarray
    gradient_norms: np.ndarray
    steps: int
    seconds: float
    stopped_because: str
    path: Any = field(default=None, repr=False)
    path_steps: np.ndarray | None = field(default=None, repr=False)
    loss_at: Callable[[Any], Any] | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "loss_at": None}

    def plot_path(self) -> Any:
        """Return the path on the loss that it descended, a Plotly figure.

        One param: its curve. Two: their map. More: the map of the plane through the end that holds most of
        the path; its axes say how much.

        Raises:
            OptionError: there are too many params for their path to be recorded, or the result was pickled.
        """
        if self.path is None or self.path_steps is None:
            raise OptionError(
                f"plot_path: the path of more than {MOST_WEIGHTS:,} params is not recorded; "
                "plot .losses instead"
            )
        if self.loss_at is None:
            raise OptionError("plot_path: a copied or pickled result has no loss; plot the original")
        from downslope.report.trail import path_figure  # Plotly is loaded only when it is drawn

        return path_figure(self.loss_at, self.path, self.path_steps)


def minimize(
    loss: Callable[..., Any],
    params: Any,
    *,
    rule: Rule | optax.GradientTransformation | None = None,
    step_size: float | LineSearch | None = None,
    steps: int | None = None,
    data: Sequence[Any] | None = None,
    batch_size: int | None = None,
    epochs: int | None = None,
    schedule: str | Schedule | optax.Schedule = "constant",
    seed: int = 0,
    callback: Callable[[int, float], Any] | None = None,
) -> MinimizeResult:
    """Minimise `loss` from `params` by gradient descent, many steps per compiled call.

    Args:
        loss: ``loss(params)``, or ``loss(params, *data)`` with `data`. It returns a scalar, or one number
            per row (rows,), whose mean is minimised. A loss per row must not depend on the other rows: a
            last, smaller batch is padded with some of them, instead of compiled apart. Where rows see each
            other, as in a contrastive loss, return the mean. A loss that takes one more argument, ``key``,
            gets a fresh random key at every step.
        params: a pytree of floating-point arrays.
        rule: which way to step; `downslope.adam()` if None. Any Optax transformation is accepted.
        step_size: > 0; the rule's own default if None, which is 1 for an Optax transformation: the learning
            rate is in it. Or a line search, `downslope.backtracking()`, which measures at every step how far
            to go.
        steps: updates in all; 1000 if neither `steps` nor `epochs` is given.
        data: what `loss` takes beside the params, one entry each: an array, or a tuple or dictionary of
            arrays. All have as many rows, along the first axis.
        batch_size: rows per gradient; all of them if None.
        epochs: passes over the rows, instead of `steps`.
        schedule: how the step size changes over the steps: a name of `stepsize.schedule.SCHEDULES`, or a
            function of the step, 0 at first, or of (step, total steps), such as an Optax schedule. What it
            returns multiplies `step_size`: 1 leaves it as it is. Not with a line search.
        seed: fixes the order of the rows and the keys.
        callback: ``callback(steps done, loss of the last one's batch)``, called between compiled calls, at
            most four times a second.

    Raises:
        OptionError: arguments that do not fit together; a call inside of `jax.jit`, `jax.vmap` or `jax.grad`.
        NonFiniteError: the loss stopped being a number; its ``result`` holds the last finite params.

    Example:
        >>> import jax.numpy as jnp
        >>> result = minimize(lambda x: jnp.sum((x - 3.0) ** 2), jnp.zeros(2), step_size=0.1, steps=300)
        >>> bool(jnp.allclose(result.params, 3.0, atol=1e-2))
        True
    """
    began = time.monotonic()
    if not callable(loss):
        raise OptionError(f"loss must be a function of the params, got {type(loss).__name__}")
    if callback is not None and not callable(callback):
        raise OptionError(f"callback must be a function of (step, loss), got {type(callback).__name__}")
    params = as_params(params)
    rows = as_rows(data)
    refuse_tracers(params, rows.inputs, step_size)
    line_search = step_size if isinstance(step_size, LineSearch) else None
    given = adam() if rule is None else rule
    rule = as_rule(given)
    if line_search and schedule != "constant":
        raise OptionError("give schedule or a line search, not both: the search measures every step's size")
    step_size = _step_size(given, rule, None if line_search else step_size)
    n_rows = len(rows.weights)
    batch_size, steps = _lengths(n_rows, data is not None, batch_size, steps, epochs)
    seed = whole_number("seed", seed, 0, 2**32 - 1)
    key = jax.random.key(seed)
    objective, by_row = as_objective(loss, params, rows, key)
    loss_at = on_all_rows(objective, batch_size)
    step = make_step(objective, rule, as_schedule(schedule), line_search=line_search)
    every = steps_per_point(params, steps)
    run = jit_steps(make_stretch(recording(step, every)), donate_argnums=(0, 1))
    copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))
    state = copy(
        initial_state(
            params, empty_path(params, steps, every), rule, line_search=line_search and line_search.init()
        )
    )  # the caller's arrays stay the caller's
    pace = Pace(jnp.float32(step_size), jnp.float32(steps))
    losses, norms = [], []
    recent: deque[tuple[int, Any, Stretch]] = deque(maxlen=2)  # the last stretches, and where each began
    stopped_because = "all steps done"
    told = -math.inf  # when the callback was called
    longest = LONGEST_STRETCH
    if callback:  # a hundredth of the steps, and whole between two norms of the gradient
        longest = min(longest, max(1, steps // (100 * STEPS_PER_NORM)) * STEPS_PER_NORM)
    with interrupts() as interrupted:
        for stretch in _stretches(n_rows, batch_size, steps, seed, by_row, key, longest):
            if interrupted():
                stopped_because = "interrupted"
                break
            recent.append((sum(map(len, losses)), copy(state), stretch))
            state, trace, done, worthwhile = run(state, empty_trace(int(stretch.stop)), rows, stretch, pace)
            _write_down(trace, int(done), losses, norms)
            if not worthwhile:
                break
            if callback and time.monotonic() - told >= SECONDS_PER_CALL:
                callback(sum(map(len, losses)), float(losses[-1][-1]))
                told = time.monotonic()
    result = _result(state, rule, loss_at, rows, losses, norms, began, stopped_because, every)
    seen = np.append(result.losses, result.loss)
    bad = int(np.argmin(np.isfinite(seen)))  # the loss after so many steps is not finite, or 0: all are
    if np.isfinite(seen[bad]):
        return result
    if recent:  # again, up to the last params whose loss was finite: those of one step less
        first, state, stretch = next((past for past in reversed(recent) if past[0] < bad), recent[0])
        again = stretch._replace(stop=np.int32(max(bad - 1 - first, 0)))
        state, trace, done, _ = run(state, empty_trace(int(stretch.stop)), rows, again, pace)
        while sum(map(len, losses)) > first:
            losses.pop()
            norms.pop()
        _write_down(trace, int(done), losses, norms)
        stopped_because = "the loss is not finite"
        result = _result(state, rule, loss_at, rows, losses, norms, began, stopped_because, every)
    what = f"the loss became {seen[bad]} after {bad} steps; it began at {seen[0]:.3g}"
    remedy = f"Try a step_size below {step_size:g}; this error's .result has the last finite params"
    if bad == 1 and not has_slope(loss_at, result.params, rows):
        what = f"the gradient is not finite at the start, though the loss is {result.loss:.3g}"
        remedy = "No step size is to blame: look for a root, a quotient or a logarithm of 0 in the loss"
    if bad == 0:
        what = f"the loss is {seen[0]} before the first step"
        remedy = "No step size is to blame: start from other params, or look for extreme values in the data"
    raise NonFiniteError(f"{what}. {remedy}", result)


def _step_size(given: Any, rule: Rule, step_size: Any) -> float:
    """Return the step size as a number, the rule's own if None."""
    if step_size is None:
        return rule.learning_rate
    if getattr(step_size, "shape", None) == ():  # a number of NumPy's or of JAX's
        step_size = step_size.item()
    checked("minimize", step_size=(step_size, POSITIVE))
    if not isinstance(given, Rule) and step_size != rule.learning_rate:
        raise OptionError(
            "step_size: an Optax transformation has a learning rate of its own; give it there, or take one "
            "of Downslope's rules"
        )
    return step_size


def _lengths(n_rows: int, has_data: bool, batch_size: Any, steps: Any, epochs: Any) -> tuple[int, int]:
    """Return the rows of a batch and the steps in all."""
    if steps is not None and epochs is not None:
        raise OptionError("give steps or epochs, not both")
    if not has_data and (epochs is not None or batch_size is not None):
        raise OptionError("epochs and batch_size are of rows: give data=(…), or steps")
    batch_size = n_rows if batch_size is None else min(whole_number("batch_size", batch_size, 1), n_rows)
    if epochs is not None:
        return batch_size, whole_number("epochs", epochs, 1) * -(-n_rows // batch_size)
    return batch_size, 1000 if steps is None else whole_number("steps", steps, 1)


def _stretches(
    n_rows: int, batch_size: int, steps: int, seed: int, by_row: bool, key: Any, longest: int
) -> Iterator[Stretch]:
    """Yield the steps in stretches, each one compiled call.

    A loss by row pads the last batch of an epoch with weight 0. A scalar loss knows no weights, so its
    last batch keeps its own size, and is a program of its own.
    """

    def stretch(rows: np.ndarray, size: int, count: int) -> Stretch:
        order = padded_order(rows, size)
        return Stretch(order, np.int32(size), np.int32(len(rows)), np.int32(0), np.int32(count), key)

    if batch_size == n_rows:
        for done in range(0, steps, longest):
            yield stretch(np.arange(n_rows), n_rows, min(longest, steps - done))
        return
    steps_per_epoch = -(-n_rows // batch_size)
    for epoch in range(-(-steps // steps_per_epoch)):
        count = min(steps_per_epoch, steps - epoch * steps_per_epoch)
        rows = epoch_order(seed, epoch, n_rows)[: count * batch_size]
        whole = len(rows) if by_row else len(rows) // batch_size * batch_size
        yield stretch(rows[:whole], batch_size, -(-whole // batch_size))
        if whole < len(rows):
            yield stretch(rows[whole:], len(rows) - whole, 1)


def _write_down(trace: Trace, done: int, losses: list[np.ndarray], norms: list[np.ndarray]) -> None:
    losses.append(np.asarray(trace.losses)[:done])
    norms.append(np.asarray(trace.gradient_norms)[: -(-done // STEPS_PER_NORM)])


def _result(
    state: TrainState,
    rule: Rule,
    loss_at: Callable[[Any, Batch], Any],
    rows: Batch,
    losses: list[np.ndarray],
    norms: list[np.ndarray],
    began: float,
    stopped_because: str,
    every: int,
) -> MinimizeResult:
    params = rule.evaluated(state.params, state.rule_state) if rule.evaluated else state.params
    path, path_steps = (
        path_so_far(state.model_state, params, int(state.step), every) if every else (None, None)
    )
    return MinimizeResult(
        params=params,
        loss=float(jax.jit(loss_at)(params, rows)),
        losses=np.concatenate(losses) if losses else np.zeros(0, np.float32),
        gradient_norms=np.concatenate(norms) if norms else np.zeros(0, np.float32),
        steps=int(state.step),
        seconds=time.monotonic() - began,
        stopped_because=stopped_because,
        path=path,
        path_steps=path_steps,
        loss_at=lambda at: loss_at(at, rows),
    )
