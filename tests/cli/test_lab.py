"""`downslope lab`: refusals of one line, and an end without a trace of one."""

import importlib.util
import signal
import socket
import threading
import urllib.request

import pytest


def test_without_dash_it_says_what_to_install(command, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "downslope.cli.lab.find_spec", lambda name, *rest: None if name == "dash" else find(name, *rest)
    )
    answer = command("lab")
    assert answer.code == 2
    assert "pip install 'downslope[lab]'" in answer.error


def test_a_port_that_is_taken_is_refused(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = command("lab", "--port", port, "--no-browser")
    assert answer.code == 2
    assert f"--port {port}: cannot be used" in answer.error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--port", 70000), "from 0 to 65535, got 70000"),
        (("--port", -1), "got -1"),
        (("--port", "x"), "valid integer"),
        (("missing",), "missing: no such folder"),
        (("file.txt",), "file.txt: is a file, not a folder of runs"),
    ],
)
def test_what_cannot_be_used_is_refused(command, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("")
    answer = command("lab", *words, "--no-browser")
    assert answer.code == 2
    assert says in answer.error


def test_it_serves_until_it_is_interrupted(start, tmp_path):
    process = start("lab", "--no-browser", cwd=tmp_path)
    alarm = threading.Timer(120, process.kill)
    alarm.start()
    try:
        said = process.stdout.readline()
        address = said.split()[5]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=60) as answer:
            assert b"Downslope lab" in answer.read()
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=60)
    finally:
        alarm.cancel()
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert rest.strip() == "The lab is closed."
    assert errors == ""
