"""The network page: a small network that learns to tell points in the plane apart, step by step."""

from typing import Any

import dash
from dash import ClientsideFunction, Input, Output, State, dcc, html

from downslope.data.table import Table
from downslope.errors import DataError, OptionError
from downslope.lab import look, settings as typed
from downslope.lab.learner import MOST_STEPS, Learner, Learners, Task
from downslope.lab.network_figures import boundary_figure, loss_figure, weights_figure
from downslope.lab.shapes import (
    OWN,
    SHAPES,
    Points,
    Uploads,
    class_columns,
    number_columns,
    shape,
)
from downslope.models.layers import ACTIVATIONS
from downslope.report.formatting import number, percent
from downslope.rules.registry import RULES

PAGE = "network"
MOST_LAYERS, WIDEST = 4, 32
EXPLANATION = (
    "A network is a formula with many adjustable numbers, its weights. Here it learns to tell coloured "
    "points apart from their two coordinates. Each step takes a small batch of points, measures how wrong"
    " the network is about them (the loss), and moves every weight a little downhill. The ground shows "
    "what it would say at each place; the rings are points it never learns from, so they show whether it "
    "has understood or only memorised. Press Play."
)
DEFAULTS = {
    "data": "moons",
    "upload": "",
    "x": "",
    "y": "",
    "label": "",
    "noise": "0.15",
    "hidden": "8, 8",
    "activation": "tanh",
    "norm": "off",
    "rule": "adam",
    "rate": "0.02",
    "penalty": "0",
    "batch": "16",
    "seed": "0",
    "pace": "5",
    "step": "0",
}


def layout(search: str, uploads: Uploads) -> html.Div:
    """Return the page with the settings of an address."""
    given = typed.from_address(search, DEFAULTS)
    shapes = {name: title for name, (title, *_) in SHAPES.items()} | {OWN: "Two columns of your own CSV"}
    try:
        columns = _choices(uploads.get(given["upload"]))
    except DataError:
        columns = ([], [])
    controls = [
        look.choice(PAGE, "data", "Points", shapes, given["data"]),
        html.Div(
            [
                dcc.Upload(
                    html.Button("Choose a CSV file …", id="network-choose"),
                    id="network-upload",
                    accept=".csv,.tsv,.txt",
                    max_size=-1,
                    multiple=False,
                ),
                html.Div(id="network-file", className="count"),
                *(
                    look.choice(
                        PAGE,
                        name,
                        label,
                        {column: column for column in columns[name == "label"]},
                        given[name],
                    )
                    for name, label in (("x", "Across"), ("y", "Up"), ("label", "Class to tell apart"))
                ),
                dcc.Input(id=look.control_id(PAGE, "upload"), type="hidden", value=given["upload"]),
            ],
            id="network-own",
            className="controls",
            hidden=given["data"] != OWN,
        ),
        html.Div(
            look.dial(PAGE, "noise", "Noise in the data", given["noise"], 0, 0.5),
            id="network-noise",
            hidden=given["data"] == OWN,
        ),
        look.entry(PAGE, "hidden", "Hidden layers: width, width, …", given["hidden"]),
        html.Div(
            [
                look.choice(
                    PAGE,
                    "activation",
                    "Activation",
                    {name: name for name in ACTIVATIONS},
                    given["activation"],
                ),
                look.choice(PAGE, "norm", "Batch norm", {"off": "off", "on": "on"}, given["norm"]),
            ],
            className="pair",
        ),
        look.choice(PAGE, "rule", "Rule", {name: name for name in RULES}, given["rule"]),
        look.dial(PAGE, "rate", "Learning rate", given["rate"], -4, 1, log=True),
        look.dial(PAGE, "penalty", "Penalty on large weights", given["penalty"], 0, 0.1),
        html.Div(
            [
                look.entry(PAGE, "batch", "Batch size", given["batch"], inputMode="numeric"),
                look.entry(PAGE, "seed", "Seed", given["seed"], inputMode="numeric"),
            ],
            className="pair",
        ),
        html.Div(
            [
                look.entry(PAGE, "pace", "Steps per picture", given["pace"], inputMode="numeric"),
                look.entry(PAGE, "step", "Step", given["step"], inputMode="numeric"),
            ],
            className="pair",
        ),
        html.P(
            "A setting that is changed begins the training again and goes on to the same step.",
            className="small",
        ),
    ]
    content = [
        html.Div(id="network-messages", className="messages", role="status", **look.POLITE),
        html.Div(
            [
                html.Button("▶ Play", id="network-play", className="main"),
                html.Button("One step", id="network-once"),
                html.Button("Start again", id="network-restart"),
                html.Span("compiling, one moment …", id="network-count", className="count"),
            ],
            className="row",
        ),
        html.Div(
            [
                html.Div(
                    [
                        look.picture(
                            "boundary", "What the network says at each place, and the points", height=430
                        )
                    ]
                ),
                html.Div(
                    [
                        html.H2("The weights"),
                        look.picture(
                            "weights", "The network: its units and the weights between them", height=300
                        ),
                        html.P(
                            "Each line is a weight: blue pushes up, orange down; the thicker, the harder.",
                            className="small",
                        ),
                    ]
                ),
            ],
            className="pictures",
        ),
        html.Div(
            [html.H2("The loss, step by step"), look.picture("network-loss", "The loss by step", height=260)],
            className="block",
        ),
        dcc.Store(id="network-shown"),
    ]
    return look.page("Watch a network learn", EXPLANATION, controls, content)


