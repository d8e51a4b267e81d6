"""The command: what it refuses, what it writes, and what it says of a bar that is missed."""

import json

import pytest
from benchmarks.harness import BenchmarkError, Measured, Peer
from benchmarks.profile import as_table, summed_up
from benchmarks.section import Bar, Section
from benchmarks.speed_parts import PARTS, part, training
from benchmarks.workloads import WORKLOADS

from benchmarks import page, speed


def measured(peer: Peer, milliseconds: float, loss: float = 1.0, name: str = "small") -> Measured:
    seconds = milliseconds * WORKLOADS[name][0].steps_per_epoch / 1000
    return Measured(peer, [seconds] * 5, 1.0, 0.5, 0.0, 4e8, loss, 2)


def bars(name: str, *found: Measured):
    return training._bars(name, [(WORKLOADS[name][0], one) for one in found])


def test_small_networks_are_held_against_the_fastest_other_and_the_scan():
    ours, keras = measured(training.DOWNSLOPE, 1.0), measured(training.KERAS, 2.0)
    fused, scan = measured(training.FUSED, 3.5), measured(training.SCAN, 0.9)
    against_all, against_scan, same = bars("small", ours, keras, fused, scan)
    assert (against_all.measured, against_all.holds) == ("2 ×", False)
    assert "Keras" in against_all.claim
    assert (against_scan.measured, against_scan.holds) == ("0.9 ×", False)
    assert same.holds
    against_all, _, _ = bars("small", ours, fused, scan)
    assert (against_all.measured, against_all.holds) == ("3.5 ×", True)


def test_large_networks_are_held_against_everyone():
    ours, steps = measured(training.DOWNSLOPE, 1.0, name="conv"), measured(training.STEPS, 0.8, name="conv")
    against, _ = bars("conv", ours, steps, measured(training.FUSED, 1.2, name="conv"))
    assert "by hand" in against.claim
    assert not against.holds


def test_losses_that_do_not_agree_are_a_bar_missed():
    ours, scan = measured(training.DOWNSLOPE, 1.0, loss=0.5), measured(training.SCAN, 1.0, loss=1.0)
    fused = measured(training.FUSED, 9.0, loss=1.05)
    *_, same = bars("small", ours, fused, scan)
    assert (same.measured, same.holds) == ("50 %", False)
    *_, same = bars("small", measured(training.DOWNSLOPE, 1.0, loss=float("nan")), fused, scan)
    assert not same.holds


def test_every_system_has_a_file_and_every_workload_its_systems():
    assert set(training.SYSTEMS) == set(WORKLOADS)
    for name, lists in training.SYSTEMS.items():
        assert len(lists) == len(WORKLOADS[name])
        for peers in lists:
            assert peers[0] == training.DOWNSLOPE
            for peer in peers:
                assert (page.PAGE.parent / "peers" / f"{peer.name}.py").exists()


def found(name: str, holds: bool = True) -> Section:
    bar = Bar("a claim", "2 ×", "≥ 1 ×", holds)
    return Section(name, f"{name} title", "What.", ("system", "ms"), (("Downslope", 1.0),), (bar,))


@pytest.fixture
def told(monkeypatch, tmp_path):
    """Parts that measure nothing, and a folder of their own to be stored in."""
    monkeypatch.setattr(speed, "part", lambda name, alone: lambda quick, tell: found(name, name != "small"))
    monkeypatch.setattr(speed, "store", lambda section: _store(section, tmp_path))
    monkeypatch.setattr(speed, "stored", lambda names: _stored(names, tmp_path))
    monkeypatch.setattr(
        speed.page, "write", lambda sections, parts: _write(sections, parts, tmp_path / "RESULTS.md")
    )
    return tmp_path


_store, _stored, _write = speed.store, speed.stored, page.write


def test_parts_measured_one_by_one_share_a_page(told, capsys):
    assert speed.main(["--only", "tiny"]) == 0
    assert speed.main(["--only", "small"]) == 1
    out = capsys.readouterr().out
    assert "MISS  a claim: 2 ×, wanted ≥ 1 ×" in out
    assert json.loads((told / "tiny.json").read_text())["name"] == "tiny"
    text = (told / "RESULTS.md").read_text()
    assert "## tiny title" in text
    assert "| [small](#small-title) | a claim | ≥ 1 × | 2 × | **missed** |" in text


def test_quick_writes_nothing(told):
    assert speed.main(["--quick", "--only", "tiny"]) == 0
    assert list(told.iterdir()) == []


def test_what_cannot_be_run_is_one_line(told, monkeypatch, capsys):
    def fails(quick, tell):
        raise BenchmarkError("keras: not installed; pip install -e '.[bench]'")

    monkeypatch.setattr(speed, "part", lambda name, alone: fails)
    assert speed.main(["--only", "tiny"]) == 2
    assert capsys.readouterr().err == "error: keras: not installed; pip install -e '.[bench]'\n"


def test_an_unknown_part_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        speed.main(["--only", "huge"])
    assert caught.value.code == 2
    assert "huge" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(WORKLOADS))
def test_a_workload_becomes_a_section(name: str, monkeypatch):
    """Without the measuring: every figure has its column, a missed bar its profile, compute its ceiling."""

    def together(pairs, rounds, tell, alone):
        assert rounds == training.ROUNDS
        return [measured(peer, 1.0, name=name) for peer, _ in pairs]

    def asked(module, argument, alone, tell):
        return [["dot", 3.0, 1.0]] if module == "profile" else {"XLA": 1e11, "PyTorch": 2e11}

    monkeypatch.setattr(training, "check_installed", lambda peers: None)
    monkeypatch.setattr(training, "measure_together", together)
    monkeypatch.setattr(training, "_asked", asked)
    section = training.measure(name, (), False, print)
    assert Section.from_json(section.to_json()) == section
    text = page.page([section])
    assert "| Downslope | float32 | 1.00 | 1.00 | 1.00 | 1.00 |" in text
    assert ("Ceiling: " in text) == (name not in training.OVERHEAD_BOUND)
    assert ("| `dot` | 3.00 | 100 | 1.00 |" in text) == (not all(bar.holds for bar in section.bars))


def test_parts_are_found():
    assert callable(part(PARTS[0]))


def test_a_trace_is_summed_up_by_the_kind_of_operation():
    events = [
        {"ph": "X", "name": "dot.12", "dur": 6.0},
        {"ph": "X", "name": "dot.3", "dur": 2.0},
        {"ph": "X", "name": "multiply_fusion.1", "dur": 4.0},
        {"ph": "X", "name": "while.7", "dur": 100.0},  # holds the others
        {"ph": "X", "name": "np.asarray(jax.Array)", "dur": 90.0},  # the host waits
        {"ph": "X", "name": "PjRtCpuExecutable::Execute", "dur": 90.0},
        {"ph": "M", "name": "thread_name"},
    ]
    rows = summed_up(events, steps=2)
    assert rows == [("dot", 4.0, 1.0), ("multiply_fusion", 2.0, 0.5)]
    assert "| `dot` | 4.00 | 66.7 | 1.00 |" in as_table(rows)
