import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from downslope.errors import OptionError
from downslope.stepsize import SCHEDULES, from_optax, schedule_by_name

TOTAL = 200
EVERY = pytest.mark.parametrize("name", SCHEDULES)
# Optax's schedule of the same name, without warm-up, over TOTAL steps.
OPTAX = {
    "constant": ({}, optax.constant_schedule(1.0)),
    "linear": ({"end": 0.1}, optax.linear_schedule(1.0, 0.1, TOTAL)),
    "cosine": ({"end": 0.1}, optax.cosine_decay_schedule(1.0, TOTAL, alpha=0.1)),
    "exponential": ({"end": 0.02}, optax.exponential_decay(1.0, TOTAL, 0.02)),
    "step": ({"drops": (0.25, 0.6)}, optax.piecewise_constant_schedule(1.0, {50: 0.1, 120: 0.1})),
    "polynomial": ({"power": 3.0, "end": 0.1}, optax.polynomial_schedule(1.0, 0.1, 3.0, TOTAL)),
    "one-cycle": ({}, optax.cosine_onecycle_schedule(TOTAL, 1.0)),
    "wsd": (
        {"decay": 0.3, "end": 0.1},
        optax.join_schedules([optax.constant_schedule(1.0), optax.linear_schedule(1.0, 0.1, 60)], [140]),
    ),
}


def curve(schedule, total=TOTAL):
    return np.array(jax.vmap(lambda step: schedule(step, total))(jnp.arange(total + 1)))


@EVERY
def test_equals_optax(name):
    options, theirs = OPTAX[name]
    expected = np.array([theirs(step) for step in range(TOTAL + 1)])
    np.testing.assert_allclose(
        curve(schedule_by_name(name, warmup=0.0, **options)), expected, rtol=2e-5, atol=1e-6
    )


@EVERY
def test_lies_between_0_and_1_and_peaks_at_1(name):
    values = curve(schedule_by_name(name))
    assert np.all((values >= 0) & (values <= 1 + 1e-6))
    np.testing.assert_allclose(values.max(), 1.0, rtol=1e-3)
    assert values[0] > 0


@EVERY
def test_warm_up_is_linear_and_joins_without_a_jump(name):
    plain = schedule_by_name(name, warmup=0.0)
    values = curve(schedule_by_name(name, warmup=0.1))
    np.testing.assert_allclose(values[:20], np.arange(1, 21) / 20 * float(plain(0, TOTAL)), rtol=1e-5)
    np.testing.assert_allclose(values[20], values[19], rtol=1e-5)


@EVERY
def test_another_length_does_not_compile_again(name):
    traces = []
    schedule = schedule_by_name(name)

    @jax.jit
    def multiplier(step, total_steps):
        traces.append(name)
        return schedule(step, total_steps)

    for total in (100, 1000):
        np.testing.assert_allclose(multiplier(70, total), schedule(70, total), rtol=1e-4)
    assert len(traces) == 1


@EVERY
@pytest.mark.parametrize("total", [1, 2])
def test_the_shortest_runs_get_finite_steps(name, total):
    values = curve(schedule_by_name(name), total)
    assert np.all(np.isfinite(values))
    assert values[0] > 0


def test_longer_than_planned_stays_at_the_end():
    assert float(schedule_by_name("cosine", end=0.1)(1000, TOTAL)) == pytest.approx(0.1)


def test_optax_schedules_are_accepted():
    schedule = from_optax(optax.linear_schedule(1.0, 0.0, 10))
    np.testing.assert_allclose([schedule(step, 999) for step in (0, 5, 10)], [1.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cosin", {}, "unknown schedule 'cosin'. Did you mean 'cosine'"),
        ("cosine", {"ends": 0.1}, "the schedule 'cosine' has no option 'ends'. Did you mean 'end'"),
        ("cosine", {"end": 2.0}, "the schedule 'cosine': end must be a number in [0, 1], got 2.0"),
        ("linear", {"warmup": -0.1}, "the schedule 'linear': warmup must be a number in [0, 1], got -0.1"),
        ("step", {"drops": (0.5, 2.0)}, "the schedule 'step': drops must be a number in [0, 1], got 2.0"),
        ("exponential", {"end": 0.0}, "the schedule 'exponential': end must be a number in (0, 1], got 0.0"),
        ("one-cycle", {"peak": 1.0}, "the schedule 'one-cycle': peak must be a number in (0, 1), got 1.0"),
        ("wsd", {"decay": 0.0}, "the schedule 'wsd': decay must be a number in (0, 1], got 0.0"),
    ],
)
def test_bad_options_are_refused(name, options, message):
    with pytest.raises(OptionError) as error:
        schedule_by_name(name, **options)
    assert message in str(error.value)
