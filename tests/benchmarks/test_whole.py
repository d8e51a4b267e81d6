"""What could be wrong in the whole-process parts: the counting of bytes, the verdict on growth, the clock."""

import csv
import json
import math
import sys
from pathlib import Path

import pytest
from benchmarks.harness import BenchmarkError
from benchmarks.scripts import make_table
from benchmarks.speed_parts import growth
from benchmarks.speed_parts.growth import cliffs, per_unit
from benchmarks.speed_parts.update import bytes_moved, shapes

from benchmarks import process


def test_the_update_is_of_100_million_parameters_in_200_arrays():
    arrays = shapes()
    assert len(arrays) == 200
    assert sum(map(math.prod, arrays)) == pytest.approx(100e6, rel=0.01)
    assert {len(shape) for shape in arrays} == {1, 2}


def test_what_must_be_moved():
    # p, g, m, v read and p, m, v written, 4 bytes each; LAMB reads p, m and v again
    assert bytes_moved("AdamW", 10) == 10 * 4 * (4 + 3)
    assert bytes_moved("LAMB", 10) == bytes_moved("AdamW", 10) + 10 * 4 * 3


def test_a_constant_part_and_a_straight_line_are_no_cliff():
    work = [1.0, 4.0, 16.0, 64.0]
    assert cliffs(per_unit([3.0 + 2.0 * w for w in work], work)) == []


def test_a_cliff_is_found_where_it_begins_and_while_it_lasts():
    work = [1.0, 4.0, 16.0, 64.0]
    assert cliffs(per_unit([1.0, 4.0, 40.0, 160.0], work)) == [2, 3]
    assert cliffs([1.0, 0.4, 0.79]) == []  # twice the lowest, not quite
    assert cliffs([1.0, 0.4, 0.81]) == [2]  # though it costs less than at first


def test_a_process_is_timed_and_its_memory_read():
    done = process.run([sys.executable, "-c", "x = bytearray(80_000_000); x[::999] = x[1::999]; print('hi')"])
    assert done.output == "hi\n"
    assert 80e6 < done.peak_bytes < 160e6
    assert done.seconds > 0


def test_a_process_that_fails_says_why():
    with pytest.raises(BenchmarkError, match=r"exit code 3 \(no more\)"):
        process.run([sys.executable, "-c", "import sys; print('no more', file=sys.stderr); sys.exit(3)"])


def test_variables_of_the_environment_are_set_and_taken_away(monkeypatch):
    monkeypatch.setenv("GIVEN", "1")
    show = "import os; print(os.environ.get('GIVEN'), os.environ.get('NEW'))"
    assert process.run([sys.executable, "-c", show], {"GIVEN": None, "NEW": "2"}).output == "None 2\n"


def test_the_table_has_what_it_promises(tmp_path: Path):
    path = tmp_path / "table.csv"
    make_table.main(str(path), 500)
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert len(header) == 30
    assert len(rows) == 500
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    assert sum("" in cells for cells in columns.values()) == 6
    assert set(columns["label"]) == {"yes", "no"}
    assert [len(set(columns[f"text_{i}"]) - {""}) for i in range(7)] == list(make_table.LEVELS)


def test_what_grew_becomes_rows_and_bars(monkeypatch):
    found = {"seconds": [[1.0], [4.0], [40.0], [64.0]], "units": [1.0, 4.0, 16.0, 64.0]}
    done = process.Done(1.0, 2_000_000_000, json.dumps(found))
    monkeypatch.setattr(process, "run", lambda command: done)
    section = growth.measure(True, lambda line: None)
    assert [row[4] for row in section.rows[:4]] == ["", "", "cliff", ""]
    assert [bar.holds for bar in section.bars] == [False] * len(growth.AXES)
