"""Many steps in one compiled call: the same steps however they are cut, from one trace."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from downslope.data.batches import padded_order
from downslope.data.order import epoch_order
from downslope.training.step import Pace
from downslope.training.stretch import STEPS_PER_NORM, Stretch, _ratios, empty_trace, make_stretch

ROWS, BATCH = 150, 4
STEPS = 38
KEY = jax.random.key(11)


def stretch(start, stop, epoch=0, batch=BATCH, rows=ROWS):
    order = padded_order(epoch_order(5, epoch, rows), batch)
    numbers = (np.int32(number) for number in (batch, rows, start, stop))
    return Stretch(order, *numbers, KEY)


def pace(rate=0.05, total=2 * STEPS):
    return Pace(jnp.float32(rate), jnp.float32(total))


@pytest.fixture
def made(setting):
    return setting(ROWS)


def run_in_pieces(made, cuts, run=None):
    run = run or jax.jit(make_stretch(made.problem.step))
    data = jax.device_put(made.problem.train)
    state, trace = made.start(), empty_trace(STEPS)
    for start, stop in itertools.pairwise(cuts):
        state, trace, done, goes_on = run(state, trace, data, stretch(start, stop), pace())
        assert (int(done), bool(goes_on)) == (stop, True)
    return state, trace


@pytest.mark.parametrize("cuts", [(0, 1, STEPS), (0, 17, 18, 37, STEPS), range(STEPS + 1)], ids=len)
def test_cut_in_pieces_is_one_piece(made, identical, cuts):
    whole = run_in_pieces(made, (0, STEPS))
    assert identical(run_in_pieces(made, cuts), whole)
    assert np.isfinite(whole[1].losses).all()
    assert int(whole[0].step) == STEPS


def test_one_trace_for_every_length_epoch_and_rate(made):
    run = jax.jit(make_stretch(made.problem.step))
    data = jax.device_put(made.problem.train)
    state, trace = made.start(), empty_trace(STEPS)
    for epoch, stop, rate in ((0, 3, 0.1), (0, STEPS, 0.2), (1, 1, 1e-3), (7, 20, 0.05)):
        state, trace, _, _ = run(state, trace, data, stretch(0, stop, epoch), pace(rate, 100 * (epoch + 1)))
    assert len(made.traces) == 1
    assert int(state.step) == 3 + STEPS + 1 + 20


def test_the_compiled_loop_is_the_obvious_loop(made):
    """The same step called from Python, batch by batch, with the rows and weights cut out by hand."""
    state, trace = run_in_pieces(made, (0, STEPS))
    slow, losses = made.start(), []
    order = epoch_order(5, 0, ROWS)
    step = jax.jit(made.problem.step)
    for first in range(0, ROWS, BATCH):
        rows = np.append(order[first : first + BATCH], [0] * (first + BATCH - ROWS)).astype(int)
        batch = jax.tree.map(lambda array, rows=rows: array[rows], made.problem.train)
        batch = batch._replace(weights=(first + np.arange(BATCH) < ROWS).astype(np.float32))
        slow, info = step(slow, batch, jax.random.fold_in(KEY, slow.step), pace())
        losses.append(info.loss)
    np.testing.assert_allclose(trace.losses, losses, rtol=1e-6, atol=1e-6)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(slow), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_the_norm_of_the_gradient_is_seen_now_and_then(made):
    _, trace = run_in_pieces(made, (0, 20))
    assert np.isfinite(trace.gradient_norms).tolist() == [True, True, False]
    state = made.start()
    batch = jax.tree.map(lambda array: array[epoch_order(5, 0, ROWS)[:BATCH]], made.problem.train)
    _, info = jax.jit(made.problem.step)(state, batch, jax.random.fold_in(KEY, 0), pace())
    expected = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(info.gradient)))
    np.testing.assert_allclose(trace.gradient_norms[0], expected, rtol=1e-5)
    assert STEPS_PER_NORM == 16


def test_a_full_batch_takes_every_row_at_every_step(setting):
    made = setting(ROWS, noise=0.0)
    run = jax.jit(make_stretch(made.problem.step))
    data = jax.device_put(made.problem.train)
    piece = stretch(0, 5, batch=ROWS)
    state, trace, done, _ = run(made.start(), empty_trace(5), data, piece, pace())
    assert int(done) == 5
    slow, step = made.start(), jax.jit(made.problem.step)
    for index in range(5):
        slow, info = step(slow, made.problem.train, KEY, pace())
        np.testing.assert_allclose(trace.losses[index], info.loss, rtol=1e-5)
    np.testing.assert_allclose(state.params["w"], slow.params["w"], rtol=1e-5, atol=1e-6)


def test_it_ends_after_a_loss_that_is_not_finite(made):
    run = jax.jit(make_stretch(made.problem.step))
    rows = made.problem.train
    poisoned = np.array(rows.targets)
    poisoned[epoch_order(5, 0, ROWS)[9 * BATCH]] = np.inf  # the tenth batch has it
    data = jax.device_put(rows._replace(targets=poisoned))
    state, trace, done, goes_on = run(made.start(), empty_trace(STEPS), data, stretch(0, STEPS), pace())
    assert (int(done), bool(goes_on)) == (10, False)
    assert np.isfinite(trace.losses[:9]).all()
    assert np.isinf(trace.losses[9])
    assert np.isnan(trace.losses[10:]).all()
    assert int(state.step) == 10


def test_randomness_is_a_function_of_the_step(made, identical):
    """Steps 5 to 9 draw what they would have drawn, whatever was drawn before."""
    run = jax.jit(make_stretch(made.problem.step))
    data = jax.device_put(made.problem.train)
    trace = empty_trace(STEPS)
    first, _, _, _ = run(made.start(), trace, data, stretch(0, 5), pace())
    ends = [run(first, trace, data, stretch(5, 10), pace())[0] for _ in range(2)]
    assert identical(*ends)
    other = Stretch(*stretch(5, 10)[:-1], jax.random.key(12))
    assert not identical(run(first, trace, data, other, pace())[0].params, ends[0].params)


def test_every_epoch_draws_anew(made):
    """At a rate of 0 nothing moves, so that only the noise can make the same batches differ."""
    run = jax.jit(make_stretch(made.problem.step))
    data = jax.device_put(made.problem.train)
    seen, state = [], made.start()
    for _ in range(2):
        state, trace, _, _ = run(state, empty_trace(STEPS), data, stretch(0, 5), pace(0.0))
        seen.append(np.asarray(trace.losses[:5]))
    assert not np.any(seen[0] == seen[1])
    again = run(made.start(), empty_trace(STEPS), data, stretch(0, 5), pace(0.0))[1]
    np.testing.assert_array_equal(again.losses[:5], seen[0])


def test_a_layer_whose_weights_are_0_has_no_ratio():
    before = {"first": {"kernel": jnp.zeros(4)}, "second": {"kernel": jnp.array([3.0, 4.0])}}
    after = jax.tree.map(lambda leaf: leaf + 1.0, before)
    np.testing.assert_allclose(_ratios(before, after), [np.nan, np.sqrt(2) / 5], rtol=1e-6)


def test_how_far_a_step_moves_each_layer_is_seen_at_every_128th(setting):
    rows, layers = 600, 2
    made = setting(rows)
    run, data = jax.jit(make_stretch(made.problem.step)), jax.device_put(made.problem.train)
    state, trace = made.start(), empty_trace(150, layers)
    states = {}
    for start, stop in itertools.pairwise((0, 1, 128, 129, 150)):
        states[start] = jax.tree.map(np.asarray, state.params)
        state, trace, *_ = run(state, trace, data, stretch(start, stop, rows=rows), pace(total=300))
        states[stop] = jax.tree.map(np.asarray, state.params)
    expected = [[norm(states[n + 1][w] - states[n][w]) / norm(states[n][w]) for w in "bw"] for n in (0, 128)]
    np.testing.assert_allclose(trace.layer_ratios, expected, rtol=1e-4)
    whole = run(made.start(), empty_trace(150, layers), data, stretch(0, 150, rows=rows), pace(total=300))[1]
    np.testing.assert_array_equal(whole.layer_ratios, trace.layer_ratios)


def norm(array):
    size = np.sqrt(np.sum(np.square(array)))
    return size if size > 0 else np.nan
