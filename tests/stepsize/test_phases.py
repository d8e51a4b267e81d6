"""Warm-up, constant, decay."""

import jax
import numpy as np
import pytest

from downslope.stepsize.phases import Phases, phased
from downslope.stepsize.schedule import cosine


def obvious(step, warmup, decay_from, end):
    """The multiplier, in plain Python."""
    rising = (step + 1) / warmup if warmup else 1.0
    falling = 1.0 if step < decay_from else (end - step) / (end - decay_from)
    return max(0.0, min(1.0, rising, falling))


@pytest.mark.parametrize("warmup", [0, 1, 7])
@pytest.mark.parametrize(("decay_from", "end"), [(20, 30), (0, 30), (29, 30), (3, 9)])
def test_it_is_what_it_says(warmup, decay_from, end):
    phases = Phases(warmup, decay_from, end).as_arrays()
    schedule = phased()
    found = [float(schedule(step, phases)) for step in range(40)]
    wanted = [obvious(step, warmup, decay_from, end) for step in range(40)]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert found[end - 1] > 0  # the last step is not wasted
    assert all(multiplier == 0 for multiplier in found[end:])


def test_open_phases_stay_at_full_rate():
    schedule = phased()
    assert float(schedule(10**9, Phases(10).as_arrays())) == 1.0


def test_a_named_schedule_takes_over():
    both, named = phased(cosine(warmup=0.1)), cosine(warmup=0.1)
    phases = Phases(5, total_steps=40.0).as_arrays()
    for step in range(40):
        assert float(both(step, phases)) == float(named(step, 40))
    assert float(both(20, Phases(5).as_arrays())) == 1.0


def test_one_program_for_all_phases():
    traces = []

    @jax.jit
    def multiplier(step, phases):
        traces.append(1)
        return phased()(step, phases)

    for phases in (Phases(3), Phases(0, 5, 10), Phases(2, 7.0, 8)):
        multiplier(np.int32(4), phases.as_arrays())
    assert len(traces) == 1
