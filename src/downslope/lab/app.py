"""The lab as one Dash app: its frame, its three pages, and the loop that serves it on this machine."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dash
from dash import ClientsideFunction, Input, Output, State, dcc, html
from werkzeug.serving import WSGIRequestHandler, make_server

from downslope.errors import OptionError
from downslope.lab import look, network, runs, safety, valley
from downslope.lab.library import Library
from downslope.lab.shapes import Uploads

HOST = "127.0.0.1"
LONGEST_ANSWER_SECONDS = 60.0
TITLES = {"/": "Valley", "/network": "Network", "/runs": "Runs"}


def create_app(folder: Path, port: int) -> dash.Dash:
    """Return the app.

    Args:
        folder: where the runs are.
        port: where it will be served: requests that name another are refused.
    """
    app = dash.Dash(
        "downslope.lab",
        title="Downslope lab",
        update_title="",
        suppress_callback_exceptions=True,  # each page's controls come with the page
        serve_locally=True,
        add_log_handler=False,
        assets_folder=str(Path(__file__).parent / "assets"),
        meta_tags=[
            {"name": "color-scheme", "content": "light dark"},
            {"name": "viewport", "content": "width=device-width, initial-scale=1"},
        ],
    )
    app.index_string = app.index_string.replace("<html>", '<html lang="en">')
    library, uploads = Library(folder), Uploads()
    pages: dict[str, Callable[[str], Any]] = {
        "/": valley.layout,
        "/network": lambda search: network.layout(search, uploads),
        "/runs": lambda search: runs.layout(library, search),
    }
    app.layout = _frame()

    @app.callback(Output("page", "children"), Input("location", "pathname"), State("location", "search"))
    def show_page(path: str | None, search: str | None) -> Any:
        page = pages.get((path or "").rstrip("/") or "/")
        if page is None:
            return html.Div([html.H1("No such page"), html.P(dcc.Link("To the valley", href="/"))])
        return page(search or "")

    _connect_browser(app)
    valley.connect(app)
    network.connect(app, uploads)
    runs.connect(app, library)
    safety.guard(app.server, port, app.csp_hashes())
    return app


def _frame() -> html.Div:
    """Return what stands round every page."""
    return html.Div(
        [
            dcc.Location(id="location", refresh=False),
            dcc.Store(id="colours", data=look.TO_DARK),
            dcc.Store(id="dark"),
            dcc.Store(id="position"),  # the step of a descent that is shown; None: all of it
            dcc.Store(id="address"),
            html.A("Skip to the content", href="#page", className="skip"),
            html.Nav(
                [
                    html.Span([html.Span(className="mark"), "Downslope lab"], className="brand"),
                    *(
                        dcc.Link(title, href=path, id=f"to-{title.lower()}", className="page-tab")
                        for path, title in TITLES.items()
                    ),
                ],
                **look.named("Pages"),
            ),
            html.Main(id="page", tabIndex="-1"),
        ]
    )


def _connect_browser(app: dash.Dash) -> None:
    """Let the page's own script do what needs no answer: colours, the address, sliders."""

    def in_browser(function: str, *wires: Any, **options: Any) -> None:
        app.clientside_callback(ClientsideFunction("lab", function), *wires, **options)

    in_browser("arrive", Output("dark", "data"), Input("location", "pathname"))
    in_browser(
        "paint",
        Output({"kind": "graph", "name": dash.MATCH}, "figure"),
        Input({"kind": "figure", "name": dash.MATCH}, "data"),
        Input("dark", "data"),
        Input("position", "data"),
        State("colours", "data"),
    )
    in_browser(
        "remember",
        Output("address", "data"),
        Input(look.control_id(dash.ALL, dash.ALL), "value"),
        State(look.control_id(dash.ALL, dash.ALL), "id"),
    )


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # one connection for many small requests

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing: a line per request helps nobody."""


def listen(port: int) -> socket.socket:
    """Return a socket that listens on 127.0.0.1; port 0 takes any that is free.

    Raises:
        OptionError: the port is taken, or may not be used.
    """
    try:
        return socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise OptionError(
            f"--port {port}: cannot be used ({why}); leave it out to take one that is free"
        ) from None


class Lab:
    """The lab's server: `serve` until Ctrl-C or `stop`, then `close`."""

    def __init__(self, folder: Path, listening: socket.socket):
        port = listening.getsockname()[1]
        self._answers = _Answers(create_app(folder, port).server)
        self._server = make_server(
            HOST, port, self._answers, threaded=True, request_handler=_Handler, fd=listening.fileno()
        )

    def serve(self) -> None:
        """Answer requests, each in a thread of its own; Ctrl-C ends it."""
        self._server.serve_forever()

    def stop(self) -> None:
        """End `serve`, from another thread."""
        self._server.shutdown()

    def close(self) -> None:
        """Finish the answers that are being computed, and give the port back."""
        self._answers.finish()
        self._server.server_close()


class _Answers:
    """Counts the answers in progress: a thread that still computes must not see the interpreter end."""

    def __init__(self, application: Callable[..., Any]):
        self._application, self._changed = application, threading.Condition()
        self._count, self._is_over = 0, False

    def __call__(self, environ: Any, start_response: Any) -> Any:
        with self._changed:
            if self._is_over:
                start_response("503 Service Unavailable", [])
                return []
            self._count += 1
        try:
            return self._application(environ, start_response)
        finally:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()

    def finish(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.wait_for(lambda: not self._count, timeout=LONGEST_ANSWER_SECONDS)
