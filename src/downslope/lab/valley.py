"""The valley page: choose a surface, place a ball, and watch several rules roll it down."""

from typing import Any

import dash
from dash import ClientsideFunction, Input, Output, State, dcc, html

from downslope.errors import OptionError
from downslope.lab import look, settings as typed
from downslope.lab.paths import MOST_STEPS, descend
from downslope.lab.surfaces import OWN, SURFACES, Surface
from downslope.lab.valley_figures import loss_figure, map_figure, surface_figure
from downslope.lab.valley_input import parse_starts, read_surface
from downslope.lab.valley_table import table
from downslope.rules.registry import RULES

PAGE = "valley"
DESCENTS = (1, 2, 3, 4)
NO_RULE = "none"
STEP_SIZES = (1e-5, 20.0)
EXPLANATION = (
    "Training a network means finding the numbers for which its error is smallest. Picture the error as "
    "the height of a landscape: descent feels the slope under its feet and takes a step downhill, again "
    "and again. The direction comes from the rule, the length of the step from the step size. Too small a"
    " step takes forever; too large a one leaps across the valley and lands higher than before. Click on "
    "the map to start from another place, and press Play."
)
DEFAULTS = {
    "surface": "narrow-valley",
    "formula": "sin(2*x) + (x^2 + y^2)/8",
    "reach": "5",
    "starts": "-3.4, 0.9",
    "rule-1": "gradient-descent",
    "rate-1": "0.031",
    "rule-2": "momentum",
    "rate-2": "0.01",
    "rule-3": "adam",
    "rate-3": "0.2",
    "rule-4": NO_RULE,
    "rate-4": "0.1",
    "noise": "0",
    "steps": "100",
    "seed": "0",
}
# Rules whose steps are as long as the slope is steep; those of the others have a length of their own.
_AS_STEEP = {"gradient-descent": 1.0, "sgd": 1.0, "momentum": 1.0, "nesterov": 0.5, "schedule-free-sgd": 1.0}
_OF_THEMSELVES = {"adadelta": 1.0, "prodigy": 1.0}  # these are made for a step size of 1


def suggested_step_size(rule: str, surface: Surface) -> float:
    """Return a step size with which the rule gets somewhere on the surface."""
    if rule in _OF_THEMSELVES:
        return _OF_THEMSELVES[rule]
    if rule in _AS_STEEP:
        return float(f"{_AS_STEEP[rule] * surface.step_size:.2g}")
    return float(f"{0.02 * (surface.x[1] - surface.x[0]):.1g}")


def defaults_for(name: str) -> dict[str, str]:
    """Return the settings to begin with on a surface."""
    if name == DEFAULTS["surface"] or name not in SURFACES:
        return DEFAULTS
    surface = SURFACES[name]
    rates = {
        f"rate-{place}": f"{suggested_step_size(rule, surface):g}"
        for place in DESCENTS
        if (rule := DEFAULTS[f"rule-{place}"]) != NO_RULE
    }
    return {**DEFAULTS, **rates, "starts": spelled(surface.start), "steps": str(surface.steps)}


def spelled(point: tuple[float, ...]) -> str:
    """Return a point as it is typed."""
    return ", ".join(f"{cell:g}" for cell in point)


