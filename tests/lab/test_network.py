"""The network page: the small learner is a function of its settings and the step; files are checked."""

import base64
import dataclasses

import numpy as np
import pytest

from downslope.errors import DataError
from downslope.lab import look, network
from downslope.lab.learner import Learner, Learners, Task
from downslope.lab.network_figures import axes, boundary_figure, loss_figure, weights_figure
from downslope.lab.shapes import MOST_POINTS, SHAPES, Uploads, class_columns, number_columns, shape

TASK = Task(shape("moons", 0.1, 0), (8,), "tanh", False, "adam", 0.05, 0.0, 16, 0)


def same(a, b):
    return all(
        np.array_equal(x, y) for one, other in zip(a, b, strict=True) for x, y in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_balanced_mixed_and_repeated_by_their_seed(name):
    points, again, other = shape(name, 0.1, 0), shape(name, 0.1, 0), shape(name, 0.1, 1)
    assert again is points
    assert not np.array_equal(points.inputs, other.inputs)
    counts = np.bincount(points.codes, minlength=len(points.classes))
    assert counts.min() > 0.35 * counts.max()
    assert np.bincount(points.codes[points.held_out]).min() > 15
    assert points.held_out.mean() == pytest.approx(1 / 3, abs=0.01)


def test_a_learner_stands_where_its_step_says_however_it_got_there():
    at_once, in_parts = Learner(TASK), Learner(TASK)
    at_once.advance(60)
    for step in (1, 2, 13, 14, 40, 60):
        in_parts.advance(step)
    assert same(at_once.layers(), in_parts.layers())
    assert at_once.losses == in_parts.losses
    assert len(at_once.losses) == 60
    assert at_once.history == in_parts.history


def test_going_back_is_starting_again():
    learners = Learners()
    before = learners.look(TASK, 20, lambda learner: learner.layers())
    learners.look(TASK, 50, lambda learner: learner.layers())
    again = learners.look(TASK, 20, lambda learner: learner.layers())
    assert same(before, again)


def test_it_learns_and_the_numbers_are_right():
    learner = Learner(TASK)
    began = learner.now
    learner.advance(400)
    now, points = learner.now, TASK.points
    assert now.train_loss < 0.2 * began.train_loss
    assert now.accuracy > 0.93
    says = learner.probabilities(points.inputs)
    np.testing.assert_allclose(says.sum(axis=1), 1, rtol=1e-5)
    held_out = points.held_out
    assert (says.argmax(axis=1) == points.codes)[held_out].mean() == pytest.approx(now.accuracy)
    of_truth = says[np.arange(len(says)), points.codes]
    assert -np.log(of_truth[held_out]).mean() == pytest.approx(now.held_out_loss, rel=1e-3)


def test_the_layers_are_the_network():
    task = dataclasses.replace(TASK, hidden=(4, 3))
    learner = Learner(task)
    learner.advance(5)
    inputs = task.points.inputs
    learnt = inputs[~task.points.held_out]
    x = (inputs - learnt.mean(axis=0)) / learnt.std(axis=0)
    *hidden, (weights, bias) = learner.layers()
    for kernel, shift in hidden:
        x = np.tanh(x @ kernel + shift)
    logit = (x @ weights + bias)[:, 0]
    np.testing.assert_allclose(learner.probabilities(inputs)[:, 1], 1 / (1 + np.exp(-logit)), rtol=1e-4)


def test_the_penalty_keeps_weights_small():
    def size(penalty):
        learner = Learner(dataclasses.replace(TASK, penalty=penalty, rule="sgd", learning_rate=0.1))
        learner.advance(200)
        return sum(float((kernel**2).sum()) for kernel, _ in learner.layers())

    assert size(0.1) < 0.5 * size(0.0)


def test_a_penalty_on_plain_descent_shrinks_by_its_rate():
    """At λ so large that the data do not matter, a step multiplies every weight by 1 − rate · λ."""
    learner = Learner(dataclasses.replace(TASK, penalty=1e6, rule="gradient-descent", learning_rate=1e-7))
    before = learner.layers()
    learner.advance(1)
    for (old, _), (new, _) in zip(before, learner.layers(), strict=True):
        np.testing.assert_allclose(new, 0.9 * old, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        {"batch_norm": True},
        {"hidden": ()},
        {"hidden": (32, 32), "activation": "relu", "rule": "schedule-free-adamw"},
        {"batch_size": 1},
        {"batch_size": 2000},
        {"points": shape("blobs", 0.1, 0)},
    ],
)
def test_every_kind_of_network_is_learned_and_drawn(changed):
    learner = Learner(dataclasses.replace(TASK, **changed))
    learner.advance(30)
    assert learner.step == 30
    assert learner.failed_at is None
    assert learner.now.train_loss < learner.history[0].train_loss
    for draw in (boundary_figure, loss_figure, weights_figure):
        assert draw(learner)["data"]


