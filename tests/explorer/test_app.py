"""The server: its files and headers, a session for each window, and how it refuses."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click.testing
import pytest

from sgdsheet.cli import main
from sgdsheet.errors import Error
from sgdsheet.explorer.app import FILES, MOST_BYTES, MOST_WINDOWS, application
from sgdsheet.local_server import LocalServer


class Counting:
    """A session that counts what it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["ask"] == "nonsense":
            raise Error("expected open, sheet or cells, got 'nonsense'")
        self.asked += 1
        return {"asked": self.asked}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = LocalServer(application(Counting))
    server.start()
    yield server.url
    server.end()
    assert server.wait(10)


def get(address: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    """The status, headers and body of an answer; a POST where there is a body."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def ask(url: str, session: str, message: Any) -> dict[str, Any]:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return json.loads(get(f"{url}ask/{session}", body)[2])


def new(url: str) -> str:
    return json.loads(get(f"{url}new", b"{}")[2])["session"]


@pytest.mark.parametrize("name", ["", *FILES])
def test_files_are_sent_as_what_they_are_and_let_nothing_in(url: str, name: str) -> None:
    status, headers, body = get(url + name)
    assert (status, bool(body)) == (200, True)
    kinds = {"": "text/html", "css": "text/css", "js": "text/javascript"}
    assert headers["content-type"] == f"{kinds[name.rpartition('.')[2]]}; charset=utf-8"
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")
    policy = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"


@pytest.mark.parametrize("name", ["session.py", "../session.py", "%2e%2e/app.py", "web/grid.js", "page.html", "ask/x"])
def test_nothing_else_is_sent(url: str, name: str) -> None:
    assert get(url + name)[0] in (404, 405)


def test_each_window_has_its_session(url: str) -> None:
    one, other = new(url), new(url)
    assert [ask(url, one, {"ask": "open"}) for _ in range(3)] == [{"asked": 1}, {"asked": 2}, {"asked": 3}]
    assert ask(url, other, {"ask": "open"}) == {"asked": 1}


def test_the_window_unused_longest_is_closed(url: str) -> None:
    names = [new(url) for _ in range(MOST_WINDOWS)]
    ask(url, names[0], {"ask": "open"})
    new(url)
    assert ask(url, names[0], {"ask": "open"}) == {"asked": 2}
    assert "reload the page" in ask(url, names[1], {"ask": "open"})["error"]
    assert ask(url, names[2], {"ask": "open"}) == {"asked": 1}


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"ask": "nonsense"}, "'nonsense'"),
        (b"{", "in JSON"),
        (b"\xff", "in JSON"),
        (b"[" * 100_000, "in JSON"),
        ([1], "a JSON object, got '[1]'"),
        (b'"' + b"a" * MOST_BYTES + b'"', "at most 4 MB"),
    ],
)
def test_a_bad_message_is_refused_with_a_line(url: str, message: Any, said: str) -> None:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    status, headers, answer = get(f"{url}ask/{new(url)}", body)
    assert (status, headers["content-type"]) == (400, "application/json")
    assert said in json.loads(answer)["error"]
    assert "\n" not in json.loads(answer)["error"]


def test_a_fault_of_the_program_is_said_too(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    status, _, answer = get(f"{url}ask/{new(url)}", b"{}")
    assert status == 500
    assert json.loads(answer)["error"] == "the explorer failed (KeyError: 'ask'); please report this"


def test_other_programs_and_pages_are_refused(url: str) -> None:
    port, token = re.findall(r":(\d+)/([^/]+)/", url)[0]
    assert get(url.replace(token, "guess"))[0] == 403
    assert get(f"{url}new", b"{}", Origin="http://evil.example")[0] == 403
    assert get(url, None, Host=f"evil.example:{port}")[0] == 403


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("lineer_sgd", "did you mean 'linear_sgd'?"),
        ("nowhere.xlsx", "nowhere.xlsx: there is no such file"),
        ("none/linear_sgd", "none/linear_sgd: there is no such file"),
        ("text.xlsx", "text.xlsx"),
        ("linear_sgd --lesson nowhere.py", "nowhere.py"),
    ],
)
def test_what_cannot_be_shown(arguments: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.xlsx").write_text("no workbook")
    done = click.testing.CliRunner().invoke(main, ["explore", *arguments.split(), "--no-browser"])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


def test_the_command_shows_the_workbook_beside_and_leaves_it_as_it_was(
    workbook: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "workbooks").mkdir()
    path = tmp_path / "workbooks/linear_sgd.xlsx"
    path.write_bytes(workbook("small").read_bytes())
    code = "import sys; from sgdsheet.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "explore", "linear_sgd", "--no-browser"]
    with subprocess.Popen(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"linear_sgd\.xlsx is shown at (http://127\.0\.0\.1:\d+/[\w-]+/) until Ctrl-C\n", line)
        try:
            assert found, line + process.stderr.read()
            session = new(found[1])
            assert ask(found[1], session, {"ask": "open"})["file"] == "linear_sgd.xlsx"
        finally:
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=60)
    assert rest == ("", "")
    assert process.returncode == 0
    assert path.read_bytes() == workbook("small").read_bytes()
