"""What `minimize` refuses, and what it takes in many forms."""

import jax.numpy as jnp
import numpy as np
import pytest

import downslope as ds
from downslope.errors import OptionError


def mean_square(at, *rows):
    return sum((at - row.astype(jnp.float32)) ** 2 for row in rows)


@pytest.mark.parametrize("wide", [np.full(4, 3 * 10**10), [3 * 10**10] * 4, np.full(4, 2**63, np.uint64)])
def test_whole_numbers_that_the_device_would_wrap(wide):
    with pytest.raises(OptionError, match="^data: whole numbers must lie within .* smaller"):
        ds.minimize(mean_square, jnp.float32(0), data=(wide,), steps=1)


def test_wide_whole_numbers_that_fit():
    rows = (np.full(4, 3, np.int64), np.full(4, 3, np.uint32), [3] * 4, jnp.full(4, 3))
    result = ds.minimize(mean_square, jnp.float32(0), data=rows, rule=ds.sgd(), step_size=0.05, steps=100)
    assert float(result.params) == pytest.approx(3, abs=1e-4)
