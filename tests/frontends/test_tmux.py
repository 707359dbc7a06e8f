"""The chat in tmux, with the model `smol`."""

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
TIMEOUT_S = 120


class Terminal:
    """A window of a private tmux server."""

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

    @property
    def title(self) -> str:
        return self._run("display-message", "-p", "#{pane_title}").strip()

    def type(self, text: str, *keys: str) -> None:
        """Type a text, then press keys."""
        self._run("send-keys", "-l", "--", text)
        self.press(*keys)

    def press(self, *keys: str) -> None:
        if keys:
            self._run("send-keys", *keys)

    def wait_until(self, condition: Callable[[str], object], description: str) -> str:
        """Wait until a condition of the text on the screen is met, and return the text."""
        deadline = time.monotonic() + TIMEOUT_S
        while not condition(text := self.text):
            assert time.monotonic() < deadline, f"no {description} on the screen:\n{text}"
            time.sleep(0.05)  # there is no event to wait for
        return text

    def wait_for(self, pattern: str) -> str:
        """Wait until the screen shows a pattern."""
        return self.wait_until(lambda text: re.search(pattern, text), pattern)

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def test_an_answer_is_stopped_a_photo_described_and_the_chat_resumed(terminal, smol, tmp_path):
    photo = shutil.copy(PHOTO, tmp_path / "my cat.png")
    terminal.wait_for(r"^\$")
    terminal.type(f"{COMMAND} --model smol", "Enter")
    terminal.wait_for(r"smol \(\w+\)  ·  ready")
    terminal.type("/sampling temperature=3", "Enter")  # so random that answers do not end
    terminal.wait_for(r"temperature=3\.0")
    terminal.type("Write a thank-you note to a teacher.", "Enter")
    terminal.wait_for("writing")
    terminal.press("Escape")
    terminal.wait_for(r"(?s)stopped; F7 continues.*ready")
    terminal.type("/sampling temperature=0", "Enter")
    terminal.wait_for(r"temperature=0\.0")
    terminal.type(f"/image {photo}", "Enter")
    terminal.wait_for(r"my cat\.png\n?.*\n?.*451 x 300")
    terminal.type("What is this?", "Enter")
    terminal.wait_for(r"(?s)What is this\?.*(cat|tabby).*ready")
    terminal.type("later")
    terminal.press("C-q")
    terminal.wait_until(lambda text: text.rstrip().endswith("$"), "the shell")
    photo.unlink()
    terminal.type(f"clear; {COMMAND} --model smol --resume", "Enter")
    terminal.wait_for(
        r"(?s)thank-you.*stopped; F7 continues.*What is this\?.*(cat|tabby).*later.*ready"
    )
    terminal.press("F3")
    terminal.wait_for("thank-you")
    terminal.press("Escape", "C-q")
    terminal.wait_until(lambda text: text.rstrip().endswith("$"), "the shell")


def resume_plain(folder: Path) -> str:
    """Return the output of `mmtui --plain --resume`."""
    run = subprocess.run(
        [COMMAND, "--plain", "--resume"], input=b"", capture_output=True, check=True,
        env={**os.environ, "XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder)},
    )  # fmt: skip
    return (run.stdout + run.stderr).decode()


def kill(folder: Path) -> None:
    """Kill the chat that uses this folder with SIGKILL."""
    import psutil

    for process in psutil.process_iter(["cmdline", "environ"]):
        environment = process.info["environ"] or {}
        is_chat = str(COMMAND) in (process.info["cmdline"] or [])
        if is_chat and environment.get("XDG_DATA_HOME") == str(folder / "data"):
            process.kill()


def test_messages_the_partial_answer_and_the_draft_survive_a_kill(terminal, smol, tmp_path):
    terminal.wait_for(r"^\$")
    terminal.type(f"{COMMAND} --model smol", "Enter")
    terminal.type("", "Enter")
    terminal.wait_for(r"smol \(\w+\)  ·  ready")
    terminal.type("What is the capital of France?", "Enter")
    terminal.wait_for(r"(?s)is Paris\..*ready")
    terminal.type("What is Python used for?", "Enter")
    terminal.type("half a thou")
    terminal.wait_until(lambda _: "half a thou" in read_draft(tmp_path), "the draft in the store")
    terminal.wait_until(lambda _: read_texts(tmp_path)[3:] > [""], "the beginning of an answer")
    partial_answer = read_texts(tmp_path)[3]
    kill(tmp_path)
    terminal.wait_for("Killed")
    text = resume_plain(tmp_path)
    assert "The capital of France is Paris." in text and "What is Python used for?" in text
    assert partial_answer.split("\n")[0] in text
    assert read_draft(tmp_path) == "half a thou"


def read_texts(folder: Path) -> list[str]:
    """Return the stored messages of the latest conversation."""
    from mmtui.chat.history.history import History

    history = History(folder / "data" / "mmtui")
    texts = [message.text for message in history.conversation(history.latest() or "").thread]
    history.close()
    return texts


def read_draft(folder: Path) -> str:
    """Return the stored draft of the latest conversation."""
    from mmtui.chat.history.history import History

    history = History(folder / "data" / "mmtui")
    text = history.draft(history.latest() or "").text
    history.close()
    return text


def test_the_draft_of_an_empty_conversation_survives_a_kill(terminal, tmp_path):
    terminal.wait_for(r"^\$")
    terminal.type(f"{COMMAND} --model {tmp_path / 'no-model'}", "Enter")
    terminal.wait_for("Ask something")
    terminal.type("Dear diary")
    terminal.wait_until(lambda _: read_draft(tmp_path) == "Dear diary", "the draft in the store")
    kill(tmp_path)
    terminal.wait_for("Killed")
    terminal.type(f"clear; {COMMAND} --model {tmp_path / 'no-model'}", "Enter")
    terminal.wait_for("Dear diary")


def test_the_title_of_the_window_follows_the_conversation_and_is_restored(terminal, tmp_path):
    terminal.wait_for(r"^\$")
    terminal.type("printf '\\033]2;my shell\\a'; clear", "Enter")
    terminal.wait_until(lambda _: terminal.title == "my shell", "title of the shell")
    terminal.type(f"{COMMAND} --model {tmp_path / 'no-model'}", "Enter")
    terminal.wait_until(lambda _: terminal.title == "mmtui", "title of a new conversation")
    terminal.type("/rename Cats \N{CAT FACE}", "Enter")
    terminal.wait_until(lambda _: terminal.title == "Cats \N{CAT FACE} - mmtui", "new title")
    terminal.press("C-q")
    terminal.wait_until(lambda _: terminal.title == "my shell", "title of the shell")