def connect(app: dash.Dash, uploads: Uploads) -> None:
    """Wire the page."""
    learners = Learners()
    control = look.control_id(PAGE, dash.ALL)

    @app.callback(
        *(
            Output({"kind": "figure", "name": name}, "data")
            for name in ("boundary", "weights", "network-loss")
        ),
        Output("network-messages", "children"),
        Output("network-count", "children"),
        Output("network-shown", "data"),
        Output("network-own", "hidden"),
        Output("network-noise", "hidden"),
        Input(control, "value"),
        State(control, "id"),
    )
    def learn(values: list[Any], ids: list[dict[str, str]]) -> tuple[Any, ...]:
        given = {
            one["name"]: "" if value is None else str(value) for one, value in zip(ids, values, strict=True)
        }
        return answer(given, learners, uploads)

    @app.callback(
        Output(look.control_id(PAGE, "upload"), "value"),
        *(
            Output(look.control_id(PAGE, name), part)
            for name in ("x", "y", "label")
            for part in ("options", "value")
        ),
        Output("network-file", "children"),
        Input("network-upload", "contents"),
        State("network-upload", "filename"),
        prevent_initial_call=True,
    )
    def receive(contents: str | None, filename: str | None) -> list[Any]:
        if not contents:
            return [dash.no_update] * 8
        try:
            key = uploads.add(filename or "file.csv", contents)
            numbers, labels = _choices(uploads.get(key))
        except (DataError, OptionError) as error:
            said = f"{error}. What was here before stays in use."
            return [*[dash.no_update] * 7, html.Span(said, className="message")]
        label = labels[-1]
        axes = [name for name in numbers if name != label]
        options = [[{"value": name, "label": name} for name in names] for names in (numbers, numbers, labels)]
        chosen = [axes[0], axes[1], label]
        pairs = [part for pair in zip(options, chosen, strict=True) for part in pair]
        return [key, *pairs, f"{uploads.get(key).name}: {uploads.get(key).n_rows:,} rows"]

    look.connect_dials(app, PAGE, ["noise", "penalty"])
    look.connect_dials(app, PAGE, ["rate"], log=True)
    app.clientside_callback(
        ClientsideFunction("lab", "network_next"),
        Input("network-shown", "data"),
        Input("network-play", "n_clicks"),
        Input("network-once", "n_clicks"),
        Input("network-restart", "n_clicks"),
        State(look.control_id(PAGE, "step"), "value"),
        State(look.control_id(PAGE, "pace"), "value"),
        prevent_initial_call=True,
    )


