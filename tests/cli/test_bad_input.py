"""Everything that can be wrong with what a user types, and what is said about it.

Each case is one line on standard error that begins with "error: ", exit code 2, nothing compiled and
nothing written or changed.
"""

import json
import re
import resource
import shutil
import typing

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GOOD = "width,height,kind,price\n" + "".join(
    f"{i % 7}.5,{i % 5},{'dear' if i % 3 else 'cheap'},{10 + i}.25\n" for i in range(30)
)


def lines(change):
    """Return GOOD with its lines changed."""
    rows = GOOD.splitlines()
    change(rows)
    return "\n".join(rows) + "\n"


def column(name, cells):
    """Return GOOD with some cells of a column replaced: {row: text}, rows counted from 1."""

    def change(rows):
        place = rows[0].split(",").index(name)
        for row, text in cells.items():
            parts = rows[row].split(",")
            parts[place] = text
            rows[row] = ",".join(parts)

    return lines(change)


TEXTS = {
    "good.csv": GOOD,
    "ragged.csv": lines(lambda rows: rows.__setitem__(7, rows[7] + ",extra")),
    "empty.csv": "",
    "blank.csv": "\n\n   \n",
    "header.csv": "width,height,kind,price\n",
    "one-class.csv": column("kind", dict.fromkeys(range(1, 31), "dear")),
    "holes.csv": column("kind", {4: "", 9: "NA", 30: "?"}),
    "infinite.csv": column("price", {5: "inf", 6: "-inf"}),
    "nan.csv": column("price", {12: "NaN"}),
    "words.csv": column("price", {3: "expensive"}),
    "huge.csv": column("price", {5: "1e200"}),
    "money.csv": column("price", {row: f"{'$€'[row % 2]}{row}.5" for row in range(1, 31)}),
    "constant.csv": column("price", dict.fromkeys(range(1, 31), "4.5")),
    "two-rows.csv": "\n".join(GOOD.splitlines()[:3]) + "\n",
    "one-row.csv": "\n".join(GOOD.splitlines()[:2]) + "\n",
    "double.csv": GOOD.replace("height", "width", 1),
    "names.csv": "".join(f"person {i},{i}.5\n" for i in range(30)).join(["name,age\n", ""]),
    "lacking.csv": "\n".join(",".join(row.split(",")[1:]) for row in GOOD.splitlines()) + "\n",
    "no-target.csv": "\n".join(",".join(row.split(",")[:2]) for row in GOOD.splitlines()) + "\n",
    "other-class.csv": column("kind", {2: "free"}),
    "quote.csv": column("kind", {4: '"dear'}),
    "numbers.csv": "\n".join(GOOD.replace("cheap", "1").replace("dear", "0").splitlines()[1:]) + "\n",
    "page.html": "<html></html>",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that are wrong in one way each, a run, and a run of numbers."""
    folder = tmp_path_factory.mktemp("bad")
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 40)
    (folder / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(200)))
    (folder / "latin.csv").write_bytes("größe,kind\n1,a\n".encode("latin-1"))
    (folder / "fake.parquet").write_text(GOOD)
    (folder / "fake.csv.gz").write_text(GOOD)
    pq.write_table(pa.table({"width": [1.0], "nested": [[1, 2]]}), folder / "nested.parquet")
    (folder / "theirs").mkdir()
    (folder / "theirs" / "thesis.tex").write_text("years of work")
    (folder / "file").write_text("x")
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    import downslope as ds

    small = {"epochs": 1, "hidden": (4,), "quiet": True}
    ds.train(folder / "good.csv", target="kind", drop=("price",), out=folder / "kinds", **small)
    ds.train(folder / "good.csv", target="price", drop=("kind",), out=folder / "prices", **small)
    ds.Run.load(folder / "kinds")  # makes a key, which JAX compiles once per process
    return folder


@pytest.fixture
def refuse(command, files, monkeypatch, compiled):
    """`refuse(folder, words…)` runs a command that must be refused, and returns what is said."""

    def run(where, *words):
        monkeypatch.chdir(where)
        before = files(where), sorted(where.rglob("*"))
        answer = command(*words)
        assert answer.code == 2, answer
        assert answer.out == ""
        assert "Traceback" not in answer.err
        assert compiled == []
        assert (files(where), sorted(where.rglob("*"))) == before
        return answer.error

    return run


TRAIN = {
    "missing file": ("gud.csv --target kind", r"gud\.csv: there is no such file.*Did you mean 'good\.csv'"),
    "missing folder": ("nowhere/good.csv --target kind", r"no such file, nor the folder nowhere"),
    "misspelt bundled": ("digit", r"Did you mean 'digits'"),
    "a folder": ("theirs --target kind", r"theirs: is a folder"),
    "another kind of file": ("page.html --target kind", r"page\.html: cannot read files ending in '\.html'"),
    "binary": ("binary.csv --target kind", r"binary\.csv: "),
    "a picture": ("picture.csv --target kind", r"picture\.csv: "),
    "latin-1": ("latin.csv --target kind", r"latin\.csv: .*UTF-8"),
    "not Parquet": ("fake.parquet --target kind", r"fake\.parquet: "),
    "not gzip": ("fake.csv.gz --target kind", r"fake\.csv\.gz: "),
    "nested Parquet": ("nested.parquet --target width", r"nested"),
    "ragged rows": ("ragged.csv --target kind", r"ragged\.csv: line 8 has 5 columns, expected 4"),
    "open quote": ("quote.csv --target kind", r"quote\.csv: .*quote.*line 5"),
    "empty": ("empty.csv --target kind", r"empty\.csv: .*empty"),
    "blank": ("blank.csv --target kind", r"blank\.csv: .*empty"),
    "header alone": ("header.csv --target kind", r"header\.csv: .*no rows"),
    "duplicate names": ("double.csv --target kind", r"duplicate column name 'width' \(columns 1, 2\)"),
    "wrong target": ("good.csv --target kinf", r"good\.csv: no column 'kinf'\. Did you mean 'kind'"),
    "no target": ("good.csv", r"which column is to be predicted\? Pass --target with one of 'width'"),
    "no header": ("numbers.csv --target kind", r"no column 'kind'.*--no-header"),
    "one class": ("one-class.csv --target kind", r"target 'kind' has one class only, 'dear'"),
    "missing target": (
        "holes.csv --target kind",
        r"target 'kind' is missing in 3 rows \(first: row 4\)",
    ),
    "NaN target": ("nan.csv --target price", r"target 'price' is missing in 1 row \(first: row 12\)"),
    "infinite target": (
        "infinite.csv --target price",
        r"target 'price' is not finite in 2 rows \(first: row 5\)",
    ),
    "text to regress on": ("words.csv --target price --task regression", r"'price' holds text.*'expensive'"),
    "constant target": ("constant.csv --target price", r"target 'price' is 4\.5 in every row"),
    "a class per row": ("names.csv --target name", r"'name' has 30 distinct values in 30 rows"),
    "huge target": ("huge.csv --target price", r"'price' holds numbers as large as 1e\+200"),
    "money as target": ("money.csv --target price", r"if '€1\.5' is meant as a number, write it plainly"),
    "huge seed": ("good.csv --target kind --seed 4294967296", r"--seed must be below 2\*\*32"),
    "two rows": ("two-rows.csv --target price", r"2 rows are too few to split"),
    "one row": ("one-row.csv --target price", r"target 'price' is .* in every row|1 row is too few"),
    "fractions": ("good.csv --target kind --test-fraction 0.6 --validation-fraction 0.5", r"leave no row"),
    "nothing to learn from": (
        "good.csv --target kind --drop width --drop height --drop price",
        r"no column is left|is the only column",
    ),
    "unknown drop": ("good.csv --target kind --drop hight", r"no column 'hight'\. Did you mean 'height'"),
    "drop the target": ("good.csv --target kind --drop kind", r"'?kind'?.*is the column to predict"),
    "test of other columns": ("good.csv --target kind --test lacking.csv", r"lacks the column 'width'"),
    "test of other classes": ("good.csv --target kind --test other-class.csv", r"'free' in row 2"),
    "test that is missing": ("good.csv --target kind --test nowhere.csv", r"nowhere\.csv: there is no such"),
    "test twice": ("good.csv --target kind --test good.csv --test-fraction 0.3", r"exclude each other"),
    "delimiter": (
        "good.csv --target kind --delimiter ab",
        r"--delimiter .ab. is not one punctuation character",
    ),
    "wrong delimiter": ("good.csv --target kind --delimiter ;", r"good\.csv: no column 'kind'"),
    "delimiter of Parquet": ("nested.parquet --target width --delimiter ;", r"--delimiter is for text files"),
    "out is a file": ("good.csv --target kind --out file", r"file: is a file, not a folder"),
    "out is theirs": ("good.csv --target kind --out theirs", r"theirs: holds files that are not a run's"),
    "out is theirs, overwritten": (
        "good.csv --target kind --out theirs --overwrite",
        r"theirs: holds files that are not a run's",
    ),
    "out cannot be written": (
        "good.csv --target kind --out file/run",
        r"file/run: cannot be written \(.*\); choose another --out",
    ),
    "unknown optimizer": (
        "good.csv --target kind --optimizer adm",
        r"--optimizer.*'adm'.*Did you mean 'adam'",
    ),
    "unknown loss": ("good.csv --target kind --loss hubber", r"--loss.*'hubber'.*Did you mean 'huber'"),
    "loss of the other task": ("good.csv --target kind --loss huber", r"huber is for regression"),
    "two classes wanted": ("iris --loss binary-cross-entropy", r"for two classes, but the target has 3"),
    "unknown activation": (
        "good.csv --target kind --activation rely",
        r"--activation.*'rely'.*Did you mean 'relu'",
    ),
    "unknown schedule": ("good.csv --target kind --schedule cosin", r"--schedule.*Did you mean 'cosine'"),
    "unknown model": ("good.csv --target kind --model mpl", r"--model.*'mpl'.*Did you mean 'mlp'"),
    "unknown task": (
        "good.csv --target kind --task clasification",
        r"--task.*'clasification'.*Did you mean 'classification'",
    ),
    "hidden junk": ("good.csv --target kind --hidden 12,many", r"--hidden must be widths.*'12,many'"),
    "hidden points": ("good.csv --target kind --hidden 1.5", r"--hidden must be widths"),
    "hidden zero": ("good.csv --target kind --hidden 8,0", r"--hidden must be a whole number of at least 1"),
    "hidden below zero": ("good.csv --target kind --hidden=-8", r"--hidden must be a whole number of at"),
    "hidden of a line": ("good.csv --target kind --model linear --hidden 8", r"linear has no hidden layers"),
    "resume with options": ("--resume kinds --epochs 3 --drop x", r"leave out --epochs, --drop"),
    "resume nothing": ("--resume nowhere", r"nowhere: no such run folder"),
    "resume theirs": ("--resume theirs", r"theirs: not a run folder"),
    "unknown option": ("good.csv --target kind --epoch 3", r"[Nn]o such option: --epoch.*--epochs"),
    "two data files": (
        "good.csv good.csv --target kind",
        r"unexpected extra argument.*name the column to predict with --target",
    ),
    "an option without its value": ("good.csv --target", r"--target.*requires an argument"),
}


@pytest.mark.parametrize("case", TRAIN)
def test_train(folder, refuse, case):
    words, said = TRAIN[case]
    message = refuse(folder, "train", *words.split())
    assert re.search(said, message), message


# option → values that are out of range; every one is also given a word instead of a number
NUMBERS = {
    "--test-fraction": ("1", "-0.1", "nan", "inf"),
    "--validation-fraction": ("1", "1.5", "-1"),
    "--dropout": ("1", "-0.5", "nan"),
    "--ramps": ("-1", "2.5"),
    "--learning-rate": ("0", "-1", "nan", "inf", "1e39"),
    "--weight-decay": ("-0.1", "inf", "nan"),
    "--batch-size": ("0", "-5", "1.5"),
    "--epochs": ("0", "-1", "2.5"),
    "--max-seconds": ("0", "-3", "nan"),
    "--seed": ("-1", "1.5", str(2**64)),
    "--checkpoint-every": ("-1", "nan"),
}


@pytest.mark.parametrize(
    ("option", "value"),
    [(option, value) for option, values in NUMBERS.items() for value in (*values, "many", "")],
)
def test_numbers(folder, refuse, option, value):
    message = refuse(folder, "train", "good.csv", "--target", "kind", f"{option}={value}")
    assert option in message


def test_every_numeric_option_is_in_the_table():
    """Those of the main job; options that are added later have tables of their own."""
    from downslope.cli.train import train

    hints = typing.get_type_hints(train).items()
    numeric = {
        "--" + name.replace("_", "-")
        for name, hint in hints
        if {int, float} & {hint, *typing.get_args(hint)} and name != "return"
    }
    elsewhere = {"--group-norm", "--accumulate", "--clip-norm", "--ema"}
    or_a_word = {"--batch-size", "--learning-rate", "--weight-decay", "--epochs"}  # full, or auto
    assert numeric - elsewhere == set(NUMBERS) - or_a_word


# ---- a run that exists


def test_an_existing_run_is_left_alone(trained, refuse):
    message = refuse(trained, "train", "good.csv", "--target", "kind", "--out", "kinds")
    assert message.startswith("kinds: holds a run already; add --overwrite to replace it, --resume kinds")


def test_a_bad_option_does_not_cost_the_old_run(trained, refuse):
    words = ["train", "good.csv", "--target", "kind", "--out", "kinds", "--overwrite"]
    assert "--epochs" in refuse(trained, *words, "--epochs", "0")
    assert "no column" in refuse(trained, *words, "--drop", "nothing")


PREDICT = {
    "no data": ("predict kinds", r"[Mm]issing argument 'DATA'"),
    "no run": ("predict", r"[Mm]issing argument 'RUN'"),
    "missing run": ("predict nowhere good.csv", r"nowhere: no such run folder"),
    "not a run": ("predict theirs good.csv", r"theirs: not a run folder"),
    "a file as run": ("predict file good.csv", r"file"),
    "missing data": ("predict kinds gud.csv", r"gud\.csv: there is no such file.*Did you mean 'good\.csv'"),
    "lacking column": ("predict kinds lacking.csv", r"lacking\.csv: lacks the column 'width'"),
    "ragged": ("predict kinds ragged.csv", r"ragged\.csv: line 8 has 5 columns"),
    "empty": ("predict kinds empty.csv", r"empty\.csv: .*empty"),
    "proba of numbers": ("predict prices good.csv --proba", r"--proba is for classification"),
    "no such folder": (
        "predict kinds good.csv --out none/p.csv",
        r"--out none/p\.csv: there is no folder none",
    ),
    "out is a folder": ("predict kinds good.csv --out theirs", r"--out theirs: is a folder"),
    "out is the data": ("predict kinds good.csv --out good.csv", r"--out good\.csv: is DATA itself"),
    "out is the run's": (
        "predict kinds good.csv --out kinds/config.json",
        r"--out kinds/config\.json: is a file of kinds",
    ),
    "out below a file": ("predict kinds good.csv --out file/p.csv", r"--out file/p\.csv"),
    "evaluate without target": ("evaluate kinds no-target.csv", r"no column 'kind'"),
    "evaluate unseen class": ("evaluate kinds other-class.csv", r"'kind' is 'free' in row 2"),
    "evaluate missing target": ("evaluate kinds holes.csv", r"'kind' is missing in 3 rows \(first: row 4\)"),
    "evaluate no data": ("evaluate kinds", r"[Mm]issing argument 'DATA'"),
    "report of nothing": ("report nowhere", r"nowhere"),
    "report of theirs": ("report theirs", r"theirs"),
    "unknown command": ("trian good.csv", r"[Nn]o such command 'trian'"),
    "unknown option": ("predict kinds good.csv --probs", r"[Nn]o such option: --probs"),
}


@pytest.mark.parametrize("case", PREDICT)
def test_predict_and_the_others(trained, refuse, case):
    words, said = PREDICT[case]
    message = refuse(trained, *words.split())
    assert re.search(said, message), message


@pytest.fixture
def compared(trained, tmp_path):
    """A comparison's folder, which has a config.json like a run's."""
    (tmp_path / "both").mkdir()
    shutil.copy(trained / "kinds" / "config.json", tmp_path / "both")
    for name in ("results.json", "comparison.html"):
        (tmp_path / "both" / name).write_text("{}")
    for name in ("kinds", "good.csv"):
        (tmp_path / name).symlink_to(trained / name)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        *("report both", "predict both good.csv", "evaluate both good.csv", "landscape both"),
        *("landscape kinds both", "sharpness both", "train --resume both"),
    ],
)
def test_a_comparison_is_no_run(compared, refuse, words):
    assert refuse(compared, *words.split()) == (
        "both: a comparison, not a run; its page is both/comparison.html"
    )


def test_a_comparison_is_not_replaced_by_a_run(compared, refuse):
    message = refuse(compared, "train", "good.csv", "--target", "kind", "--out", "both", "--overwrite")
    assert "not a run's; choose another --out" in message


# ---- damage


@pytest.fixture
def damaged(trained, tmp_path):
    shutil.copytree(trained / "kinds", tmp_path / "run")
    shutil.copy(trained / "good.csv", tmp_path / "good.csv")
    return tmp_path


def spoil(path, damage):
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "truncated": content[: len(content) // 2],
                "garbage": b"\x00\xff garbage" * 50,
                "list": b"[]",
                "object": b"{}",
            }[damage]
        )


READ_BY = {
    "config.json": ["predict run good.csv", "evaluate run good.csv", "report run", "train --resume run"],
    "model.json": ["predict run good.csv"],
    "encoding.json": ["predict run good.csv"],
    "model.safetensors": ["predict run good.csv", "evaluate run good.csv"],
    "summary.json": ["report run"],
    "history.parquet": ["report run"],
}


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "garbage", "list", "object"])
@pytest.mark.parametrize("name", READ_BY)
def test_a_damaged_run_folder(damaged, refuse, name, damage):
    spoil(damaged / "run" / name, damage)
    for words in READ_BY[name]:
        if (name, damage) == ("config.json", "object") and not words.startswith("train"):
            continue  # an object without options says no less about how to predict
        message = refuse(damaged, *words.split())
        assert "run" in message
        assert re.search(rf"damaged|missing|not a run|{re.escape(name)}", message), message


def test_an_unfinished_run_says_how_to_go_on(damaged, refuse):
    for name in ("summary.json", "model.json", "model.safetensors"):
        (damaged / "run" / name).unlink()
    message = refuse(damaged, "predict", "run", "good.csv")
    assert "the run is not finished" in message
    assert "--resume run" in message


OPTIONS = {
    "seed": "zero",
    "epochs": -1,
    "optimizer": "adamw",
    "hidden": "wide",
    "header": None,
    "drop": 3,
    "batch_size": [1],
    "data_path": 7,
    "learning_rate": None,
    "validation_fraction": "a tenth",
    "target": ["kind"],
    "test": {"a": 1},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_resume_with_a_config_that_was_tampered_with(damaged, command, option, monkeypatch):
    """Whatever stands there, the answer is one line or a run; never a traceback."""
    path = damaged / "run" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, option: OPTIONS[option]}))
    monkeypatch.chdir(damaged)
    answer = command("train", "--resume", "run", "--quiet")
    assert answer.code in (0, 2)
    if answer.code:
        assert answer.error


def test_resume_when_the_data_is_gone_or_changed(trained, damaged, refuse):
    path = damaged / "run" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "data_path": str(damaged / "gone.csv")}))
    assert "gone.csv; say where: downslope train --resume run DATA" in refuse(
        damaged, "train", "--resume", "run"
    )
    changed = damaged / "good.csv"
    changed.write_text(changed.read_text().replace("dear", "teuer"))
    path.write_text(json.dumps({**config, "data_path": str(changed)}))
    assert "has changed since the run began" in refuse(damaged, "train", "--resume", "run")


def test_a_refusal_is_quick_and_one_line_in_a_process_of_its_own(trained, start):
    """The same through the real command, where nothing is caught by a test's own machinery."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = start("train", "ragged.csv", "--target", "kind", cwd=trained)
    out, err = process.communicate(timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.returncode == 2
    assert out == ""
    assert re.fullmatch(r"error: ragged\.csv: line 8 has 5 columns.*\n", err)
    # Its own seconds, and not those of whatever else the machine is doing.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5
