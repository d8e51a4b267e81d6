"""What is said before and after a training."""

import io
from types import SimpleNamespace

import pyarrow as pa
import pytest
from rich.console import Console

from downslope.workflow.job import new_job
from downslope.workflow.options import options_from
from downslope.workflow.words import announce, conclude


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def test_one_of_a_kind_is_not_many(console, table):
    things = pa.table({name: table()[name] for name in ("width", "kind")})
    announce(new_job(things, None, False, False, options_from({"target": "kind", "epochs": 1})), console)
    told = console.file.getvalue()
    assert "120 rows × 1 column (" in told
    assert "up to 1 epoch, " in told


@pytest.mark.parametrize(
    ("epoch", "why", "said"),
    [
        (54, "all epochs done", "all epochs done. Weights of epoch 54 kept (1.0 s"),
        (0, "the loss became inf. Try 1", "by the error below. Weights of the start kept (1.0 s"),
    ],
)
def test_the_weights_that_are_kept(console, epoch, why, said):
    summary = {
        "stopped_because": why,
        "failed": epoch == 0,
        "best_epoch": epoch,
        "metrics": {"validation": {"loss": 0.5}},
        "seconds": {"train": 1.0, "compile": 2.0},
    }
    conclude(SimpleNamespace(summary=summary, folder=None), console, ["healthy: or not"])
    told = console.file.getvalue()
    assert f"stopped  {said} of training" in told
    assert ("healthy" in told) != summary["failed"]
