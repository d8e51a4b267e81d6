"""The hills and valleys to walk down: each a loss of one or two numbers, and what it is good for seeing.

A surface is `dimension` numbers → height, differentiable, with a part of the plane to look at.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from downslope.errors import OptionError, did_you_mean
from downslope.lab.formula import parse_formula

GRID = 91  # points per side of the picture
CURVE_POINTS = 401
LOG_FROM = 200.0  # a picture whose heights span more is drawn in the logarithm of the height

Point = Float[Array, " dimension"]


@dataclass(frozen=True)
class Surface:
    """A loss that can be drawn.

    Attributes:
        name: as it stands in the address.
        title: as it is read.
        formula: as it is read.
        story: what there is to see, one sentence.
        loss: ``loss(point) -> number``.
        x, y: the part that is drawn; y is None for a curve.
        start: where a descent begins unless told otherwise.
        step_size: one at which plain descent behaves.
        minima: the known lowest points.
        steps: after how many something has happened.
    """

    name: str
    title: str
    formula: str
    story: str
    loss: Callable[[Point], Any]
    x: tuple[float, float]
    y: tuple[float, float] | None
    start: tuple[float, ...]
    step_size: float
    minima: tuple[tuple[float, ...], ...] = ()
    steps: int = 100

    @property
    def dimension(self) -> int:
        """1 for a curve, 2 for a surface."""
        return 1 if self.y is None else 2


def _curve(p: Point) -> Any:
    return 0.1 * p[0] ** 4 - p[0] ** 2 + 0.5 * p[0] + 4


def _bowl(p: Point) -> Any:
    return 0.5 * (p[0] ** 2 + p[1] ** 2)


def _valley(p: Point) -> Any:
    return 0.5 * (p[0] ** 2 + 60 * p[1] ** 2)


def _rosenbrock(p: Point) -> Any:
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def _himmelblau(p: Point) -> Any:
    return (p[0] ** 2 + p[1] - 11) ** 2 + (p[0] + p[1] ** 2 - 7) ** 2


def _saddle(p: Point) -> Any:
    return 0.5 * p[0] ** 2 - 0.5 * p[1] ** 2 + p[1] ** 4 / 16


def _many_minima(p: Point) -> Any:
    return 0.1 * (p[0] ** 2 + p[1] ** 2) + 2 - jnp.cos(3 * p[0]) - jnp.cos(3 * p[1])


_TABLE = (
    Surface(
        "curve",
        "A curve with two dips",
        "0.1 x⁴ − x² + 0.5 x + 4",
        "Which dip the ball ends in depends on where it starts, and on whether it has enough momentum to "
        "roll through the shallow one.",
        _curve,
        (-3.6, 3.6),
        None,
        (3.3,),
        0.05,
        ((-2.3517,),),
    ),
    Surface(
        "bowl",
        "A round bowl",
        "½ (x² + y²)",
        "The easiest case: the slope points straight at the bottom. A step size of 1 is there at once; above "
        "2 every step lands higher than the one before.",
        _bowl,
        (-4.0, 4.0),
        (-3.0, 3.0),
        (-3.2, 2.2),
        0.2,
        ((0.0, 0.0),),
    ),
    Surface(
        "narrow-valley",
        "A narrow valley",
        "½ (x² + 60 y²)",
        "Steep across, shallow along. The steep side allows no step size above 0.033; at that pace the way "
        "along the valley is long. Momentum and the adaptive rules were invented for this.",
        _valley,
        (-4.0, 4.0),
        (-1.5, 1.5),
        (-3.4, 0.9),
        0.031,
        ((0.0, 0.0),),
    ),
    Surface(
        "rosenbrock",
        "Rosenbrock’s banana",
        "(1 − x)² + 100 (y − x²)²",
        "A bent valley: down into it is easy, along its floor to the star is slow.",
        _rosenbrock,
        (-2.0, 2.0),
        (-1.0, 3.0),
        (-1.2, 1.0),
        0.001,
        ((1.0, 1.0),),
        400,
    ),
    Surface(
        "himmelblau",
        "Himmelblau’s four valleys",
        "(x² + y − 11)² + (x + y² − 7)²",
        "Four bottoms, all equally deep. Start in two places that are close together, and see them part.",
        _himmelblau,
        (-5.0, 5.0),
        (-5.0, 5.0),
        (-0.6, -0.6),
        0.01,
        ((3.0, 2.0), (-2.8051, 3.1313), (-3.7793, -3.2832), (3.5844, -1.8481)),
    ),
    Surface(
        "saddle",
        "A saddle",
        "½ x² − ½ y² + y⁴ ⁄ 16",
        "Flat in the middle, but no bottom: down to either side. A descent that starts on the ridge is slow "
        "to leave it; noise helps.",
        _saddle,
        (-3.0, 3.0),
        (-3.2, 3.2),
        (-2.5, 0.01),
        0.15,
        ((0.0, 2.0), (0.0, -2.0)),
    ),
    Surface(
        "many-minima",
        "Many local minima",
        "0.1 (x² + y²) + 2 − cos 3x − cos 3y",
        "Plain descent stops in the nearest hollow. Noise, or momentum, gets it out and towards the middle.",
        _many_minima,
        (-5.0, 5.0),
        (-5.0, 5.0),
        (-3.6, 3.3),
        0.05,
        ((0.0, 0.0),),
        200,
    ),
)
SURFACES: dict[str, Surface] = {surface.name: surface for surface in _TABLE}
OWN = "formula"


def surface_by_name(name: str) -> Surface:
    """Return a surface of the table.

    Raises:
        OptionError: there is none of that name.
    """
    if name not in SURFACES:
        raise OptionError(f"there is no surface '{name}'.{did_you_mean(name, SURFACES)}")
    return SURFACES[name]


@lru_cache(maxsize=64)  # one function, and so one compiled program, per formula
def _loss_of(text: str) -> tuple[Callable[[Point], Any], int]:
    formula = parse_formula(text)
    if "y" not in formula.names:
        return lambda p: formula.value(p[0], jnp.float32(0)), 1
    return lambda p: formula.value(p[0], p[1]), 2


def surface_of_formula(text: str, reach: float) -> Surface:
    """Return the surface of a typed formula, drawn from −reach to reach; without a y it is a curve.

    Raises:
        OptionError: the formula cannot be read, or has no value anywhere in the picture.
    """
    loss, dimension = _loss_of(text)
    span = (-reach, reach)
    start = (round(-0.7 * reach, 3), round(0.5 * reach, 3))[:dimension]
    surface = Surface(
        OWN,
        "Your formula",
        text.strip(),
        "Your own loss: any valley you can write down.",
        loss,
        span,
        span if dimension == 2 else None,
        start,
        0.05,
    )
    heights = heights_of(surface)[-1]
    if not np.isfinite(heights).any():
        raise OptionError(
            f"the formula has no value anywhere between {-reach:g} and {reach:g}; "
            "is it a logarithm, a root or a division that fails everywhere?"
        )
    return surface


@lru_cache(maxsize=32)
def _evaluated(loss: Callable[[Point], Any], x: tuple[float, float], y: tuple[float, float] | None) -> Any:
    if y is None:
        points = jnp.linspace(*x, CURVE_POINTS)[:, None]
        return np.asarray(points[:, 0]), np.asarray(jax.jit(jax.vmap(loss))(points))
    across, up = jnp.linspace(*x, GRID), jnp.linspace(*y, GRID)
    points = jnp.stack(jnp.meshgrid(across, up), axis=-1)  # (GRID up, GRID across, 2)
    heights = jax.jit(jax.vmap(jax.vmap(loss)))(points)
    return np.asarray(across), np.asarray(up), np.asarray(heights)


def heights_of(surface: Surface) -> tuple[np.ndarray, ...]:
    """Return ``(x, heights)`` of a curve, or ``(x, y, heights)`` of a surface, heights (y, x); NaN where
    there is no value.
    """
    *axes, heights = _evaluated(surface.loss, surface.x, surface.y)
    return *axes, np.where(np.isfinite(heights), heights, np.nan)
