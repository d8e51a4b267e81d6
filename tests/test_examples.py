"""The examples of a network of one's own run as they stand, and learn."""

import re
import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.parametrize("name", ["own_flax", "own_equinox", "own_functions"])
def test_own_networks(name, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"))
    (line,) = capsys.readouterr().out.splitlines()
    accuracy = re.fullmatch(r"test accuracy (0\.\d{3})", line)
    assert accuracy, line
    assert float(accuracy[1]) >= 0.97


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plain_loop", r"loss \d\.\de[+-]\d+, weights \[ ?1\.\s+-2\.\s+0\.5 *\], bias 0\.300"),
        ("optax_chain", r"loss \d\.\d+ -> 0\.000\d+"),
        ("minimize_your_loss", r"(?s)loss .*centres .*sigma 0\.\d+, made with 0\.70"),
    ],
)
def test_own_loops(name, said, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"))
    printed = capsys.readouterr().out.strip()
    assert re.fullmatch(said, printed), printed


def test_every_example_is_run():
    run_here = {"own_flax", "own_equinox", "own_functions", "plain_loop", "optax_chain", "minimize_your_loss"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == run_here
