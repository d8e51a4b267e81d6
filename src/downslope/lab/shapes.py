"""Points in the plane, each of a class: the small problems of the network page, and columns of a CSV."""

# pyright: reportAttributeAccessIssue=false
# Arrow makes its compute functions while it is imported, where pyright does not see them.

import base64
import binascii
import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.datasets import make_blobs, make_circles, make_moons

from downslope.data.seeds import generator
from downslope.data.source import read
from downslope.data.table import Table
from downslope.errors import DataError
from downslope.report.formatting import counted

N_POINTS = 300
HELD_OUT = 3  # every third point is held out
MOST_POINTS = 2000
MOST_CLASSES = 8
MOST_BYTES = 5 << 20
MOST_UPLOADS = 8


@dataclass(frozen=True, eq=False)
class Points:
    """A problem for a small network.

    Attributes:
        inputs: (points, 2), float32, in their own units.
        codes: (points,), the class of each, int32.
        classes: the names of the classes.
        names: of the two inputs.
        note: what was left out, for the reader; empty where nothing was.
    """

    inputs: np.ndarray
    codes: np.ndarray
    classes: tuple[str, ...]
    names: tuple[str, str]
    note: str = ""

    @property
    def held_out(self) -> np.ndarray:
        """Which points are not trained on, (points,)."""
        return np.arange(len(self.codes)) % HELD_OUT == HELD_OUT - 1


