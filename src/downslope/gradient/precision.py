"""In which numbers the slope is felt: low precision forwards and backwards, float32 for all that lasts.

The weights, the update and every reduction stay in float32 (the "master copy"); only the products of
the forward and the backward pass take float16 or bfloat16, where hardware is faster, and add them up in
float32.

bfloat16 has float32's range, so nothing else is needed. float16 has not: a gradient below 6e-8 becomes
0 and one above 65504 infinite. So the loss is multiplied by a scale before it is differentiated and the
gradient divided by it after; when an infinity appears, the step is skipped and the scale halved; after
enough good steps it is doubled again.

Micikevicius et al. 2018, "Mixed Precision Training", https://arxiv.org/abs/1710.03740, sections 3.1–3.3.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from downslope import pytrees
from downslope.errors import OptionError, did_you_mean
from downslope.gradient.products import OVER_ROWS, transposed_sum_over_rows
from downslope.gradient.rewriting import Form, rewritten
from downslope.models.functional import Model

SMALLEST_SCALE = 2.0**-14  # below, it is not the scale that makes gradients infinite
LOW = (jnp.bfloat16, jnp.float16)
LARGEST_SCALE = 2.0**100  # a loss without slope never overflows; the scale itself must not either


class LossScale(NamedTuple):
    """What dynamic loss scaling carries from step to step.

    Attributes:
        scale: what the loss is multiplied by; float32 scalar, a power of two.
        good_steps: steps since it last changed; int32 scalar.
    """

    scale: Float[Array, ""]
    good_steps: Int[Array, ""]


@dataclass(frozen=True)
class Precision:
    """A compute dtype, and whether the loss must be scaled for it.

    Attributes:
        name: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        dtype: of the forward and backward pass.
        initial_scale: of the loss; None where no scaling is needed.
        growth_steps: good steps after which the scale is doubled.
    """

    name: str
    dtype: Any
    initial_scale: float | None = None
    growth_steps: int = 1000

    def initial(self) -> LossScale | None:
        """Return the loss scale before the first step; None where there is none."""
        if self.initial_scale is None:
            return None
        return LossScale(jnp.float32(self.initial_scale), jnp.zeros([], jnp.int32))

    def adjusted(self, loss_scale: LossScale, finite: Array) -> LossScale:
        """Return the scale for the next step: halved after an overflow, doubled after enough good steps."""
        good_steps = jnp.where(finite, loss_scale.good_steps + 1, 0)
        grows = good_steps >= self.growth_steps
        factor = jnp.where(finite, jnp.where(grows, 2.0, 1.0), 0.5)
        return LossScale(
            jnp.minimum(loss_scale.scale * factor, LARGEST_SCALE), jnp.where(grows, 0, good_steps)
        )


PRECISIONS = {
    "float32": Precision("float32", jnp.float32),
    "bfloat16": Precision("bfloat16", jnp.bfloat16),
    "float16": Precision("float16", jnp.float16, initial_scale=2.0**15),
}


def precision_by_name(name: str, device: Any = None) -> Precision:
    """Return the precision called `name`.

    Args:
        name: a name of `PRECISIONS`.
        device: where it is to run; None: the first of this process.

    Raises:
        OptionError: an unknown name, or one that the device has no units for.
    """
    if name not in PRECISIONS:
        near = did_you_mean(name, PRECISIONS)
        raise OptionError(f"--precision: unknown '{name}'.{near} Choose one of {', '.join(PRECISIONS)}")
    device = jax.devices()[0] if device is None else device
    lacking = _lacking(device)
    if name in lacking:
        usable = " or ".join(other for other in PRECISIONS if other not in lacking)
        raise OptionError(f"--precision {name}: {device.device_kind} does not compute in it; use {usable}")
    return PRECISIONS[name]


def _lacking(device: Any) -> set[str]:
    """Return the precisions that a device has no units for."""
    if device.platform == "tpu":
        return {"float16"}
    if device.platform in ("gpu", "cuda"):
        capability = str(getattr(device, "compute_capability", ""))
        numbers = re.fullmatch(r"(\d+)\.(\d+)", capability)  # NVIDIA's; others name a chip, such as gfx90a
        return {"bfloat16"} if numbers and int(numbers[1]) < 8 else set()
    return set()


def in_precision(model: Model, precision: Precision) -> Model:
    """Return `model` computing in a lower precision, with float32 outputs and model state."""
    if precision.dtype == jnp.float32:
        return model

    def apply(params: Any, state: Any, inputs: Any, **rest: Any) -> tuple[Any, Any]:
        low = pytrees.cast((params, inputs), precision.dtype)
        outputs, new_state = model.apply(low[0], state, low[1], **rest)
        as_before = jax.tree.map(lambda new, old: new.astype(old.dtype), new_state, state)
        return pytrees.cast(outputs, jnp.float32), as_before

    return Model(model.init, apply)


def summed_in_float32(function: Callable[..., Any], precision: Precision) -> Callable[..., Any]:
    """Return `function`, whose low-precision products and sums add up in float32 and are rounded once.

    Those that only go on to float32, as gradients of kernels do, are not rounded at all.
    It goes around the differentiated function, so that it sees the products of the backward pass too.
    """
    if precision.dtype == jnp.float32:
        return function

    @wraps(function)
    def summed(*args: Any) -> Any:
        return rewritten(function, _Sums().forms)(*args)

    return summed


class _Sums:
    """The sums of one program, each remembered as it was before it was rounded.

    Differentiation turns the gradient of a kernel around before it converts it. So that is computed the other
    way round, and turning it back is all that is done to it.
    """

    def __init__(self):
        self._exact: dict[int, _Exact] = {}  # by the identity of what was rounded

    @property
    def forms(self) -> dict[str, Form]:
        return {
            "dot_general": self.product,
            "reduce_sum": self.reduced,
            "transpose": self.transposed,
            "convert_element_type": self.converted,
        }

    def product(self, lhs: Array, rhs: Array, *, preferred_element_type: Any, **how: Any) -> Array:
        rounded = jnp.result_type(lhs, rhs) if preferred_element_type is None else preferred_element_type
        if rounded not in LOW:
            return jax.lax.dot_general(lhs, rhs, preferred_element_type=rounded, **how)
        is_plain = how["dimension_numbers"] == OVER_ROWS and how.get("out_sharding") is None
        if is_plain and lhs.ndim == rhs.ndim == 2:
            turned = transposed_sum_over_rows(lhs, rhs, precision=how["precision"])
            return self._rounded(turned, rounded, is_turned=True)
        exact = jax.lax.dot_general(lhs, rhs, preferred_element_type=jnp.float32, **how)
        return self._rounded(exact, rounded)

    def reduced(self, values: Array, **how: Any) -> Array | None:
        if values.dtype not in LOW:
            return None
        exact = jax.lax.reduce_sum_p.bind(values.astype(jnp.float32), **how)
        return self._rounded(exact, values.dtype)

    def transposed(self, values: Array, *, permutation: Any) -> Array | None:
        known = self._exact.get(id(values))
        if known is None or not known.is_turned or tuple(permutation) != (1, 0):
            return None
        return self._rounded(known.exact, values.dtype)

    def converted(self, values: Array, *, new_dtype: Any, **_: Any) -> Array | None:
        known = self._exact.get(id(values))
        if known is None or known.is_turned or new_dtype != jnp.float32:
            return None
        return known.exact

    def _rounded(self, exact: Array, dtype: Any, *, is_turned: bool = False) -> Array:
        values = exact.astype(dtype)
        values = values.T if is_turned else values
        self._exact[id(values)] = _Exact(values, exact, is_turned)
        return values


class _Exact(NamedTuple):
    """A rounded sum, what it was before, and whether that is its transpose."""

    values: Array
    exact: Array
    is_turned: bool
