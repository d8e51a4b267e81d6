"""Adafactor: Adam's second moment of a matrix from the sums of its rows and of its columns."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from downslope.rules.decay import DecayMask, add_decay, check_mask
from downslope.rules.leafwise import each_leaf, one, working_dtype, zero_steps
from downslope.rules.ranges import NOT_NEGATIVE, POSITIVE, checked
from downslope.rules.rule import Rule

PyTree = Any


class AdafactorState(NamedTuple):
    """State of `adafactor`: rows + columns per matrix, one number per parameter elsewhere.

    What a leaf does not use has no elements, so that all leaves have one structure.
    """

    steps: Int[Array, ""]
    rows: PyTree  # mean of g² over the last axis (…, n, 1), where a leaf has two axes or more
    columns: PyTree  # mean of g² over the axis before it (…, 1, m), likewise
    full: PyTree  # average of g², shaped like the leaf, where it has fewer


def adafactor(
    decay_power: float = 0.8,
    eps: float | None = None,
    *,
    min_scale: float = 1e-3,
    clip_threshold: float = 1.0,
    weight_decay: float = 0.0,
    decay_mask: DecayMask = "matrices",
) -> Rule:
    """Adafactor: adaptive steps relative to the size of the weights, in sublinear memory.

        β = 1 − t^(−p)
        R ← β·R + (1 − β)·mean of g² over columns         C ← β·C + (1 − β)·mean of g² over rows
        V = R·C / mean(R)                                  (vectors: V ← β·V + (1 − β)·g²)
        U = g / √V                                         Û = U / max(1, RMS(U)/c)
        d = max(ε₂, RMS(x)) · min(1, 1/(√t·step_size)) · Û + λ·x

    Args:
        decay_power: p > 0; the average remembers longer and longer.
        eps: ε₁ > 0, the smallest √V; `None`: the spacing of the dtype at 1.
        min_scale: ε₂ > 0, so that weights that are all 0 can start.
        clip_threshold: c > 0, the largest root mean square of an update.
        weight_decay: λ ≥ 0, decoupled.
        decay_mask: which leaves decay; see `downslope.rules.decay`.

    Default learning rate 0.02, relative to RMS(x). Memory: rows + columns of each matrix.

    Needs `step_size`: the paper's relative step is min(step_size, 1/√t).

    Paper: Shazeer & Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
    https://arxiv.org/abs/1804.04235, Algorithms 4, 5 and 6.
    Departures, all as in torch.optim.Adafactor: ε₁ bounds V from below instead of being added to g²;
    no first moment; of more than two axes the last two are factored.
    """
    hyper: dict[str, Any] = checked(
        "adafactor",
        decay_power=(decay_power, POSITIVE),
        min_scale=(min_scale, POSITIVE),
        clip_threshold=(clip_threshold, POSITIVE),
        weight_decay=(weight_decay, NOT_NEGATIVE),
    )
    if eps is not None:
        checked("adafactor", eps=(eps, POSITIVE))
    hyper |= {"eps": eps, "decay_mask": check_mask("adafactor", decay_mask)}

    def init(params):
        return AdafactorState(
            zero_steps(),
            rows=jax.tree.map(lambda x: _zeros(x, (*x.shape[:-1], 1) if x.ndim > 1 else (0,)), params),
            columns=jax.tree.map(
                lambda x: _zeros(x, (*x.shape[:-2], 1, x.shape[-1]) if x.ndim > 1 else (0,)), params
            ),
            full=jax.tree.map(lambda x: _zeros(x, x.shape if x.ndim < 2 else (0,)), params),
        )

    def direction(grads, state, params, *, step_size, **context):
        steps = state.steps + 1
        t = steps.astype(one().dtype)
        # A step size of 0 asks for no particular direction; any finite one will do.
        shrink = jnp.minimum(1.0, 1.0 / jnp.maximum(jnp.sqrt(t) * step_size, 1e-30))

        def update(g, x, rows, columns, full, new, shrink):
            smallest = jnp.finfo(x.dtype).eps if eps is None else eps
            if g.ndim > 1:
                rows = rows + new * (_mean(g * g, -1) - rows)
                columns = columns + new * (_mean(g * g, -2) - columns)
                v = rows * columns / jnp.maximum(_mean(rows, -2), smallest)  # (…, n, m)
            else:
                full = full + new * (g * g - full)
                v = full
            u = g * jax.lax.rsqrt(jnp.maximum(v, smallest * smallest))
            u = u / jnp.maximum(1.0, _rms(u) / clip_threshold)
            return jnp.maximum(min_scale, _rms(x)) * shrink * u, rows, columns, full

        d, rows, columns, full = each_leaf(
            update, params, grads, params, state.rows, state.columns, state.full,
            numbers=(t**-decay_power, shrink),
        )  # fmt: skip
        d = add_decay(d, params, weight_decay, decay_mask)
        return d, AdafactorState(steps, rows, columns, full)

    return Rule("adafactor", init, direction, 0.02, hyper, needs_step_size=True)


def _zeros(leaf: Array, shape: tuple[int, ...]) -> Array:
    return jnp.zeros(shape, working_dtype(leaf))


def _mean(x: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Mean over one axis, kept with length 1; 0 where the axis is empty."""
    return jnp.sum(x, axis, keepdims=True) / max(x.shape[axis], 1)


def _rms(x: Float[Array, "..."]) -> Float[Array, ""]:
    """Root mean square; 0 for an empty array."""
    return jnp.sqrt(jnp.sum(x * x) / max(x.size, 1))