def layout(search: str) -> html.Div:
    """Return the page with the settings of an address."""
    given = typed.from_address(search, defaults_for(typed.from_address(search, DEFAULTS)["surface"]))
    surfaces = {name: surface.title for name, surface in SURFACES.items()} | {OWN: "Your own formula"}
    rules = {NO_RULE: "—"} | {name: name for name in RULES}
    controls = [
        look.choice(PAGE, "surface", "Surface", surfaces, given["surface"]),
        html.Div(
            [
                look.entry(
                    PAGE,
                    "formula",
                    "Formula in x and y",
                    given["formula"],
                    "+ − * / ^, sin, cos, exp, log, sqrt, abs, … ; without y it is a curve",
                ),
                look.entry(PAGE, "reach", "Drawn from −r to r, r =", given["reach"]),
            ],
            id="valley-own",
            className="controls",
            hidden=given["surface"] != OWN,
        ),
        html.Fieldset(
            [html.Legend("Rules and step sizes"), *(_descent(place, rules, given) for place in DESCENTS)]
        ),
        look.entry(PAGE, "starts", "Starting points: x, y; x, y; …", given["starts"], "or click on the map"),
        html.Div(html.Button("Clear the starting points", id="valley-clear"), className="row"),
        look.dial(PAGE, "noise", "Noise of the slope", given["noise"], 0, 10),
        html.Div(
            [
                look.entry(PAGE, "steps", "Steps", given["steps"], inputMode="numeric"),
                look.entry(PAGE, "seed", "Seed of the noise", given["seed"], inputMode="numeric"),
            ],
            className="pair",
        ),
    ]
    content = [
        html.Div(id="valley-messages", className="messages", role="status", **look.POLITE),
        html.Div(
            [
                html.Button("▶ Play", id="valley-play", className="main", disabled=True),
                html.Label(
                    [
                        html.Span("Step of the descent", className="unseen"),
                        dcc.Input(id="valley-step", type="range", min=0, max=0, step=1, value=0),
                    ],
                    className="grow",
                ),
                html.Span("compiling, one moment …", id="valley-count", className="count"),
            ],
            className="row",
        ),
        html.Div(
            [
                look.picture("map", "The surface from above, with the paths", height=440),
                look.picture("surface", "The surface in three dimensions, with the paths", height=440),
            ],
            id="valley-pictures",
            className="pictures",
        ),
        html.P(id="valley-story", className="note"),
        html.Div(
            [html.H2("The loss, step by step"), look.picture("loss", "The loss of each path", height=250)],
            className="block",
        ),
        html.Div(id="valley-results", className="block"),
        dcc.Store(id="valley-dimension"),
    ]
    return look.page("Roll down a valley", EXPLANATION, controls, content)


def _descent(place: int, rules: dict[str, str], given: dict[str, str]) -> html.Div:
    return html.Div(
        [
            html.Span(className=f"swatch swatch-{place}"),
            look.choice(PAGE, f"rule-{place}", f"Rule {place}", rules, given[f"rule-{place}"]),
            look.dial(PAGE, f"rate-{place}", f"Step size {place}", given[f"rate-{place}"], -4, 1, log=True),
        ],
        className="descent",
    )


