import jax
import numpy as np
import pytest

from downslope.gradient.backprop import Batch
from downslope.losses import LOSSES
from downslope.training.evaluate import (
    EVALUATION_ROWS,
    cut,
    evaluate,
    evaluation_size,
    even_part,
    make_evaluation,
)


@pytest.fixture(scope="module")
def evaluation():
    from downslope.models.architecture import Architecture
    from downslope.models.layers import Columns

    model = Architecture("mlp", Columns(4), 3, (5,), batch_norm=True, dropout=0.5).build()
    traces = []
    plain = make_evaluation(model, LOSSES["softmax-cross-entropy"]())

    def counted(*arguments):
        traces.append(1)
        return plain(*arguments)

    return jax.jit(counted), model.init(jax.random.key(0), None), traces


def rows(n, seed=0):
    generator = np.random.default_rng(seed)
    inputs = (generator.normal(0, 1, (n, 4)).astype(np.float32), np.zeros((n, 0), np.int32))
    labels = generator.integers(0, 3, n).astype(np.int32)
    return Batch(inputs, labels, generator.uniform(0.5, 2, n).astype(np.float32))


def test_any_number_of_rows_is_one_program_and_one_answer(evaluation):
    evaluated, weights, traces = evaluation
    batch = rows(77)
    whole = evaluate(evaluated, *weights, cut(batch, 128), 77)
    del traces[:]
    for n in (1, 31, 32, 33, 77):
        part = jax.tree.map(lambda array, n=n: array[:n], batch)
        found = evaluate(evaluated, *weights, cut(part, 32), n)
        assert found.predictions.shape == (n, 3)
        np.testing.assert_allclose(found.predictions, whole.predictions[:n], rtol=1e-5, atol=1e-6)
        losses = -np.log(whole.predictions[np.arange(n), part.targets].astype(np.float64))
        assert found.loss == pytest.approx(np.average(losses, weights=part.weights), rel=1e-5)
    assert len(traces) == 1


def test_cut_pads_and_loses_nothing():
    batch = rows(70)
    parts = cut(batch, 32)
    assert [part.inputs[0].shape for part in parts] == [(32, 4)] * 3
    kept = np.concatenate([np.asarray(part.weights) for part in parts])
    np.testing.assert_array_equal(kept[:70], batch.weights)
    assert not kept[70:].any()
    inputs = np.concatenate([np.asarray(part.inputs[0]) for part in parts])
    np.testing.assert_array_equal(inputs[:70], batch.inputs[0])


def test_a_part_of_sorted_rows_is_like_the_whole():
    values = np.arange(100_000, dtype=np.float32)
    weights = np.float32(values % 2)  # every other row has none
    part = even_part(Batch((values,), values, weights), 1000)
    assert len(part.targets) == 1000
    assert part.weights.all()
    np.testing.assert_array_equal(part.inputs[0], part.targets)
    np.testing.assert_allclose(
        np.quantile(part.targets, [0, 0.25, 0.5, 1]), [1, 25e3, 50e3, 99_999], rtol=1e-3
    )
    few = even_part(Batch((values[:5],), values[:5], weights[:5]), 1000)
    np.testing.assert_array_equal(few.targets, [1, 3])


@pytest.mark.parametrize(
    ("n", "size"), [(1, 32), (32, 32), (33, 64), (1000, 1024), (2048, 2048), (10**6, EVALUATION_ROWS)]
)
def test_size_of_an_evaluation(n, size):
    assert evaluation_size(Batch((), (), np.broadcast_to(np.float32(1), n))) == size
