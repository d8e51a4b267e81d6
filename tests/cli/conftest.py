"""How much was compiled, so that a refusal can be shown to come before that."""

from collections.abc import Iterator

import jax
import pytest

COMPILED: list[str] = []


def _listen(event: str, seconds: float, **about: object) -> None:
    if event.endswith("backend_compile_duration"):
        COMPILED.append(event)


jax.monitoring.register_event_duration_secs_listener(_listen)


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """One entry for every program that was compiled since the test began."""
    COMPILED.clear()
    yield COMPILED
    COMPILED.clear()