def connect(app: dash.Dash) -> None:
    """Wire the page."""
    figure = {name: Output({"kind": "figure", "name": name}, "data") for name in ("map", "surface", "loss")}

    @app.callback(
        *figure.values(),
        Output("valley-messages", "children"),
        Output("valley-results", "children"),
        Output("valley-story", "children"),
        Output("valley-pictures", "className"),
        Output("valley-dimension", "data"),
        Output("valley-own", "hidden"),
        Input(look.control_id(PAGE, dash.ALL), "value"),
        State(look.control_id(PAGE, dash.ALL), "id"),
    )
    def roll(values: list[Any], ids: list[dict[str, str]]) -> tuple[Any, ...]:
        given = {
            one["name"]: "" if value is None else str(value) for one, value in zip(ids, values, strict=True)
        }
        return answer(given)

    rates = [Output(look.control_id(PAGE, f"rate-{place}"), "value") for place in DESCENTS]
    rules = [Input(look.control_id(PAGE, f"rule-{place}"), "value") for place in DESCENTS]

    @app.callback(
        *rates,
        Output(look.control_id(PAGE, "starts"), "value"),
        Output(look.control_id(PAGE, "steps"), "value"),
        Input(look.control_id(PAGE, "surface"), "value"),
        *rules,
        State(look.control_id(PAGE, "reach"), "value"),
        State(look.control_id(PAGE, "formula"), "value"),
        prevent_initial_call=True,
    )
    def suit(name: str, *rest: Any) -> list[Any]:
        """Give a new surface a start, steps and step sizes that suit it; a new rule its step size."""
        *chosen, reach, formula = rest
        try:
            surface, _ = read_surface({"surface": name or "", "reach": reach or "", "formula": formula or ""})
        except OptionError:
            return [dash.no_update] * (len(DESCENTS) + 2)
        changed = (dash.ctx.triggered_id or {}).get("name")
        sizes = [
            f"{suggested_step_size(rule, surface):g}"
            if rule in RULES and changed in ("surface", f"rule-{place}")
            else dash.no_update
            for place, rule in zip(DESCENTS, chosen, strict=True)
        ]
        if changed != "surface":
            return [*sizes, dash.no_update, dash.no_update]
        return [*sizes, spelled(surface.start), str(surface.steps)]

    def in_browser(function: str, *wires: Any, **options: Any) -> None:
        app.clientside_callback(ClientsideFunction("lab", function), *wires, **options)

    look.connect_dials(app, PAGE, [f"rate-{place}" for place in DESCENTS], log=True)
    look.connect_dials(app, PAGE, ["noise"])
    starts = look.control_id(PAGE, "starts")
    in_browser(
        "add_start",
        Output(starts, "value", allow_duplicate=True),
        Input({"kind": "graph", "name": "map"}, "clickData"),
        State(starts, "value"),
        State("valley-dimension", "data"),
        prevent_initial_call=True,
    )
    in_browser(
        "clear_starts",
        Output(starts, "value", allow_duplicate=True),
        Input("valley-clear", "n_clicks"),
        prevent_initial_call=True,
    )
    in_browser(
        "descended",
        Output("valley-step", "max"),
        Output("valley-step", "value"),
        Output("valley-play", "disabled"),
        Input({"kind": "figure", "name": "map"}, "data"),
    )
    in_browser(
        "show_step",
        Output("position", "data"),
        Output("valley-count", "children"),
        Input("valley-step", "value"),
    )
    in_browser(
        "play", Output("valley-play", "children"), Input("valley-play", "n_clicks"), prevent_initial_call=True
    )


def answer(given: dict[str, str]) -> tuple[Any, ...]:
    """Return what the page shows for its settings as they were typed.

    In order: the three figures, messages, table, story, class of the pictures, dimension, whether the
    formula is hidden. Where the settings make no sense the messages say so, and the pictures stay.
    """
    is_own = given.get("surface") == OWN
    try:
        surface, partly = read_surface(given)
        starts, problems = parse_starts(given["starts"], surface)
        steps = typed.whole(given, "steps", "Steps", 1, MOST_STEPS)
        seed = typed.whole(given, "seed", "The seed", 0, 2**31 - 1)
        noise = typed.number(given, "noise", "Noise", 0, 100)
        descents = [
            (place, rule, typed.number(given, f"rate-{place}", f"Step size {place}", *STEP_SIZES))
            for place in DESCENTS
            if (rule := typed.one_of(given, f"rule-{place}", f"Rule {place}", [NO_RULE, *RULES])) != NO_RULE
        ]
    except OptionError as error:
        kept = [dash.no_update] * 3
        return *kept, look.messages([_sentence(error)]), *[dash.no_update] * 4, not is_own
    if not descents:
        problems.append("Choose at least one rule.")
    paths = {
        (place, rule, rate): descend(surface, rule, rate, starts, steps=steps, noise=noise, seed=seed)
        for place, rule, rate in descents
        if starts
    }
    walked = {key[0]: found for key, found in paths.items()}
    return (
        map_figure(surface, walked),
        surface_figure(surface, walked) if surface.dimension == 2 else dash.no_update,
        loss_figure(walked),
        look.messages([*partly, *problems]),
        table(paths),
        [html.B(f"{surface.formula}  "), surface.story],
        "pictures" if surface.dimension == 2 else "pictures single",
        surface.dimension,
        not is_own,
    )


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "’")) else ".")
