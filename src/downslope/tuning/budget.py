"""How many steps a choice of the learning rate may cost: a function of sizes alone, never of a clock.

So the same run chooses the same, on a busy machine as on a quiet one, and again after it was killed.
"""

SHARE = 0.1  # of the steps of a long run
SECONDS = 0.4  # the moment: as long as choosing may take whatever the run's length
SECONDS_PER_STEP = 2e-4  # that a step takes however small the network
OPERATIONS_PER_SECOND = 5e10  # of a processor, in small networks
OPERATIONS_PER_NUMBER = 6  # and row: multiply and add, forwards once and backwards twice


def steps_to_choose(total_steps: int, n_params: int, batch_size: int) -> int:
    """Return the budget of a race in steps.

    Args:
        total_steps: of the run, as far as they are known.
        n_params: numbers in the network.
        batch_size: rows per step.

    >>> steps_to_choose(20_000, 150_000, 128), steps_to_choose(4_000, 10_000, 32)
    (2000, 1678)
    """
    operations = OPERATIONS_PER_NUMBER * n_params * batch_size
    in_a_moment = SECONDS / (SECONDS_PER_STEP + operations / OPERATIONS_PER_SECOND)
    return max(1, round(max(SHARE * total_steps, in_a_moment)))