def test_a_rate_that_is_too_large_is_found_out(words):
    given = {
        **network.DEFAULTS,
        "rate": "100",
        "rule": "gradient-descent",
        "penalty": "10",
        "step": "300",
    }
    *_, said, _, shown, _, _ = network.answer(given, Learners(), Uploads())
    assert "The loss stopped being a number" in words(said)
    assert "Try 10" in words(said)
    assert shown["last"] == shown["step"] == 300


def test_the_ground_is_what_the_network_says():
    learner = Learner(TASK)
    learner.advance(50)
    ground = boundary_figure(learner)["data"][0]
    x, y = axes(TASK.points)
    says = learner.probabilities(np.array([[x[3], y[8]], [x[60], y[20]]]))[:, 1]
    assert ground["z"][8, 3] == pytest.approx(says[0], rel=1e-5)
    assert ground["z"][20, 60] == pytest.approx(says[1], rel=1e-5)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"rate": "0"}, "The learning rate must be a number from 1e-06 to 100; got ‘0’"),
        ({"rate": "x"}, "The learning rate must"),
        ({"hidden": "8, 8, 8, 8, 8"}, "at most 4 layers, each of 1 to 32 units"),
        ({"hidden": "100"}, "at most 4 layers"),
        ({"hidden": "0"}, "at most 4 layers"),
        ({"hidden": "8; 8"}, "got ‘8; 8’"),
        ({"batch": "0"}, "The batch size must be a whole number from 1 to 2,000"),
        ({"noise": "0.6"}, "The noise must be a number from 0 to 0.5"),
        ({"penalty": "-1"}, "The penalty must be"),
        ({"step": "6000"}, "The step must be a whole number from 0 to 5,000"),
        ({"pace": "0"}, "Steps per picture must be"),
        ({"seed": "-1"}, "The seed must be"),
        ({"data": "cubes"}, "The points must be one of moons"),
        ({"activation": "rely"}, "The activation must be one of"),
        ({"rule": "<b>"}, "The rule must be one of"),
        ({"data": "csv"}, "Choose a CSV file of your own first"),
    ],
)
def test_what_makes_no_sense_is_said(changed, says, words):
    answer = network.answer({**network.DEFAULTS, **changed}, Learners(), Uploads())
    assert says in words(answer[3])
    assert type(answer[0]).__name__ == "NoUpdate"


def sent(text):
    return "data:text/csv;base64," + base64.b64encode(text.encode()).decode()


def table(rows, names="width,height,kind"):
    return sent(names + "\n" + "\n".join(rows))


def test_an_unknown_word_of_an_address_stays_to_be_named():
    unknown = "<b>" + 100 * "x"
    (menu,) = (
        part
        for part in network.layout(f"?data={unknown}", Uploads())._traverse()
        if getattr(part, "id", None) == look.control_id("network", "data")
    )
    assert menu.value == unknown
    assert menu.options[-1] == {"value": unknown, "label": unknown[:39] + "…"}


def test_two_columns_of_a_csv_are_learned(words):
    random = np.random.default_rng(0)
    rows = [
        f"{x:.3f},{y:.3f},{'up' if x + y > 0 else 'down'}" for x, y in random.normal(50, 20, (200, 2)) - 50
    ]
    uploads = Uploads()
    key = uploads.add("houses.csv", table([*rows, ",1,up", "inf,2,down"]))
    given = {**network.DEFAULTS, "data": "csv", "upload": key, "x": "width", "y": "height", "label": "kind"}
    boundary, *_, said, _, shown, own_hidden, noise_hidden = network.answer(
        {**given, "step": "200"}, Learners(), uploads
    )
    assert "2 rows with gaps were left out" in words(said)
    assert (own_hidden, noise_hidden) == (False, True)
    assert shown["step"] == 200
    points = uploads.points(key, "width", "height", "kind")
    assert points.classes == ("down", "up")
    assert len(points.codes) == 200
    learner = Learner(network.read_task(given, uploads)[0])
    learner.advance(200)
    assert learner.now.accuracy > 0.9
    assert boundary["layout"]["xaxis"]["title"]["text"] == "width"


