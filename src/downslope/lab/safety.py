"""Who may talk to the lab: pages that it served itself, to a browser on this machine, and nobody else.

The socket listens on 127.0.0.1 only. That keeps other machines out, but not other web pages in the same
browser, which can send requests to this address too. So every request must name the lab itself as its
host (or else a page whose name was made to point to 127.0.0.1 could read the answers: DNS rebinding),
and what a browser says was caused by a page of another origin is refused.
"""

from collections.abc import Sequence

import flask

LARGEST_REQUEST_BYTES = 12 << 20  # a CSV of the user's own, encoded

# What Dash's pages need and no more. Styles are set by the elements themselves, which needs the
# exception; no script is.
_PAGES = {
    "default-src": "'none'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
# A report is somebody's file: it may run its own scripts, in an origin of its own that can reach nothing.
_REPORT = (
    "sandbox allow-scripts allow-downloads allow-modals; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def guard(server: flask.Flask, port: int, script_hashes: Sequence[str]) -> None:
    """Refuse what is not for the lab, and tell browsers how little its pages may do.

    Args:
        server: the Flask server under the app.
        port: where it listens.
        script_hashes: the inline scripts that are the app's own, as in a content security policy.
    """
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
    origins = {f"http://{host}" for host in hosts}
    scripts = " ".join(["'self'", *script_hashes])
    policy = "; ".join(f"{name} {allowed}" for name, allowed in {**_PAGES, "script-src": scripts}.items())
    server.config["MAX_CONTENT_LENGTH"] = LARGEST_REQUEST_BYTES

    @server.before_request
    def refuse_strangers() -> flask.Response | None:
        headers = flask.request.headers
        if headers.get("Host", "").lower() not in hosts:
            return _refusal("this is not the address of the lab")
        if headers.get("Origin", next(iter(origins))).lower() not in origins:
            return _refusal("a page of another origin may not ask the lab")
        if _is_from_elsewhere():
            return _refusal("a page of another site may not use the lab")
        return None

    @server.after_request
    def say_what_is_allowed(response: flask.Response) -> flask.Response:
        for name, value in _HEADERS.items():
            response.headers[name] = value
        response.headers["Content-Security-Policy"] = policy
        if flask.request.endpoint == "report":
            response.headers["Content-Security-Policy"] = _REPORT
        return response


def _is_from_elsewhere() -> bool:
    """Return whether the browser says that another site asked; a link that was followed is fine."""
    headers = flask.request.headers
    site = headers.get("Sec-Fetch-Site", "none")
    followed = (
        flask.request.method == "GET"
        and headers.get("Sec-Fetch-Mode") == "navigate"
        and headers.get("Sec-Fetch-Dest") == "document"
    )
    return site not in ("same-origin", "none") and not followed


def _refusal(why: str) -> flask.Response:
    return flask.Response(f"Refused: {why}.\n", status=403, mimetype="text/plain")
