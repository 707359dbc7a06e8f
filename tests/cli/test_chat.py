"""Which chat opens: on a screen where the terminal can have one, else line by line."""

import subprocess
import sys

import pytest

from mmtui.cli import chat
from mmtui.frontends.plain import loop
from mmtui.frontends.tui import launch


@pytest.fixture
def opens(monkeypatch, tmp_path, capsys):
    """Opens the chat at a terminal of a kind; returns which one it is, and what is noted."""
    opened: list[str] = []
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(loop, "run", lambda *_: opened.append("lines"))
    monkeypatch.setattr(launch, "run", lambda *_: opened.append("screen"))

    def open_(kind: str | None, **options: bool) -> tuple[str, str]:
        monkeypatch.delenv("TERM", raising=False)
        if kind is not None:
            monkeypatch.setenv("TERM", kind)
        for stream in (sys.stdin, sys.stdout):
            monkeypatch.setattr(stream, "isatty", lambda: True)
        chat.chat(**options)
        return opened.pop(), capsys.readouterr().err

    return open_


@pytest.mark.parametrize("kind", ["dumb", "", None, "unknown"])
def test_without_a_cursor_to_move_the_chat_opens_line_by_line_and_says_so(opens, kind):
    which, note = opens(kind)
    assert which == "lines"
    assert note.count("\n") == 1 and f"TERM={kind or ''} " in note and "--plain" in note
    assert opens(kind, plain=True) == ("lines", "")


def test_in_a_browser_there_is_a_screen_without_a_terminal(opens, monkeypatch):
    monkeypatch.setenv("TEXTUAL_DRIVER", "textual_serve.driver:WebDriver")
    assert opens("dumb") == ("screen", "")


@pytest.mark.parametrize("kind", ["xterm-256color", "xterm-of-tomorrow"])
def test_a_terminal_that_is_known_or_new_has_a_screen(kind):
    code = "from mmtui.cli.chat import can_move_cursor; print(can_move_cursor())"
    command = ["/usr/bin/env", f"TERM={kind}", sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True).strip() == "True"
