import json
import math
from pathlib import Path

import numpy as np
import pytest

from downslope.errors import OptionError
from downslope.stepsize import PlateauState, reduce_on_plateau

GOLDENS = np.load(Path(__file__).parents[1] / "rules" / "goldens.npz")


def multipliers(plateau, values):
    state, result = plateau.init(), []
    for value in values:
        state = plateau.update(state, float(value))
        result.append(state.multiplier)
    return result


def test_decides_as_torch_does():
    plateau = reduce_on_plateau(factor=0.5, patience=3, threshold=0.01, cooldown=2, smallest=0.1)
    expected = GOLDENS["plateau_multipliers"]
    assert len(set(expected)) > 3  # it does come down, several times, to its floor
    np.testing.assert_allclose(multipliers(plateau, GOLDENS["plateau_values"]), expected, rtol=1e-12)


def test_a_falling_loss_keeps_the_rate():
    assert multipliers(reduce_on_plateau(patience=0), 0.9 ** np.arange(20.0)) == [1.0] * 20


def test_negative_values_fall_too():
    assert multipliers(reduce_on_plateau(patience=0, threshold=0.1), [-1.0, -1.2, -1.4])[-1] == 1.0


def test_not_a_number_is_no_improvement():
    values = [1.0, math.nan, math.inf]
    assert multipliers(reduce_on_plateau(factor=0.5, patience=1), values) == [1.0, 1.0, 0.5]


def test_state_survives_json():
    plateau = reduce_on_plateau(patience=2)
    state = plateau.update(plateau.init(), 1.0)
    assert PlateauState(*json.loads(json.dumps(state))) == state


def test_options_are_checked():
    with pytest.raises(OptionError, match=r"reduce-on-plateau: factor must be a number in \(0, 1\), got 1.5"):
        reduce_on_plateau(factor=1.5)
