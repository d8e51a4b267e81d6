"""The real data sets that ship inside scikit-learn: nothing to download."""

from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from downslope.data.table import DEFAULT_TARGET, Table
from downslope.errors import DataError, did_you_mean

BUNDLED = ("digits", "iris", "wine", "breast_cancer", "diabetes")


def load(name: str) -> Table:
    """Return a bundled data set, with the real names of its columns; the target is "target".

    Arguments:
        name: ``digits`` (1797 images of 8 × 8 pixels, 10 digits), ``iris`` (150, 3 species),
            ``wine`` (178, 3 cultivars), ``breast_cancer`` (569, malignant or benign) or
            ``diabetes`` (442, disease progression after a year, in its original units).

    Raises:
        DataError: there is no such set.
    """
    if name not in BUNDLED:
        raise DataError(
            f"no bundled data set '{name}'.{did_you_mean(name, BUNDLED)} There are {', '.join(BUNDLED)}"
        )
    if name == "digits":
        return _digits()
    # Here and not at the top: scikit-learn takes a second to import, and only these sets need it.
    from sklearn import datasets

    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(**options)
    named = zip(bunch.feature_names, bunch.data.T, strict=True)
    columns = {str(feature): pa.array(values) for feature, values in named}
    labels = bunch.target
    if name in ("iris", "wine", "breast_cancer"):
        labels = bunch.target_names[labels].tolist()
    columns[DEFAULT_TARGET] = pa.array(labels)
    return Table(name, pa.table(columns), default_target=DEFAULT_TARGET)


def _digits() -> Table:
    """Return the digits, which are what is trained on when nothing is said, without scikit-learn's import.

    Its file is a line per image: 64 pixels from the top left, row by row, and the digit.
    """
    spec = find_spec("sklearn")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    file = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    pixels = [f"pixel_{row}_{column}" for row in range(8) for column in range(8)]
    columns = csv.read_csv(file, csv.ReadOptions(column_names=[*pixels, DEFAULT_TARGET]))
    labels = columns[DEFAULT_TARGET].cast(pa.int64())
    columns = columns.set_column(64, DEFAULT_TARGET, labels).combine_chunks()
    return Table("digits", columns, default_target=DEFAULT_TARGET)
