import json

import jax
import numpy as np
import pytest

from downslope.errors import RunFolderError
from downslope.models.architecture import Architecture
from downslope.models.layers import Columns

COLUMNS = Columns(2, (5,), ((-1.0, 0.25, 1e-3 + 1), ()))
EVERY = [
    Architecture("linear", Columns(3), 1),
    Architecture("mlp", COLUMNS, 4, (7, 3), "gelu", batch_norm=True, layer_norm=True, dropout=0.25),
    Architecture("mlp", Columns(0, (3, 4)), 2, (6,)),
]
INPUTS = (np.ones((3, 2), np.float32), np.ones((3, 1), np.int32))


@pytest.mark.parametrize("architecture", EVERY, ids=str)
def test_round_trip(architecture):
    content = json.loads(json.dumps(architecture.to_json()))
    again = Architecture.from_json(content)
    assert again == architecture
    assert again.to_json() == architecture.to_json()


def test_the_round_trip_is_the_same_function():
    again = Architecture.from_json(json.loads(json.dumps(EVERY[1].to_json())))
    models = EVERY[1].build(), again.build()
    params, state = models[0].init(jax.random.key(0), INPUTS)
    first, second = (model.apply(params, state, INPUTS, key=None, train=False)[0] for model in models)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "damage",
    [
        {"hidden": "many"},
        {"hidden": None},
        {"hidden": [-3]},
        {"activation": "os.system"},
        {"activation": []},
        {"columns": None},
        {"columns": {"n_dense": 2}},
        {"columns": {"n_dense": "x", "embedding_sizes": [], "edges": []}},
        {"n_outputs": "two"},
        {"code": "import os"},
    ],
    ids=str,
)
def test_damaged_content_is_refused(damage):
    with pytest.raises(RunFolderError, match=r"^model\.json: damaged"):
        Architecture.from_json({**EVERY[1].to_json(), **damage})


@pytest.mark.parametrize("lost", ["columns", "hidden", "n_outputs", "model"])
def test_missing_content_is_refused(lost):
    content = EVERY[1].to_json()
    del content[lost]
    with pytest.raises(RunFolderError, match=r"^model\.json: damaged"):
        Architecture.from_json(content)


@pytest.mark.parametrize("content", [[], 3, None, "mlp"])
def test_content_of_another_kind_is_refused(content):
    with pytest.raises(RunFolderError):
        Architecture.from_json(content)


def test_in_words():
    assert str(Architecture("mlp", Columns(64), 10, (128,), "relu", dropout=0.1)) == (
        "mlp 64 → 128 → 10, relu, dropout 0.1"
    )
    assert str(EVERY[0]) == "linear 3 → 1"