def _choices(table: Table) -> tuple[list[str], list[str]]:
    """Return the columns that may be an axis, and those that may be the class.

    Raises:
        DataError: there are too few.
    """
    numbers, labels = number_columns(table), class_columns(table)
    if not labels:
        raise DataError(
            f"{table.name}: no column has 2 to 8 different values, so there is nothing to tell apart"
        )
    if len(set(numbers) - {labels[-1]}) < 2:
        raise DataError(f"{table.name}: needs two columns of numbers beside the class; it has {len(numbers)}")
    return numbers, labels


def answer(given: dict[str, str], learners: Learners, uploads: Uploads) -> tuple[Any, ...]:
    """Return what the page shows for its settings as they were typed.

    In order: the three figures, messages, what was counted, the step that is shown, and whether the
    controls of the own file and the noise are hidden.
    """
    is_own = given["data"] == OWN
    try:
        task, note = read_task(given, uploads)
        step = typed.whole(given, "step", "The step", 0, MOST_STEPS)
        typed.whole(given, "pace", "Steps per picture", 1, 500)
    except (OptionError, DataError) as error:
        text = str(error)
        return (
            *[dash.no_update] * 3,
            look.messages([text[:1].upper() + text[1:] + "."]),
            "",
            None,
            not is_own,
            is_own,
        )
    boundary, weights, loss, now, failed_at = learners.look(task, step, _see)
    said = [note] if note else []
    if failed_at is not None:
        said.append(
            f"The loss stopped being a number at step {failed_at}: the learning rate is too large. "
            f"Try {task.learning_rate / 10:g}."
        )
    counted = (
        f"step {now.step:,} of {MOST_STEPS:,} · loss {number(now.held_out_loss)} · "
        f"{percent(now.accuracy)} of the held-out points right"
    )
    return boundary, weights, loss, look.messages(said), counted, _shown(step, failed_at), not is_own, is_own


def _shown(step: int, failed_at: int | None) -> dict[str, Any]:
    return {"step": step, "last": MOST_STEPS if failed_at is None else step}


def _see(learner: Learner) -> tuple[Any, ...]:
    return (
        boundary_figure(learner),
        weights_figure(learner),
        loss_figure(learner),
        learner.now,
        learner.failed_at,
    )


def read_task(given: dict[str, str], uploads: Uploads) -> tuple[Task, str]:
    """Return what is to be learned, and what is to be said of the data.

    Raises:
        OptionError, DataError: a setting is out of range, or the file does not fit.
    """
    seed = typed.whole(given, "seed", "The seed", 0, 2**31 - 1)
    task = Task(
        points=_points(given, seed, uploads),
        hidden=read_widths(given["hidden"]),
        activation=typed.one_of(given, "activation", "The activation", ACTIVATIONS),
        batch_norm=typed.one_of(given, "norm", "Batch norm", ("on", "off")) == "on",
        rule=typed.one_of(given, "rule", "The rule", RULES),
        learning_rate=typed.number(given, "rate", "The learning rate", 1e-6, 100),
        penalty=typed.number(given, "penalty", "The penalty", 0, 10),
        batch_size=typed.whole(given, "batch", "The batch size", 1, 2000),
        seed=seed,
    )
    return task, task.points.note


def _points(given: dict[str, str], seed: int, uploads: Uploads) -> Points:
    if given["data"] == OWN:
        return uploads.points(given["upload"], given["x"], given["y"], given["label"])
    name = typed.one_of(given, "data", "The points", [*SHAPES, OWN])
    return shape(name, typed.number(given, "noise", "The noise", 0, 0.5), seed)


def read_widths(text: str) -> tuple[int, ...]:
    """Return the widths of the hidden layers; none where nothing is written.

    >>> read_widths("8, 4"), read_widths("")
    ((8, 4), ())
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    allowed = f"at most {MOST_LAYERS} layers, each of 1 to {WIDEST} units, such as 8, 8"
    if (
        not all(part.isascii() and part.isdigit() and 1 <= int(part[:9]) <= WIDEST for part in parts)
        or len(parts) > MOST_LAYERS
    ):
        raise OptionError(f"the hidden layers must be {allowed}; got ‘{text[:40]}’")
    return tuple(map(int, parts))
