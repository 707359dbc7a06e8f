"""The chat opens full-screen if the terminal supports it, else line by line."""

import subprocess
import sys

import pytest

from mmtui.cli import chat
from mmtui.frontends.plain import loop
from mmtui.frontends.tui import launch


@pytest.fixture
def open_chat(monkeypatch, tmp_path, capsys):
    """Return a function that opens the chat with a value of TERM.

    It returns "screen" or "lines", and the notes on stderr.
    """
    opened: list[str] = []
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(loop, "run", lambda *_, **__: opened.append("lines"))
    monkeypatch.setattr(launch, "run", lambda *_, **__: opened.append("screen"))

    def run_chat(kind: str | None, **options: bool) -> tuple[str, str]:
        monkeypatch.delenv("TERM", raising=False)
        if kind is not None:
            monkeypatch.setenv("TERM", kind)
        for stream in (sys.stdin, sys.stdout):
            monkeypatch.setattr(stream, "isatty", lambda: True)
        chat.chat(**options)
        return opened.pop(), capsys.readouterr().err

    return run_chat


@pytest.mark.parametrize("kind", ["dumb", "", None, "unknown"])
def test_a_terminal_without_cursor_movement_opens_the_plain_chat_with_a_note(open_chat, kind):
    interface, note = open_chat(kind)
    assert interface == "lines"
    assert note.count("\n") == 1 and f"TERM={kind or ''} " in note and "--plain" in note
    assert open_chat(kind, plain=True) == ("lines", "")


def test_a_browser_opens_the_full_screen_chat_without_a_terminal(open_chat, monkeypatch):
    monkeypatch.setenv("TEXTUAL_DRIVER", "textual_serve.driver:WebDriver")
    assert open_chat("dumb") == ("screen", "")


@pytest.mark.parametrize("kind", ["xterm-256color", "xterm-of-tomorrow"])
def test_known_and_new_terminals_can_move_the_cursor(kind):
    code = "from mmtui.cli.chat import can_move_cursor; print(can_move_cursor())"
    command = ["/usr/bin/env", f"TERM={kind}", sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True).strip() == "True"
