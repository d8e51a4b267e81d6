import numpy as np
from hypothesis import given, strategies as st

from downslope.data.batches import padded_order
from downslope.data.order import epoch_order


@given(
    n=st.integers(1, 200), batch_size=st.integers(1, 250), padding=st.integers(0, 9), epoch=st.integers(0, 5)
)
def test_every_example_is_in_exactly_one_real_place(n, batch_size, padding, epoch):
    rows = epoch_order(0, epoch, n)
    order = padded_order(rows, batch_size, batch_size + padding)
    assert order.shape == (-(-n // batch_size), batch_size + padding)
    assert order.dtype == np.int32
    real = order[:, :batch_size].ravel()
    assert np.array_equal(real[:n], rows)  # in the order of the epoch
    for step, batch in enumerate(order):  # padding: rows of the epoch from its beginning, one after the other
        padded = batch[min(batch_size, n - step * batch_size) :]
        assert np.array_equal(padded, np.resize(rows, len(padded)))
