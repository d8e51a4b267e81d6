"""One independent stream of random numbers for each (seed, purpose, …): nothing is carried along.

Philox is counter-based: its key alone fixes the whole stream, so the shuffle of epoch 900 is made
without making the 899 before it.
"""

import zlib

import numpy as np

from downslope.errors import OptionError


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return the generator for one purpose.

    Arguments:
        seed: the user's seed, a whole number ≥ 0.
        purpose: what the numbers are for; different words give independent streams.
        index: further whole numbers ≥ 0, such as the epoch.

    Raises:
        OptionError: the seed is negative or not a whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise OptionError(f"--seed {seed} is not a whole number ≥ 0")
    # CRC-32 and not hash(): Python salts the latter anew in each process.
    entropy = (int(seed), zlib.crc32(purpose.encode()), *(int(i) for i in index))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
