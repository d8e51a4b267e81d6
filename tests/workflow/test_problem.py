"""Programs that runs share, and those that they do not."""

import jax.monitoring
import numpy as np
import pytest

import downslope as ds

COMPILED = "/jax/core/compile/backend_compile_duration"
OPTIONS = {"hidden": (8,), "ramps": 4, "batch_norm": True, "epochs": 3, "out": False, "quiet": True}


@pytest.fixture
def compilations():
    """A list that grows by one for everything that XLA is asked to compile."""
    seen = []

    def listen(event, duration, **_):
        if event == COMPILED:
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def table(seed):
    generator = np.random.default_rng(seed)
    x = generator.gamma(2.0, size=(160, 3)) * (1 + seed)
    return x, np.sin(x[:, 0]) + 0.1 * generator.normal(size=160)


@pytest.mark.parametrize("options", [{}, {"optimizer": "lamb", "ema": 0.9, "clip_norm": 1.0}], ids=len)
def test_the_same_on_other_rows_compiles_nothing(compilations, options):
    first = ds.train(*table(0), **OPTIONS, **options)
    compilations.clear()
    again = ds.train(*table(0), **OPTIONS, **options)
    other = ds.train(*table(1), seed=5, **OPTIONS, **options)
    assert compilations == []
    assert again.history.drop_columns(CLOCKED).equals(first.history.drop_columns(CLOCKED))
    x, y = table(1)
    assert other.predict(x).shape == y.shape
    assert other.summary["metrics"]["train"]["loss"] != first.summary["metrics"]["train"]["loss"]


CLOCKED = ["seconds", "examples_per_second"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"activation": "tanh"}, {"loss": "huber:0.5"}, {"weight_decay": 0.5}, {"precision": "bfloat16"}],
    ids=str,
)
def test_what_differs_is_not_shared(options):
    common = {**OPTIONS, "learning_rate": 0.01}
    first = ds.train(*table(0), **common).history["train_loss"].to_pylist()
    other = ds.train(*table(0), **common, **options).history["train_loss"].to_pylist()
    assert first != other


@pytest.mark.slow
def test_a_loss_of_ones_own_may_change_between_runs():
    """What a function reads besides its arguments is read anew by every run."""
    factor = {"is": 1.0}

    def loss(outputs, targets):
        return factor["is"] * (outputs[:, 0] - targets) ** 2

    common = {**OPTIONS, "learning_rate": 0.01}
    first = ds.train(*table(0), loss=loss, **common).history["train_loss"].to_pylist()
    factor["is"] = 3.0
    other = ds.train(*table(0), loss=loss, **common).history["train_loss"].to_pylist()
    assert other[0] > 2 * first[0]