def test_a_large_file_is_thinned_out():
    random = np.random.default_rng(0)
    uploads = Uploads()
    key = uploads.add("a.csv", table([f"{x:.4f},{y:.4f},{x > 0}" for x, y in random.normal(size=(3000, 2))]))
    points = uploads.points(key, "width", "height", "kind")
    assert len(points.codes) == MOST_POINTS
    assert "2,000 of 3,000 rows are used" in points.note


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        ("data:text/csv;base64,!!!", "did not arrive whole"),
        (sent(""), "mine.csv"),
        (sent("a,b\n1,2\n1\n"), "mine.csv"),
        (sent("a,a\n1,2\n"), "duplicate column name 'a'"),
    ],
)
def test_files_that_cannot_be_read_are_refused_by_their_own_name(contents, says):
    with pytest.raises(DataError, match=says) as caught:
        Uploads().add("../../mine.csv", contents)
    assert "/tmp" not in str(caught.value)


def test_columns_that_do_not_fit_are_refused():
    uploads = Uploads()
    key = uploads.add("a.csv", table([f"{n},{n * n},{'ab'[n % 2]}" for n in range(40)]))
    assert number_columns(uploads.get(key)) == ["width", "height"]
    assert class_columns(uploads.get(key)) == ["kind"]
    for x, y, label, says in [
        ("width", "kind", "kind", "is not numbers"),
        ("width", "width", "kind", "three different columns"),
        ("width", "height", "width", "three different columns"),
        ("width", "gone", "kind", "no column 'gone'"),
    ]:
        with pytest.raises(DataError, match=says):
            uploads.points(key, x, y, label)
    few = uploads.add("b.csv", table([f"{n},{n},{'ab'[n % 2]}" for n in range(10)]))
    with pytest.raises(DataError, match="20 are needed"):
        uploads.points(few, "width", "height", "kind")


def test_hostile_names_are_text_in_the_pictures():
    name = "<img src=x onerror=alert(1)>"
    rows = [f"{n},{n % 7},{'<b>a</b>' if n % 2 else '%{x}<a>'}" for n in range(60)]
    uploads = Uploads()
    key = uploads.add("a.csv", table(rows, f"{name},b,<i>kind</i>"))
    given = {**network.DEFAULTS, "data": "csv", "upload": key, "x": name, "y": "b", "label": "<i>kind</i>"}
    learner = Learner(network.read_task(given, uploads)[0])
    for draw in (boundary_figure, weights_figure):
        figure = draw(learner)
        shown = [trace.get("name", "") + str(trace.get("text", "")) for trace in figure["data"]]
        shown += [figure["layout"]["xaxis"].get("title", {}).get("text", "")]
        shown += [trace.get("hovertemplate", "").replace("<extra></extra>", "") for trace in figure["data"]]
        assert not [text for text in shown if "<" in text]


def test_one_row_is_not_rows():
    uploads = Uploads()
    one_gap = uploads.add("a.csv", table([*(f"{n},{n * n},{'ab'[n % 2]}" for n in range(40)), ",1,a"]))
    assert uploads.points(one_gap, "width", "height", "kind").note == "1 row with gaps was left out."
    one_whole = uploads.add("b.csv", table(["1,1,a", ",1,b"]))
    with pytest.raises(DataError, match="has 1 row with both"):
        uploads.points(one_whole, "width", "height", "kind")


def test_the_oldest_uploads_are_forgotten():
    uploads = Uploads()
    keys = [uploads.add("a.csv", table([f"{n},{m},a" for n in range(3)])) for m in range(10)]
    uploads.get(keys[-1])
    with pytest.raises(DataError, match="forgets them"):
        uploads.get(keys[0])
