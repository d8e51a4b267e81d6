"""What is typed on the valley page, read: the surface and the starting points."""

from downslope.errors import OptionError
from downslope.lab import settings as typed
from downslope.lab.paths import MOST_STARTS
from downslope.lab.surfaces import OWN, Surface, heights_of, surface_by_name, surface_of_formula


def read_surface(given: dict[str, str]) -> tuple[Surface, list[str]]:
    """Return the surface that was chosen, and what is to be said of it."""
    if not given["surface"]:  # an address may name one that the menu does not hold
        raise OptionError("the address names no surface that is known here; choose one from the menu")
    if given["surface"] != OWN:
        return surface_by_name(given["surface"]), []
    reach = typed.number(given, "reach", "r", 0.1, 1000)
    surface = surface_of_formula(given["formula"], reach)
    missing = share_without_value(surface)
    said = [f"The formula has no value in {missing:.0%} of the picture; that part is left empty."]
    return surface, said if missing else []


def share_without_value(surface: Surface) -> float:
    """Return how much of the picture has no finite height."""
    heights = heights_of(surface)[-1]
    return float((heights != heights).mean())


def parse_starts(text: str, surface: Surface) -> tuple[list[tuple[float, ...]], list[str]]:
    """Return the starting points of ``"x, y; x, y"``, and what is wrong with the others."""
    starts: list[tuple[float, ...]] = []
    problems: list[str] = []
    spans = [surface.x] if surface.y is None else [surface.x, surface.y]
    shown = " and ".join(
        f"{name} from {low:g} to {high:g}" for name, (low, high) in zip("xy", spans, strict=False)
    )
    for part in filter(None, (part.strip() for part in text.split(";"))):
        try:
            point = tuple(float(cell) for cell in part.split(","))[: surface.dimension]
        except ValueError:
            problems.append(f"The starting point ‘{part[:40]}’ is not numbers; write x, y.")
            continue
        if len(point) != surface.dimension:
            problems.append(f"The starting point ‘{part[:40]}’ needs two numbers: x, y.")
        elif not all(low <= cell <= high for cell, (low, high) in zip(point, spans, strict=True)):
            problems.append(f"The starting point ‘{part[:40]}’ is outside the picture, which shows {shown}.")
        else:
            starts.append(point)
    if len(starts) > MOST_STARTS:
        problems.append(f"Only the first {MOST_STARTS} of {len(starts)} starting points are used.")
    if not starts and not problems:
        problems.append("Click on the map to place a starting point.")
    return starts[:MOST_STARTS], problems
