"""What every system is given: the arrays, the first weights, and how much arithmetic a step is."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from benchmarks.peers import jax_network
from benchmarks.workloads import SMALL, VOCABULARY, WORKLOADS, Workload

from benchmarks import arrays

ALL = [pytest.param(one, id=f"{name} {one.precision}") for name, some in WORKLOADS.items() for one in some]


@pytest.mark.parametrize("workload", ALL)
def test_it_survives_its_journey_to_another_process(workload: Workload):
    assert Workload.from_json(workload.to_json()) == workload


@pytest.mark.parametrize("workload", ALL)
def test_every_epoch_is_whole_batches(workload: Workload):
    assert workload.rows % workload.batch_size == 0


@pytest.mark.slow
@pytest.mark.parametrize("data_at_hand", [True, False])
@pytest.mark.parametrize("name", ["small", "norm", "conv", "attention"])
def test_the_network_takes_the_arrays(name: str, data_at_hand: bool, monkeypatch, tmp_path):
    if not data_at_hand:
        monkeypatch.setattr(arrays, "DIGITS", (tmp_path / "missing",))
        monkeypatch.setattr(arrays, "PLAYS", tmp_path / "missing")
    workload = replace(WORKLOADS[name][0], rows=8, layers=1)
    x, y = workload.arrays()
    assert len(x) == len(y) == 8
    averages = jax_network.running_averages(workload)
    loss, _ = jax_network.loss_of(workload, workload.weights(), averages, x, y, None)
    guessing = {"small": 2.3, "norm": 1.0, "conv": 2.3, "attention": np.log(VOCABULARY)}[name]
    assert 0.5 * guessing < float(loss) < 5 * guessing


def test_arrays_are_a_function_of_the_seed():
    workload = replace(SMALL, rows=50)
    same, other = workload.arrays(), replace(workload, seed=1).arrays()
    assert np.array_equal(workload.arrays()[0], same[0])
    assert not np.array_equal(same[0], other[0])


@pytest.mark.parametrize("name", ["tiny", "conv", "attention"])
def test_operations_are_those_that_the_compiler_counts(name: str):
    """A step's products, with no rule: what is counted besides is small, so a little more is found."""
    workload = replace(WORKLOADS[name][0], rows=16, batch_size=16, layers=2)
    x, y = workload.arrays()
    weights = jax.tree.map(np.asarray, workload.weights())

    def loss(weights, x, y):
        return jax_network.loss_of(workload, weights, {}, x, y, None)[0]

    counted = jax.jit(jax.grad(loss)).lower(weights, x, y).cost_analysis()["flops"]
    assert workload.operations() <= counted * 1.02
    assert counted <= workload.operations() * 1.25
