"""What the gradient's options refuse: one `error:` line, exit code 2, nothing written."""

from types import SimpleNamespace

import pytest

OLD = SimpleNamespace(platform="gpu", device_kind="Tesla V100", id=0, compute_capability="7.0")
FOUR = [SimpleNamespace(platform="cpu", device_kind="cpu", id=place) for place in range(4)]
TPU = SimpleNamespace(platform="tpu", device_kind="TPU v5e", id=0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--optimizer adma", "--optimizer: unknown 'adma'. Did you mean 'adamax' or 'adam' or 'radam'?"),
        ("--optimizer schedulefree-sgd", "Did you mean 'schedule-free-sgd'"),
        ("--optimizer zzz", "Choose one of gradient-descent, sgd, momentum"),
        ("--precision float61", "--precision: unknown 'float61'. Did you mean 'float16'"),
        ("--precision int8", "Choose one of float32, bfloat16, float16"),
        ("--class-weight setosa=2,versicolour=1", "'versicolour' is not a class. Did you mean 'versicolor'?"),
        ("--class-weight setosa=-1", "--class-weight setosa=-1.0: must be a number of at least 0"),
        ("--class-weight setosa=nan", "--class-weight setosa=nan: must be a number of at least 0"),
        ("--class-weight setosa=0,versicolor=0,virginica=0", "0 for every class; at least one must count"),
        ("--class-weight fair", "must be 'balanced' or label=weight,…, got 'fair'"),
        ("--class-weight setosa=much", "must be 'balanced' or label=weight,…, got 'setosa=much'"),
        ("--devices 1000", "--devices 1000: this machine has"),
        ("--devices 0", "--devices must be a whole number of at least 1 or 'all', got 0"),
        ("--devices many", "--devices must be a whole number or 'all', got 'many'"),
        ("--shard parameters", "--shard parameters spreads weights over several devices; add --devices all"),
        ("--shard rows --devices all", "--shard: unknown 'rows'"),
        ("--accumulate 0", "--accumulate must be a whole number of at least 1, got 0"),
        ("--clip-norm 0", "--clip-norm must be a number above 0, got 0.0"),
        ("--clip-norm nan", "--clip-norm must be a number above 0, got nan"),
        ("--ema 1", "--ema must be a number at least 0 and below 1, got 1.0"),
        ("--optimizer schedule-free-sgd --ema 0.9", "averages its weights already"),
        (
            "--optimizer sgd --weight-decay -1",
            "--weight-decay must be a number at least 0, or 'auto', got -1.0",
        ),
        ("--weight-decay much", "--weight-decay must be a number or 'auto', got 'much'"),
        ("--optimizer sgd --weight-decay auto", "--weight-decay auto goes with adamw, nadamw, lion, muon"),
        ("--loss quantil", "--loss: unknown loss 'quantil'. Did you mean 'quantile'"),
        ("--loss quantile:0.9", "is for regression, but this is classification"),
        ("--loss focal:-1", "focus must be at least 0"),
        ("--loss hinge:2", "hinge takes no number"),
        ("--loss label-smoothing:x", "'x' is not a number"),
        ("--sample-weight nothing", "nothing"),
        ("--sample-weight target", "it cannot be dropped or be the weight"),
        ("--schedule cosin", "--schedule: unknown 'cosin'. Did you mean 'cosine'"),
        (
            "--batch-norm --batch-size 1",
            "--batch-norm: a batch of 1 leaves single rows, which have no variance",
        ),
        (
            "--batch-norm --batch-size 63 --accumulate 32",
            "a batch of 63 in 32 parts leaves single rows, which have no variance; take at least 64 rows",
        ),
        ("--group-norm 3 --hidden 8", "--group-norm 3 does not divide the hidden width 8"),
        ("--group-norm -1", "--group-norm must be a whole number of at least 0, got -1"),
    ],
)
def test_refused(command, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    answer = command("train", "iris", *words.split())
    assert answer.code == 2
    assert said in answer.error
    assert not answer.out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("devices", "words", "said"),
    [
        (FOUR, "--devices all --batch-size 3", "--batch-size 3 is smaller than the number of devices, 4;"),
        (FOUR, "--devices 5", "--devices 5: this machine has 4 devices (cpu)"),
        (
            [OLD],
            "--precision bfloat16",
            "--precision bfloat16: Tesla V100 does not compute in it; use float32",
        ),
        ([TPU], "--precision float16", "--precision float16: TPU v5e does not compute in it; use float32 or"),
    ],
)
def test_what_this_machine_lacks_is_refused(command, tmp_path, monkeypatch, devices, words, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jax.devices", lambda: devices)
    answer = command("train", "iris", *words.split())
    assert answer.code == 2
    assert answer.error.startswith(said)
    assert not answer.out
    assert not list(tmp_path.iterdir())


def test_counts_below_zero_are_no_counts(command, csv, table):
    columns = table()
    columns["price"][7] = -1.0
    answer = command("train", csv("things.csv", columns), "--target", "price", "--loss", "poisson")
    assert answer.code == 2
    assert (
        "--loss poisson is for counts, but target 'price' is below 0 in 1 rows (first: row 8)" in answer.error
    )
