"""A saved encoding that was damaged, or made to do harm, is refused with a word on where."""

import copy
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from downslope.data.encoding import Encoding
from downslope.data.table import Table
from downslope.errors import DataError


def content():
    table = Table(
        "t.csv",
        pa.table(
            {
                "x": [1.0, 2.0, None, 4.0],
                "c": ["a", "b", "a", "b"],
                "d": np.array(["2024-01-01", "2024-02-02", "2024-03-03", "2025-04-04"], "datetime64[us]"),
                "b": [True, False, True, False],
                "y": ["n", "y", "n", "y"],
            }
        ),
    )
    return json.loads(json.dumps(Encoding.fit(table, target="y", rows=np.arange(4)).to_json()))


def change(path, value):
    def apply(saved):
        for key in path[:-1]:
            saved = saved[key]
        saved[path[-1]] = value

    return apply


def remove(path):
    def apply(saved):
        for key in path[:-1]:
            saved = saved[key]
        del saved[path[-1]]

    return apply


DAMAGE = [
    (change(["format"], 2), "has format 2, not 1"),
    (change(["extra"], 2), "has other fields than expected"),
    (change(["notes"], [1]), "the notes are not texts"),
    (change(["points"], {"x": "many"}), "points are unknown"),
    (change(["points"], ["x"]), "points are unknown"),
    (change(["signs"], {"x": 1}), "signs are unknown"),
    (change(["signs"], ["x"]), "signs are unknown"),
    (change(["columns"], {}), "the columns are not a list"),
    (change(["columns", 0], 7), "column 1 is not an object"),
    (change(["columns", 0, "kind"], "os.system"), "column 1 has the unknown kind 'os.system'"),
    (change(["columns", 0, "kind"], ["number"]), "column 1 has the unknown kind"),
    (change(["columns", 0, "std"], 0.0), "has a scale that is not positive"),
    (change(["columns", 0, "std"], math.nan), "field 'std', is not finite"),
    (change(["columns", 0, "mean"], "1"), "field 'mean', is not a number"),
    (change(["columns", 0, "mean"], 10**400), "field 'mean', is not finite"),
    (change(["columns", 0, "mean"], True), "field 'mean', is not a number"),
    (change(["columns", 0, "indicator"], 1), "field 'indicator', is not of type bool"),
    (change(["columns", 0, "__class__"], "x"), "has an unknown field '__class__'"),
    (remove(["columns", 0, "mean"]), "lacks the field 'mean'"),
    (change(["columns", 1, "levels"], "ab"), "is not a list"),
    (change(["columns", 1, "levels"], ["a", 1]), "is not of type str"),
    (change(["columns", 1, "levels"], ["a", "a"]), "repeats a level"),
    (change(["columns", 1, "name"], "x"), "the columns repeat a name"),
    (change(["columns", 1, "name"], "y"), "the columns repeat a name"),
    (change(["columns", 2, "means"], [0.0]), "has lists of different lengths"),
    (change(["columns", 2, "parts", 0], "century"), "has an unknown calendar part"),
    (change(["columns", 2, "order"], "year first"), "has an unknown order of day and month"),
    (change(["columns", 2, "order"], 1), "field 'order', is not of type str"),
    (change(["columns", 2, "stds", 0], -1.0), "has a scale that is not positive"),
    (change(["target"], None), "the target is not an object"),
    (remove(["target", "mean"]), "the target has other fields than expected"),
    (change(["target", "name"], 3), "the target has no name"),
    (change(["target", "task"], "ranking"), "has the unknown task 'ranking'"),
    (change(["target", "task"], "regression"), "has classes although the task is regression"),
    (change(["target", "classes"], ["n"]), "needs two or more different classes"),
    (change(["target", "classes"], ["n", "n"]), "needs two or more different classes"),
    (change(["target", "classes"], [["n"], "y"]), "has unusable classes"),
    (change(["target", "std"], 0), "has a scale that is not positive"),
    (change(["target", "mean"], None), "has a scale that is not a finite number"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGE)
def test_damage_is_named(damage, message):
    saved = content()
    damage(saved)
    with pytest.raises(DataError) as caught:
        Encoding.from_json(saved)
    assert message in str(caught.value)
    assert str(caught.value).startswith("the saved encoding is damaged: ")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ORIGINAL = content()


def places(value, path=()):
    yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield from places(child, (*path, key))


@settings(deadline=None, max_examples=300)
@given(place=st.sampled_from(list(places(ORIGINAL))), value=JSON)
def test_any_damage_is_refused_or_harmless(place, value):
    saved = copy.deepcopy(ORIGINAL)
    if place:
        change(list(place), value)(saved)
    else:
        saved = value
    try:
        encoding = Encoding.from_json(saved)
    except DataError:
        return
    encoding.describe()
    assert Encoding.from_json(json.loads(json.dumps(encoding.to_json()))) == encoding
