"""The runs page: what lies under a folder, live, with curves to compare and reports to open."""

from typing import Any
from urllib.parse import quote

import dash
import flask
from dash import Input, Output, State, dcc, html

from downslope.lab import look, settings as typed
from downslope.lab.library import Library, RunLine
from downslope.report import theme
from downslope.report.formatting import is_number

PAGE = "runs"
SECONDS_BETWEEN_LOOKS = 2.0
MOST_COMPARED = len(look.MARKS)
EXPLANATION = (
    "Every training is kept in a folder of its own, a run. Here are those under {folder}, the newest "
    "first; choose several to compare. A curve that falls is learning. Where the loss on validation rows,"
    " which the network does not learn from, rises again while that on training rows still falls, it has "
    "begun to memorise. While ‘downslope train’ goes on in another terminal, its curve grows here by "
    "itself."
)
MEASURES = {
    "validation_loss": "Loss on validation rows",
    "train_loss": "Loss on training rows",
    "validation_metric": "Metric on validation rows",
    "learning_rate": "Learning rate",
    "gradient_norm": "Norm of the gradient",
    "examples_per_second": "Examples per second",
}
ACROSS = {"epoch": "epoch", "step": "step", "seconds": "seconds"}
SCALES = {"log": "logarithmic", "linear": "linear"}
MENUS = {"measure": MEASURES, "across": ACROSS, "scale": SCALES}
DEFAULTS = {"compare": "", "measure": "validation_loss", "across": "epoch", "scale": "log"}
BETWEEN_NAMES = "\n"  # in the address: no name that can be shown holds one


def layout(library: Library, search: str) -> html.Div:
    """Return the page with the settings of an address."""
    given = with_known(typed.from_address(search, DEFAULTS))
    names = library.names()
    asked = [name for name in given["compare"].split(BETWEEN_NAMES) if name in names]
    controls = [
        html.Fieldset(
            [
                html.Legend("Compare"),
                dcc.Checklist(
                    options(names),
                    asked or names[:4],
                    id=look.control_id(PAGE, "compare"),
                    className="checklist",
                ),
            ]
        ),
        look.choice(PAGE, "measure", "Up", MEASURES, given["measure"]),
        html.Div(
            [
                look.choice(PAGE, "across", "Across", ACROSS, given["across"]),
                look.choice(PAGE, "scale", "Scale", SCALES, given["scale"]),
            ],
            className="pair",
        ),
    ]
    content = [
        html.Div(id="runs-messages", className="messages", role="status", **look.POLITE),
        look.picture("curves", "The curves of the chosen runs", height=400),
        html.Div(id="runs-table", className="block"),
        dcc.Interval(id="runs-clock", interval=int(1000 * SECONDS_BETWEEN_LOOKS)),
        dcc.Store(id="runs-seen"),
    ]
    return look.page("Look at your runs", EXPLANATION.format(folder=library.folder), controls, content)


