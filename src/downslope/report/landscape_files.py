"""What landscape.json and line.json hold, checked before it is drawn."""

from typing import Any, TypeGuard

from downslope.errors import RunFolderError
from downslope.report.formatting import is_number

KINDS = {"principal": "the plane of the descent", "random": "a random plane"}


def checked_landscape(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of landscape.json; RunFolderError where it cannot be drawn."""
    planes = content.get("planes")
    if not isinstance(planes, list) or not all(map(_is_plane, planes)):
        raise _damaged("landscape.json", "'planes' does not hold grids of losses")
    return content


def _is_plane(plane: Any) -> bool:
    if not isinstance(plane, dict) or plane.get("kind") not in KINDS:
        return False
    x, y, losses = (plane.get(name) for name in ("x", "y", "loss"))
    shares, path = plane.get("explained"), plane.get("path")
    if not (_are_numbers(x) and _are_numbers(y) and 0.0 in x and 0.0 in y and isinstance(losses, list)):
        return False
    grid = len(losses) == len(y) and all(_are_numbers(row, holes=True, count=len(x)) for row in losses)
    return grid and (shares is None or _are_numbers(shares)) and (path is None or _is_path(path))


def _is_path(path: Any) -> bool:
    if not isinstance(path, dict) or not isinstance(path.get("step"), list):
        return False
    names, count = ("step", "x", "y", "loss", "loss_on_plane"), len(path["step"])
    return all(_are_numbers(path.get(name), holes=name.startswith("loss"), count=count) for name in names)


def checked_line(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content of line.json; RunFolderError where it cannot be drawn."""
    share, ends = content.get("share"), content.get("ends")
    good = (
        _are_numbers(share)
        and _are_numbers(content.get("loss"), holes=True, count=len(share))
        and _are_numbers(ends, holes=True, count=2)
    )
    if not good or not {"first", "second"} <= content.keys():
        raise _damaged("line.json", "'share' and 'loss' are not equally long lists of numbers")
    return content


def _are_numbers(values: Any, holes: bool = False, count: int | None = None) -> TypeGuard[list[Any]]:
    """Return whether `values` is a list of one number or more, or with `holes` also of nothing."""
    return (
        isinstance(values, list)
        and (len(values) > 0 if count is None else len(values) == count)
        and all(is_number(value) or (holes and value is None) for value in values)
    )


def _damaged(name: str, what: str) -> RunFolderError:
    return RunFolderError(
        f"{name}: damaged ({what}); delete it, or measure again with `downslope landscape RUN`"
    )
