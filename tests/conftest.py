"""What all tests share: one CPU, a cache of compiled programs of their own, small tables, the command."""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

# Read when jax is first imported. Many tests compile the same small programs: each process keeps its own.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiled in haste, a fifth of the time; processes of their own, and `make test-all`, compile as users do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
COMPILED = tempfile.mkdtemp(prefix="downslope-tests-")
atexit.register(shutil.rmtree, COMPILED, ignore_errors=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

PYTHON = Path(sys.executable)


class Answer(NamedTuple):
    """What a command left behind: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of a refusal, checked to be one."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: "), self.err
        return lines[0].removeprefix("error: ")


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Answer]]:
    """`command("train", path, "--epochs", 3)` runs the command line in this process."""
    main = __import__("downslope.cli", fromlist=["main"]).main
    monkeypatch.setattr(sys.modules["downslope.cli.main"], "keep_compiled_programs", lambda: None)

    def run(*words: Any) -> Answer:
        monkeypatch.setattr(sys, "argv", ["downslope", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        return Answer(int(caught.value.code or 0), *capsys.readouterr())

    terminate = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, terminate)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process of its own: a cache that outlives it but not the tests."""
    cache = tmp_path_factory.mktemp("cache")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XDG_"))}
    return {**kept, "XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu", "COLUMNS": "200"}


@pytest.fixture(scope="session")
def start(environment: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """`start("train", …, cwd=…)` runs the command line in a process of its own and does not wait."""
    program = "import sys; from downslope.cli import main; sys.argv[0] = 'downslope'; main()"

    def begin(*words: Any, cwd: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PYTHON, "-c", program, *map(str, words)],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


@pytest.fixture(scope="session")
def python(environment: dict[str, str]) -> Callable[..., str]:
    """`python(code)` runs code in a fresh interpreter and returns what it printed."""

    def run(code: str, **options: Any) -> str:
        done = subprocess.run(
            [PYTHON, "-c", code], env=environment, capture_output=True, text=True, check=False, **options
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


Columns = dict[str, list[Any]]


def make_table(n: int = 120, seed: int = 0) -> Columns:
    """Columns of every kind: numbers, text with and without holes, truth values, two targets."""
    generator = np.random.default_rng(seed)
    width, height = generator.normal(5, 2, n), generator.normal(-1, 3, n)
    colour = generator.choice(["red", "green", "blue"], n)
    new = generator.random(n) < 0.5
    price = 100 + 20 * width - 7 * height + 15 * (colour == "red") + generator.normal(0, 3, n)
    return {
        "width": [None if i % 17 == 3 else round(float(x), 4) for i, x in enumerate(width)],
        "height": [round(float(x), 4) for x in height],
        "colour": [None if i % 23 == 5 else str(x) for i, x in enumerate(colour)],
        "new": [bool(x) for x in new],
        "price": [round(float(x), 3) for x in price],
        "kind": ["dear" if x > np.median(price) else "cheap" for x in price],
    }


def write_csv(path: Path, columns: Columns, delimiter: str = ",") -> Path:
    """Write columns as text, missing cells empty."""
    rows = zip(*columns.values(), strict=True)
    lines = [delimiter.join("" if cell is None else str(cell) for cell in row) for row in rows]
    path.write_text("\n".join([delimiter.join(columns), *lines]) + "\n")
    return path


@pytest.fixture
def table() -> Callable[..., Columns]:
    """`table(n=…, seed=…)` returns columns by name; "price" and "kind" may be targets."""
    return make_table


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., Path]:
    """`csv("name.csv", columns)` writes a file into the test's folder."""

    def write(name: str = "things.csv", columns: Columns | None = None, **options: Any) -> Path:
        return write_csv(tmp_path / name, make_table() if columns is None else columns, **options)

    return write


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two finished runs with their data: ``classification``, ``regression`` and ``data``. Read only."""
    import downslope as ds

    folder = tmp_path_factory.mktemp("finished")
    data = write_csv(folder / "things.csv", make_table())
    small = {"hidden": (8,), "epochs": 4, "batch_size": 16, "learning_rate": 0.01, "quiet": True}
    ds.train(data, target="kind", drop=("price",), out=folder / "kinds", **small)
    ds.train(data, target="price", drop=("kind",), out=folder / "prices", **small)
    return {"data": data, "classification": folder / "kinds", "regression": folder / "prices"}


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def files() -> Callable[[Path], dict[str, bytes]]:
    """`files(folder)` returns every file below a folder with its bytes."""
    return contents


def same(a: Any, b: Any) -> bool:
    """Return whether two trees of arrays are equal in every bit."""
    import jax

    leaves = [jax.tree.leaves(tree) for tree in (a, b)]
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        np.asarray(x).dtype == np.asarray(y).dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes()
        for x, y in zip(*leaves, strict=True)
    )


@pytest.fixture
def identical() -> Callable[[Any, Any], bool]:
    """`identical(a, b)`: are two trees of arrays equal, bit for bit?"""
    return same


@pytest.fixture
def without_seconds() -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    """Return rows of a history without what a clock says."""
    clocked = re.compile(r"seconds|_per_second")
    return lambda rows: [{k: v for k, v in row.items() if not clocked.search(k)} for row in rows]
