"""The chat in a real terminal: tmux's, with the model that ships."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import skimage

PHOTO = Path(skimage.__file__).parent / "data" / "chelsea.png"
COMMAND = Path(sys.executable).with_name("mmtui")
PATIENCE_S = 120


class Terminal:
    """One window of a tmux server of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._run(
            "-f", "/dev/null", "new-session", "-d", "-x", "90", "-y", "30",
            "-e", f"XDG_DATA_HOME={folder / 'data'}", "-e", f"XDG_CONFIG_HOME={folder / 'config'}",
            "env", "PS1=$ ", "sh",
        )  # fmt: skip

    def _run(self, *arguments: str) -> str:
        return subprocess.run(
            ["tmux", "-S", self._folder / "tmux", *arguments],
            capture_output=True, text=True, check=True, env={**os.environ, "TMUX": ""},
        ).stdout  # fmt: skip

    @property
    def text(self) -> str:
        return self._run("capture-pane", "-p")

    def types(self, text: str, *keys: str) -> None:
        self._run("send-keys", "-l", "--", text)
        self.press(*keys)

    def press(self, *keys: str) -> None:
        if keys:
            self._run("send-keys", *keys)

    def waits(self, shows: Callable[[str], object], what: str) -> str:
        """Until the screen shows it; returns the screen."""
        deadline = time.monotonic() + PATIENCE_S
        while not shows(text := self.text):
            assert time.monotonic() < deadline, f"{what} is not on the screen:\n{text}"
            time.sleep(0.05)  # between two looks; there is no event to wait for
        return text

    def shows(self, pattern: str) -> str:
        return self.waits(lambda text: re.search(pattern, text), pattern)

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("there is no tmux here")
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def test_an_answer_is_stopped_a_photo_asked_about_and_the_chat_resumed(terminal, smol, tmp_path):
    photo = shutil.copy(PHOTO, tmp_path / "my cat.png")
    terminal.shows(r"^\$")
    terminal.types(f"{COMMAND} --model smol", "Enter")
    terminal.shows(r"smol \(\w+\)  ·  ready")
    terminal.types("/sampling temperature=3", "Enter")  # so hot, no answer finds its end
    terminal.shows(r"temperature=3\.0")
    terminal.types("Write a thank-you note to a teacher.", "Enter")
    terminal.shows("writing")
    terminal.press("Escape")
    terminal.shows(r"(?s)stopped; F7 continues.*ready")
    terminal.types("/sampling temperature=0", "Enter")
    terminal.shows(r"temperature=0\.0")
    terminal.types(f"/image {photo}", "Enter")
    terminal.shows(r"my cat\.png\n?.*\n?.*451 x 300")
    terminal.types("What is this?", "Enter")
    terminal.shows(r"(?s)What is this\?.*(cat|tabby).*ready")
    terminal.types("later")
    terminal.press("C-q")
    terminal.waits(lambda text: text.rstrip().endswith("$"), "the shell")
    photo.unlink()
    terminal.types(f"clear; {COMMAND} --model smol --resume", "Enter")
    terminal.shows(
        r"(?s)thank-you.*stopped; F7 continues.*What is this\?.*(cat|tabby).*later.*ready"
    )
    terminal.press("F3")
    terminal.shows("thank-you")
    terminal.press("Escape", "C-q")
    terminal.waits(lambda text: text.rstrip().endswith("$"), "the shell")


def kept(folder: Path) -> str:
    """What a plain look at the store tells."""
    shown = subprocess.run(
        [COMMAND, "--plain", "--resume"], input=b"", capture_output=True, check=True,
        env={**os.environ, "XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder)},
    )  # fmt: skip
    return (shown.stdout + shown.stderr).decode()


def kill(folder: Path) -> None:
    """`kill -9` of the chat on that store, by its id."""
    import psutil

    for process in psutil.process_iter(["cmdline", "environ"]):
        environment = process.info["environ"] or {}
        is_chat = str(COMMAND) in (process.info["cmdline"] or [])
        if is_chat and environment.get("XDG_DATA_HOME") == str(folder / "data"):
            process.kill()


def test_after_a_kill_messages_the_partial_answer_and_the_draft_are_there(terminal, smol, tmp_path):
    terminal.shows(r"^\$")
    terminal.types(f"{COMMAND} --model smol", "Enter")
    terminal.types("", "Enter")
    terminal.shows(r"smol \(\w+\)  ·  ready")
    terminal.types("What is the capital of France?", "Enter")
    terminal.shows(r"(?s)is Paris\..*ready")
    terminal.types("What is Python used for?", "Enter")
    terminal.types("half a thou")
    terminal.waits(lambda _: "half a thou" in draft(tmp_path), "the draft in the store")
    terminal.waits(lambda _: said(tmp_path)[3:] > [""], "the beginning of an answer")
    begun = said(tmp_path)[3]
    kill(tmp_path)
    terminal.shows("Killed")
    text = kept(tmp_path)
    assert "The capital of France is Paris." in text and "What is Python used for?" in text
    assert begun.split("\n")[0] in text
    assert draft(tmp_path) == "half a thou"


def said(folder: Path) -> list[str]:
    """What is in the store, question and answer in turn."""
    from mmtui.chat.history.history import History

    history = History(folder / "data" / "mmtui")
    texts = [message.text for message in history.conversation(history.latest() or "").thread]
    history.close()
    return texts


def draft(folder: Path) -> str:
    from mmtui.chat.history.history import History

    history = History(folder / "data" / "mmtui")
    found = history.draft(history.latest() or "").text
    history.close()
    return found


def test_the_draft_of_a_chat_that_was_never_sent_survives_a_kill(terminal, tmp_path):
    terminal.shows(r"^\$")
    terminal.types(f"{COMMAND} --model {tmp_path / 'no-model'}", "Enter")
    terminal.shows("Ask something")
    terminal.types("Dear diary")
    terminal.waits(lambda _: draft(tmp_path) == "Dear diary", "the draft in the store")
    kill(tmp_path)
    terminal.shows("Killed")
    terminal.types(f"clear; {COMMAND} --model {tmp_path / 'no-model'}", "Enter")
    terminal.shows("Dear diary")
