"""Only the lab's own pages, in a browser on this machine, may talk to the lab."""

import re

import pytest

from downslope.lab.app import create_app, listen

PORT = 8123
HOME = f"http://127.0.0.1:{PORT}"
ADDRESSES = [
    "/",
    "/network",
    "/_dash-layout",
    "/_dash-dependencies",
    "/assets/lab.js",
    "/report/run",
    "/nothing",
]


@pytest.fixture
def app(runs):
    return create_app(runs, PORT)


@pytest.fixture
def client(app):
    return app.server.test_client()


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    "host",
    ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:80", f"127.0.0.1.evil.example:{PORT}",
     f"localhost.evil.example:{PORT}", f"0.0.0.0:{PORT}", f"[::1]:{PORT}", ""],
)  # fmt: skip
def test_another_host_is_refused(client, address, host):
    answer = client.get(address, headers={"Host": host})
    assert answer.status_code == 403
    assert answer.text == "Refused: this is not the address of the lab.\n"


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}", f"LOCALHOST:{PORT}"])
def test_its_own_host_is_answered(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1:8123", "http://127.0.0.1", "http://127.0.0.1:8124",
     "http://127.0.0.1:8123.evil.example", "file://"],
)  # fmt: skip
def test_another_origin_is_refused(client, origin):
    for ask in (client.get, client.post, client.options, client.put):
        answer = ask("/_dash-update-component", headers={"Origin": origin}, base_url=HOME)
        assert answer.status_code == 403
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_its_own_origin_is_answered(client):
    body = {
        "output": "page.children",
        "outputs": {"id": "page", "property": "children"},
        "inputs": [{"id": "location", "property": "pathname", "value": "/runs"}],
        "state": [{"id": "location", "property": "search", "value": ""}],
        "changedPropIds": ["location.pathname"],
    }
    for headers in ({"Origin": HOME}, {"Origin": HOME, "Sec-Fetch-Site": "same-origin"}, {}):
        answer = client.post("/_dash-update-component", json=body, headers=headers, base_url=HOME)
        assert answer.status_code == 200
        assert "Look at your runs" in answer.text


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize(
    "kind", [("no-cors", "script"), ("no-cors", "image"), ("navigate", "iframe"), ("cors", "empty")]
)
def test_what_another_site_embeds_is_refused(client, site, kind):
    mode, destination = kind
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
    assert client.get("/assets/lab.js", headers=headers, base_url=HOME).status_code == 403


def test_a_link_may_be_followed_but_not_a_form(client):
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=headers, base_url=HOME).status_code == 200
    assert client.post("/", headers=headers, base_url=HOME).status_code == 403


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_answer_says_how_little_is_allowed(client, address):
    with client.get(address, base_url=HOME) as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    policy = dict(
        part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; ") if " " in part
    )
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    if not address.startswith("/report"):
        assert policy["connect-src"] == "'self'"
        assert re.fullmatch(r"'self'( 'sha256-[\w+/=]+')*", policy["script-src"])
        assert "unsafe-eval" not in headers["Content-Security-Policy"]


def test_the_page_names_nothing_but_its_own_server(client):
    page = client.get("/", base_url=HOME).text
    sources = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
    assert len(sources) > 5
    assert all(source.startswith("/") and not source.startswith("//") for source in sources)


def test_the_page_says_its_language(client):
    assert '<html lang="en">' in client.get("/", base_url=HOME).text


def test_a_large_request_is_refused(client):
    answer = client.post(
        "/_dash-update-component", data=b"x" * (13 << 20), content_type="application/json", base_url=HOME
    )
    assert answer.status_code == 413


def test_it_listens_on_this_machine_only():
    with listen(0) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


def test_a_report_runs_in_an_origin_of_its_own(client, runs):
    (runs / "run").mkdir()
    (runs / "run" / "config.json").write_text("{}")
    (runs / "run" / "report.html").write_text("<script>hostile()</script>")
    answer = client.get("/report/run", base_url=HOME)
    assert answer.text == "<script>hostile()</script>"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox allow-scripts ")
    assert "allow-same-origin" not in policy
    assert "allow-top-navigation" not in policy
    assert "connect-src" not in policy  # and so default-src 'none' holds