def with_known(given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings, with the default where a menu does not hold what was given."""
    return given | {name: DEFAULTS[name] for name, menu in MENUS.items() if given[name] not in menu}


def options(names: list[str]) -> list[dict[str, str]]:
    """Return the runs as what can be ticked; their names are text, whatever they hold."""
    return [{"value": name, "label": name} for name in names]


def connect(app: dash.Dash, library: Library) -> None:
    """Wire the page, and serve the reports."""
    control = look.control_id(PAGE, dash.ALL)

    @app.callback(
        Output({"kind": "figure", "name": "curves"}, "data"),
        Output("runs-messages", "children"),
        Output("runs-table", "children"),
        Output(look.control_id(PAGE, "compare"), "options"),
        Output("runs-seen", "data"),
        Input("runs-clock", "n_intervals"),
        Input(control, "value"),
        State(control, "id"),
        State("runs-seen", "data"),
    )
    def watch(_: int | None, values: list[Any], ids: list[dict[str, str]], seen: Any) -> tuple[Any, ...]:
        given = {one["name"]: value for one, value in zip(ids, values, strict=True)}
        return answer(library, given, seen)

    @app.server.route("/report/<path:name>", endpoint="report")
    def report(name: str) -> flask.Response:
        path = library.file(name, "report.html")
        if path is None:
            return flask.Response("There is no such report.\n", status=404, mimetype="text/plain")
        return flask.Response(path.read_bytes(), mimetype="text/html")


def answer(library: Library, given: dict[str, Any], seen: Any) -> tuple[Any, ...]:
    """Return what the page shows: figure, messages, table, what can be ticked, and what it was made from.

    Where nothing has changed since it was made from `seen`, nothing is sent.
    """
    lines = library.lines()
    now = [given, [[line.name, line.state, list(line.stamp)] for line in lines]]
    if now == seen:
        return (dash.no_update,) * 5
    given = with_known(given)
    measure, across = given["measure"], given["across"]
    names = [line.name for line in lines]
    chosen = [name for name in given["compare"] or [] if name in names]
    said = []
    if not lines:
        said.append(
            f"There is no run under {library.folder} yet. In another terminal: downslope train digits"
        )
    if len(chosen) > MOST_COMPARED:
        said.append(f"{MOST_COMPARED} runs can be compared at once; the first {MOST_COMPARED} are shown.")
        chosen = chosen[:MOST_COMPARED]
    colours = dict(zip(chosen, look.MARKS, strict=False))
    figure = curves_figure(library, colours, measure, across, given["scale"] == "log")
    if chosen and not figure["data"]:
        said.append(f"None of the chosen runs has a curve for ‘{MEASURES[measure]}’ yet.")
    return figure, look.messages(said), _table(lines, chosen), options(names), now


def curves_figure(
    library: Library, colours: dict[str, str], measure: str, across: str, in_logs: bool
) -> dict[str, Any]:
    """Return one curve for each run; what is no number, or cannot be shown on a log scale, is a gap."""
    data = []
    for name, colour in colours.items():
        history = library.history(name)
        x, y = history.get(across, []), history.get(measure, [])
        y = [value if is_number(value) and (value > 0 or not in_logs) else None for value in y]
        if any(value is not None for value in y):
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers" if len(y) < 3 else "lines",
                    "x": x,
                    "y": y,
                    "line": {"color": colour, "width": 2.2},
                    "marker": {"color": colour},
                    "name": theme.as_text(name, 40),
                    "showlegend": True,
                    "hovertemplate": f"{across} %{{x:.4g}}<br>%{{y:.4g}}<extra>{theme.as_text(name)}</extra>",
                }
            )
    layout = look.figure(
        400,
        margin={"l": 64, "r": 12, "t": 40, "b": 44},
        dragmode=False,
        hovermode="closest",
        uirevision=f"{measure} {across} {in_logs}",
        xaxis={"title": {"text": across}, "fixedrange": True, "rangemode": "tozero"},
        yaxis={
            "title": {"text": MEASURES[measure].lower()},
            "fixedrange": True,
            "type": "log" if in_logs else "linear",
            **(look.log_ticks(data) if in_logs else {}),
        },
    )["layout"]
    return {"data": data, "layout": layout}


def _table(lines: list[RunLine], chosen: list[str]) -> Any:
    """Return the runs as a table; a dot in the curve's colour marks those that are compared."""
    if not lines:
        return []
    places = {name: place for place, name in enumerate(chosen, start=1)}
    rows = [
        html.Tr(
            [
                html.Th(
                    [
                        html.Span(className=f"dot swatch-{places.get(line.name, 0)}"),
                        html.Bdi(line.name),
                        html.Div(html.Bdi(line.about), className="small"),
                    ],
                    scope="row",
                ),
                html.Td(html.Span(line.state, className=f"state {line.state}")),
                html.Td(line.progress, className="tight"),
                html.Td(line.result, className="tight"),
                html.Td(_link(line), className="tight"),
            ]
        )
        for line in lines
    ]
    titles = ("run", "state", "progress", "result", "report")
    head = html.Tr([html.Th(title, scope="col") for title in titles])
    table = html.Table([html.Thead(head), html.Tbody(rows)])
    return html.Div(table, className="scroll", role="region", tabIndex="0", **look.named("The runs"))


def _link(line: RunLine) -> Any:
    if not line.has_report:
        return "–"
    address = f"/report/{quote(line.name, safe='/')}"
    return html.A(
        "open",
        href=address,
        target="_blank",
        rel="noopener",
        **look.named(f"open the report of {line.name}"),
    )
