"""What the tests of the rules share."""

from functools import partial

import jax
import pytest


@pytest.fixture(scope="session")
def quick_jit():
    """jax.jit that compiles five times faster and runs slower: for arithmetic that runs only once."""
    return partial(
        jax.jit,
        compiler_options={"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
    )
