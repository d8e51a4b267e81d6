"""What a part of the benchmark found, stored and read back; and the page that is made of it."""

from pathlib import Path

import pytest
from benchmarks.section import Bar, Section, machine, store, stored, versions

from benchmarks import page


def section(name: str = "tiny", **changes) -> Section:
    given = {
        "title": f"{name}: a network",
        "what": "What is done.",
        "columns": ("system", "ms per step", "note"),
        "rows": (("Downslope", 0.16251, None), ("a | b", 12345.6, "slow")),
        "bars": (Bar.at_least("against the fastest", 3.4, 3.0), Bar.at_most("seconds", 2.5, 2.0)),
        "notes": ("Where it goes.",),
        "machine": "2 cores",
        "versions": {"jax": "0.10"},
    }
    return Section(name, **{**given, **changes})


def test_it_comes_back_as_it_was_stored(tmp_path: Path):
    one, other = section(), section("small", rows=(), bars=(), notes=())
    store(other, tmp_path)
    store(one, tmp_path)
    assert stored(("tiny", "small", "medium"), tmp_path) == [one, other]


def test_a_bar_is_decided_before_it_is_rounded():
    assert Bar.at_least("", 3.0, 3.0).holds
    missed = Bar.at_least("", 2.9999, 3.0)
    assert (missed.measured, missed.wanted, missed.holds) == ("3 ×", "≥ 3 ×", False)
    assert not Bar.at_most("", 2.0001, 2.0).holds
    assert Bar.at_most("", 2.0, 2.0).holds


def test_rows_fit_the_columns():
    with pytest.raises(AssertionError, match="ragged"):
        section(rows=(("Downslope", 1.0),))


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "–"),
        ("as it is", "as it is"),
        (2, "2"),
        (12345.6, "12,346"),
        (0.16251, "0.163"),
        (120.0, "120"),
        (3.0, "3.00"),
        (0.0, "0.00"),
        (0.00001234, "1.2e-05"),
    ],
)
def test_cells_show_three_digits(cell, text: str):
    assert page.shown(cell) == text


def test_the_page_says_which_bars_are_missed():
    text = page.page([section()])
    assert "| [tiny](#tiny-a-network) | against the fastest | ≥ 3 × | 3.4 × | holds |" in text
    assert "| [tiny](#tiny-a-network) | seconds | ≤ 2 s | 2.5 s | **missed** |" in text
    assert "## tiny: a network" in text
    assert "| a \\| b | 12,346 | slow |" in text
    assert "| --- | --: | --- |" in text
    assert "Measured " in text
    assert "on 2 cores; jax 0.10." in text


def test_the_machine_and_what_is_installed():
    assert "core" in machine()
    assert list(versions("numpy", "no-such-package")) == ["numpy"]


def test_the_page_says_which_parts_are_not_measured():
    measured = section()
    assert "Not measured on this machine yet: other.\n" in page.page([measured], (measured.name, "other"))
    assert "Not measured" not in page.page([measured], (measured.name,))