def _moons(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    inputs, codes = make_moons(N_POINTS, noise=noise, random_state=seed)
    return np.asarray(inputs), np.asarray(codes)


def _circles(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    inputs, codes = make_circles(N_POINTS, noise=noise, factor=0.45, random_state=seed)
    return np.asarray(inputs), np.asarray(codes)


def _blobs(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    centers = [(-1.2, -0.8), (1.2, -0.6), (0.0, 1.2)]
    inputs, codes = make_blobs(N_POINTS, centers=centers, cluster_std=0.2 + 1.5 * noise, random_state=seed)[
        :2
    ]
    return np.asarray(inputs), np.asarray(codes)


def _spirals(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = generator(seed, "spirals")
    codes = np.arange(N_POINTS) % 2
    far = np.sqrt(random.uniform(0.02, 1, N_POINTS))
    angle = 3.5 * np.pi * far + np.pi * codes
    spiral = far[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return spiral + 0.3 * noise * random.standard_normal((N_POINTS, 2)), codes


def _xor(noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = generator(seed, "xor")
    inputs = random.uniform(-1, 1, (N_POINTS, 2))
    codes = (inputs[:, 0] * inputs[:, 1] > 0).astype(int)
    return inputs + 0.5 * noise * random.standard_normal((N_POINTS, 2)), codes


SHAPES: dict[str, tuple[str, Callable[[float, int], tuple[np.ndarray, np.ndarray]], tuple[str, ...]]] = {
    "moons": ("Two moons", _moons, ("orange", "blue")),
    "circles": ("A ring round a disc", _circles, ("orange", "blue")),
    "spirals": ("Two spirals", _spirals, ("orange", "blue")),
    "xor": ("XOR: a chessboard of four", _xor, ("orange", "blue")),
    "blobs": ("Three clouds", _blobs, ("orange", "blue", "green")),
}
OWN = "csv"


@lru_cache(maxsize=64)
def shape(name: str, noise: float, seed: int) -> Points:
    """Return one of the bundled shapes, mixed up by `noise` (standard deviation, 0 … 0.5)."""
    _, make, classes = SHAPES[name]
    inputs, codes = make(noise, seed)
    mixed = generator(seed, "order of the points").permutation(len(codes))
    return Points(inputs[mixed].astype(np.float32), codes[mixed].astype(np.int32), classes, ("x", "y"))


class Uploads:
    """The CSV files that pages of this session sent, in memory only; the oldest are forgotten."""

    def __init__(self) -> None:
        self._tables: OrderedDict[str, Table] = OrderedDict()
        self._points: dict[tuple[str, ...], Points] = {}

    def add(self, filename: str, contents: str) -> str:
        """Read a file that a browser sent as a ``data:`` address, and return its key.

        Raises:
            DataError: it is too large, or cannot be read; the message names it as the user did.
        """
        name = Path(filename).name
        try:
            raw = base64.b64decode(contents.partition(",")[2], validate=True)
        except binascii.Error:
            raise DataError(f"{name}: did not arrive whole; choose it again") from None
        if len(raw) > MOST_BYTES:
            raise DataError(f"{name}: is larger than {MOST_BYTES >> 20} MB; the lab is for small files")
        suffix = (
            Path(name).suffix.lower() if Path(name).suffix.lower() in (".csv", ".tsv", ".txt") else ".csv"
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"upload{suffix}"
            path.write_bytes(raw)
            try:
                table = read(path)
            except DataError as error:
                raise DataError(str(error).replace(str(path), name)) from None
        key = hashlib.sha256(raw).hexdigest()[:16]
        self._tables[key] = Table(name, table.columns)
        self._tables.move_to_end(key)
        while len(self._tables) > MOST_UPLOADS:
            gone, _ = self._tables.popitem(last=False)
            self._points = {choice: points for choice, points in self._points.items() if choice[0] != gone}
        return key

    def points(self, key: str, x: str, y: str, label: str) -> Points:
        """Return three columns of an upload as points; see `points_of_columns`."""
        table, choice = self.get(key), (key, x, y, label)
        if choice not in self._points:  # one object per choice, for it names what is learned
            self._points[choice] = points_of_columns(table, x, y, label)
        return self._points[choice]

    def get(self, key: str) -> Table:
        """Return the table of a key; DataError where the lab has forgotten it."""
        if key not in self._tables:
            raise DataError("Choose a CSV file of your own first (the lab forgets them when it ends)")
        return self._tables[key]


def number_columns(table: Table) -> list[str]:
    """Return the columns that may be an axis."""
    return [name for name in table.column_names if _is_number(table.column(name).type)]


def class_columns(table: Table) -> list[str]:
    """Return the columns with two to eight different values: those that may be the class."""
    return [
        name
        for name in table.column_names
        if 2 <= pc.count_distinct(table.column(name)).as_py() <= MOST_CLASSES
    ]


def points_of_columns(table: Table, x: str, y: str, label: str) -> Points:
    """Return two columns of a table as points, a third as their classes; rows with gaps are left out.

    Raises:
        DataError: the columns do not exist or do not fit.
    """
    for axis in (x, y):
        if not _is_number(table.column(axis).type):
            raise DataError(f"{table.name}: column '{axis}' is not numbers; an axis must be")
    if len({x, y, label}) < 3:
        raise DataError(f"{table.name}: choose three different columns: two to look at, one to tell apart")
    if label not in class_columns(table):
        raise DataError(
            f"{table.name}: column '{label}' must have 2 to {MOST_CLASSES} different values to be a class"
        )
    chosen = pa.table([table.column(name) for name in (x, y, label)], names=["x", "y", "label"])
    whole = chosen.drop_null()
    finite = pc.and_(pc.is_finite(whole["x"].cast(pa.float64())), pc.is_finite(whole["y"].cast(pa.float64())))
    whole = whole.filter(finite)
    gaps = table.n_rows - whole.num_rows
    notes = [f"{counted(gaps, 'row')} with gaps {'was' if gaps == 1 else 'were'} left out."] if gaps else []
    order = generator(0, "order of the points").permutation(whole.num_rows)
    if len(order) > MOST_POINTS:
        notes.append(f"{MOST_POINTS:,} of {len(order):,} rows are used.")
    whole = whole.take(pa.array(order[:MOST_POINTS]))
    if whole.num_rows < 20:
        raise DataError(
            f"{table.name}: has {counted(whole.num_rows, 'row')} with both numbers and a class; 20 are needed"
        )
    inputs = np.stack([whole[axis].cast(pa.float64()).to_numpy() for axis in ("x", "y")], axis=1)
    values = sorted(whole["label"].unique().to_pylist(), key=lambda value: (str(type(value)), value))
    if len(values) < 2 or (inputs.std(axis=0) == 0).any():
        raise DataError(f"{table.name}: in these rows a column has one value only; choose another")
    places = {value: place for place, value in enumerate(values)}
    codes = np.array([places[value] for value in whole["label"].to_pylist()], np.int32)
    return Points(inputs.astype(np.float32), codes, tuple(map(str, values)), (x, y), " ".join(notes))


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)
