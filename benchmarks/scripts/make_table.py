"""Write the table: python -m benchmarks.scripts.make_table FILE ROWS.

22 columns of numbers (whole, money, measurements, one with heavy tails), 7 of text with 2 to 24 categories,
and a class to predict that depends on some of them. Four columns of numbers and two of text miss cells.
"""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

LEVELS = (2, 3, 5, 8, 12, 16, 24)
NUMBERS = 22
MISSING = 0.03
ROWS_AT_ONCE = 100_000


def main(path: str, rows: int) -> None:
    random = np.random.default_rng(0)
    schema = part(random, 10).schema
    plain = csv.WriteOptions(include_header=False, quoting_style="none")  # as pandas writes it
    with open(path, "wb") as file, csv.CSVWriter(file, schema, write_options=plain) as writer:
        file.write(",".join(schema.names).encode() + b"\n")
        for start in range(0, rows, ROWS_AT_ONCE):
            writer.write_table(part(random, min(ROWS_AT_ONCE, rows - start)))


def part(random: np.random.Generator, rows: int) -> pa.Table:
    values = random.standard_normal((rows, NUMBERS))
    values[:, 1] += values[:, 0]
    columns, score = {}, 1.5 * np.sin(values[:, 0]) + values[:, 5] * values[:, 6] + 0.7 * values[:, 1]
    for place in range(NUMBERS):
        column = values[:, place]
        if place % 4 == 0:
            cells = pa.array(np.rint(50 + 15 * column).astype(np.int64))
        elif place % 4 == 1:
            cells = pa.array(np.round(1000 + 250 * column, 2))
        elif place == 3:
            cells = pa.array(np.round(np.exp(3 * column), 3))
        else:
            cells = pa.array(np.round(column, 5))
        columns[f"number_{place}"] = missing(random, cells) if place % 6 == 2 else cells
    for place, levels in enumerate(LEVELS):
        codes = random.integers(levels, size=rows)
        score += np.cos(codes + place) * 0.5
        cells = pa.array([f"kind {chr(97 + level)}" for level in range(levels)]).take(pa.array(codes))
        columns[f"text_{place}"] = missing(random, cells) if place in (2, 5) else cells
    noisy = score + 0.5 * random.standard_normal(rows)
    columns["label"] = pc.if_else(pa.array(noisy > 0), "yes", "no")
    return pa.table(columns)


def missing(random: np.random.Generator, cells: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(random.random(len(cells)) < MISSING), pa.scalar(None, cells.type), cells)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
