"""What `import downslope` offers, and what it costs."""

import inspect
import json
import resource
import subprocess
import sys

import pytest

import downslope as ds

HEAVY = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax",
    "numpy",
    "pyarrow",
    "sklearn",
    "plotly",
    "narwhals",
    "rich",
    "dash",
)


@pytest.mark.parametrize("name", ds.__all__)
def test_public_names_exist_and_are_explained(name):
    found = getattr(ds, name)
    assert name in dir(ds)
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        assert name == "Schedule"  # the name of a type, which has no place for a docstring
        return
    assert len(inspect.getdoc(found) or "") > 20
    assert found.__module__.startswith("downslope.")
    assert found.__name__ == name


def test_there_is_what_was_promised():
    rules = {"gradient_descent", "sgd", "momentum", "nesterov", "adam", "adamw", "lamb"}
    assert {"train", "minimize", "Run", *rules} <= set(ds.__all__)
    assert len(set(ds.__all__)) == len(ds.__all__)


def test_other_names_do_not_exist():
    with pytest.raises(AttributeError, match="module 'downslope' has no attribute 'nothing'"):
        ds.nothing  # noqa: B018
    with pytest.raises(ImportError):
        from downslope import nothing  # noqa: F401


@pytest.mark.parametrize("method", ["predict", "predict_proba", "evaluate", "load", "params", "classes"])
def test_methods_of_a_run_are_explained(method):
    assert inspect.getdoc(getattr(ds.Run, method))


def test_the_errors_are_a_tree():
    assert issubclass(ds.OptionError, ds.InputError)
    assert issubclass(ds.DataError, ds.InputError)
    assert issubclass(ds.RunFolderError, ds.InputError)
    assert issubclass(ds.InputError, (ds.DownslopeError, ValueError))
    assert issubclass(ds.NonFiniteError, ds.TrainingError)
    assert (ds.InputError.exit_code, ds.TrainingError.exit_code) == (2, 1)
    assert not issubclass(ds.TrainingError, ds.InputError)


def test_importing_costs_nothing(python):
    printed = python(
        "import json, sys, downslope; "
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules])); "
        "downslope.__all__; dir(downslope); downslope.OptionError; "
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules])); "
        "downslope.adam; print('jax' in sys.modules)"
    )
    first, second, needed = printed.splitlines()
    assert json.loads(first) == json.loads(second) == []
    assert needed == "True"


def test_help_is_quick_and_imports_nothing_heavy(environment):
    """Processor time, the best of twelve: the machine may be busy, the command may not."""
    program = "import sys; from downslope.cli import main; sys.argv = ['downslope', '--help']; main()"
    best = float("inf")
    for _ in range(12):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert b"train" in done.stdout
    assert best < 0.4
    watched = (
        "import sys, json, atexit; "
        f"heavy = lambda: [name for name in {HEAVY} if name in sys.modules]; "
        "atexit.register(lambda: print(json.dumps(heavy()), file=sys.stderr)); "
    )
    for words in ("--help", "train --help", "--version"):
        code = watched + program.replace("'--help'", ", ".join(repr(word) for word in words.split()))
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        assert json.loads(done.stderr) == [], words
