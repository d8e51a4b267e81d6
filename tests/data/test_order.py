import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

from downslope.data.order import epoch_order
from downslope.data.seeds import generator
from downslope.errors import OptionError


@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 10_000), n=st.integers(1, 300))
def test_an_order_is_a_permutation_and_depends_on_nothing_else(seed, epoch, n):
    order = epoch_order(seed, epoch, n)
    assert order.dtype == np.int32
    assert np.array_equal(np.sort(order), np.arange(n))
    epoch_order(seed + 1, epoch + 1, n)
    assert np.array_equal(order, epoch_order(seed, epoch, n))


def test_orders_differ_between_epochs_seeds_and_purposes():
    orders = [epoch_order(seed, epoch, 1000) for seed in range(4) for epoch in range(4)]
    assert len({order.tobytes() for order in orders}) == 16
    assert not np.array_equal(generator(0, "a").random(4), generator(0, "b").random(4))


def test_an_order_is_the_same_in_another_process():
    code = "from downslope.data.order import epoch_order; print(epoch_order(5, 3, 10).tolist())"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(epoch_order(5, 3, 10).tolist())


def test_bad_options():
    with pytest.raises(OptionError, match="--seed -1"):
        epoch_order(-1, 0, 3)
