"""Eight simulated devices descend as one does; in a process of its own, for XLA counts its devices once."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from downslope.errors import OptionError
from downslope.training.devices import ONE_DEVICE, choose_devices

STEPS = 50
EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"

# Every step's loss of one run per line of CASES, and how many bytes of the state the first device holds.
SCRIPT = """
import json, sys
import jax, numpy as np
import downslope as ds
from downslope.errors import OptionError
from downslope.training import loop

seen = {}
close_epoch = loop.close_epoch

def observed(session):
    seen["losses"] += np.asarray(session.trace.losses, np.float64).tolist()
    leaves = jax.tree.leaves((session.state.params, session.state.rule_state))
    seen["bytes"] = sum(leaf.addressable_shards[0].data.nbytes for leaf in leaves)
    seen["sharded"] = sum(not leaf.sharding.is_fully_replicated for leaf in leaves)
    close_epoch(session)

loop.close_epoch = observed

def descend(**options):
    seen.update(losses=[], bytes=0, sharded=0)
    run = ds.train("digits", out=False, quiet=True, early_stopping=False, **options)
    return {**seen, "devices": run.summary["devices"], "metrics": run.summary["metrics"]}

answers = {}
for name, options, places in json.loads(sys.argv[1]):
    answers[name] = [descend(**options)] + [descend(**options, **place) for place in places]
refused = []
for options in ({"devices": 9}, {"devices": "all", "batch_size": 7}, {"devices": 8, "batch_size": 1}):
    try:
        descend(**options)
    except OptionError as error:
        refused.append(str(error))
print(json.dumps({"answers": answers, "refused": refused}))
"""

EVERYTHING = {"batch_norm": True, "clip_norm": 1.0, "optimizer": "lamb", "dropout": 0.1, "accumulate": 2}
EIGHT, SPREAD = {"devices": "all"}, {"devices": 8, "shard": "parameters"}
# Of 1,294 training rows in batches of 100 the last has 94, and its parts have 47, which 8 does not
# divide: the padding must not change who is normalised with whom.
GIVEN = {"learning_rate": 0.01, "epochs": 4}
CASES = [
    ("everything", {**EVERYTHING, **GIVEN, "batch_size": 100, "hidden": [32, 24]}, [EIGHT, SPREAD]),
    ("full batch", {**GIVEN, "batch_norm": True, "batch_size": "full", "epochs": 2, "hidden": [8]}, [EIGHT]),
]


def largest_difference(one, many):
    assert len(one["losses"]) == len(many["losses"])
    pairs = zip(one["losses"][:STEPS], many["losses"][:STEPS], strict=True)
    return max(abs(a - b) / abs(a) for a, b in pairs)


@pytest.mark.slow
def test_eight_devices_descend_as_one(environment):
    """The issue's bar: 1e-6 relative, at each of 50 steps in float32. One process for all comparisons."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(CASES)],
        env={**environment, "XLA_FLAGS": EIGHT_DEVICES},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for one, *others in found["answers"].values():
        for many in others:
            assert (len(one["devices"]), len(many["devices"])) == (1, 8)
            assert largest_difference(one, many) < 1e-6
            for split, metrics in one["metrics"].items():
                assert many["metrics"][split]["loss"] == pytest.approx(metrics["loss"], rel=1e-6)

    one, eight, spread = found["answers"]["everything"]
    assert len(one["losses"]) >= STEPS
    assert one["losses"][STEPS] < 0.6 * one["losses"][0]  # it went somewhere
    assert one["sharded"] == eight["sharded"] == 0
    assert eight["bytes"] == one["bytes"]
    assert spread["sharded"] > 10
    assert spread["bytes"] < 0.2 * one["bytes"]  # an eighth, and the few arrays that 8 does not divide

    too_many, *too_few = found["refused"]
    assert too_many.startswith("--devices 9: this machine has 8 devices")
    for rows, message in zip((7, 1), too_few, strict=True):
        assert message.startswith(f"--batch-size {rows} is smaller than the number of devices, 8")


@pytest.mark.slow  # two processes; the test above says the same of the library
def test_the_command_line_ends_at_the_same_loss(environment, tmp_path):
    """The line of the issue, a few epochs of it."""
    program = "import sys; from downslope.cli import main; sys.argv[0] = 'downslope'; main()"
    flags = {**environment, "XLA_FLAGS": EIGHT_DEVICES}
    summaries = []
    for more in ([], ["--devices", "all"]):
        words = ["train", *more, "--batch-norm", "--optimizer", "lamb", "--epochs", "3", "--json"]
        done = subprocess.run(
            [sys.executable, "-c", program, *words, "--out", str(tmp_path / str(len(more)))],
            env=flags,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        summaries.append(json.loads(done.stdout))
    one, eight = summaries
    assert (len(one["devices"]), len(eight["devices"])) == (1, 8)
    for split in ("train", "validation", "test"):
        assert eight["metrics"][split]["loss"] == pytest.approx(one["metrics"][split]["loss"], rel=1e-4)


def test_no_devices_asked_for_is_the_default_device():
    assert choose_devices(None, 32) is ONE_DEVICE
    assert ONE_DEVICE.count == 1
    tree = {"w": 1}
    assert ONE_DEVICE.place_state(tree) is tree
    assert ONE_DEVICE.spread(tree) is tree


@pytest.mark.parametrize(
    ("devices", "shard", "said"),
    [
        (10**6, None, r"^--devices 1000000: this machine has \d+ device"),
        (0, None, r"^--devices must be 'all' or a whole number of at least 1, got 0"),
        (True, None, "got True"),
        ("some", None, "got 'some'"),
        (1.0, None, r"got 1\.0"),
        (1, "rows", "^--shard must be 'parameters', got 'rows'"),
        (None, "parameters", "^--shard parameters spreads weights over several devices; add --devices all"),
    ],
)
def test_bad_devices_are_refused(devices, shard, said):
    with pytest.raises(OptionError, match=said):
        choose_devices(devices, 32, shard)


def test_a_batch_smaller_than_the_devices_is_refused(monkeypatch):
    device = SimpleNamespace(device_kind="cpu", platform="cpu", id=0)
    monkeypatch.setattr("jax.devices", lambda: [device] * 4)
    with pytest.raises(OptionError, match="--batch-size 3 is smaller than the number of devices, 4; each"):
        choose_devices("all", 3)
