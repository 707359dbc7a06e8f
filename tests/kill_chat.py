"""Kill chats at random moments and check that the history has lost nothing.

    python tests/kill_chat.py [KILLS] [SEED]

Each chat runs in a new pseudo-terminal, full-screen or line by line, and is ended by SIGKILL,
SIGTERM or SIGHUP. Every message that was answered on the screen must be in the history afterwards;
after SIGTERM and SIGHUP, the text that was being typed must be in the draft, too.
"""

import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mmtui.chat.history.history import History

CHAT = Path(__file__).with_name("fake_chat.py")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
PROMPTS = {"screen": "Ask something", "plain": ">"}
START_TIMEOUT_S = 60.0  # until the prompt appears
MAX_RUN_S = 3.0  # from the first answer to the kill


class TerminalChat:
    """A chat in a pseudo-terminal."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self._terminal, child = pty.openpty()
        environment = {**os.environ, "XDG_DATA_HOME": str(home), "TERM": "xterm-256color"}
        self._process = subprocess.Popen(
            [sys.executable, CHAT, *arguments], stdin=child, stdout=child, stderr=child,
            env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(child)
        self.output = b""

    def __enter__(self) -> "TerminalChat":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait_for(self, text: str, within_s: float) -> bool:
        """Read until a text is in the output, or time is up. Returns whether it is."""
        end = time.monotonic() + within_s
        while text.encode() not in self.output and time.monotonic() < end:
            self.read(0.05)
        return text.encode() in self.output

    def read(self, seconds: float) -> None:
        if select.select([self._terminal], [], [], seconds)[0]:
            try:
                self.output += os.read(self._terminal, 65536)
            except OSError:  # it has ended
                time.sleep(seconds)

    def end(self, number: signal.Signals) -> int:
        """End the chat by a signal; before SIGHUP, close the terminal. Returns the exit code."""
        if number == signal.SIGHUP:
            os.close(self._terminal)
        self._process.send_signal(number)
        while number != signal.SIGHUP and self._process.poll() is None:
            self.read(0.05)
        code = self._process.wait(60)
        if number != signal.SIGHUP:
            os.close(self._terminal)
        return code


def kill_one(home: Path, name: str, generator: random.Random) -> tuple[str, list[str]]:
    """Run one chat and kill it. Returns how it was killed, and what is missing afterwards."""
    number, kind = generator.choice(SIGNALS), generator.choice(list(PROMPTS))
    done, draft = f"{number.name} {kind}", f"draft-of-{name}"
    with TerminalChat(home, *(["plain"] if kind == "plain" else [])) as chat:
        chat.wait_for(PROMPTS[kind], START_TIMEOUT_S)
        chat.type(f"{name}-0\r")
        if not chat.wait_for(f"answer-{name}-0", START_TIMEOUT_S):
            return done, [f"{name} did not start: {chat.output[-300:]!r}"]
        sent, end = 1, time.monotonic() + generator.uniform(0, MAX_RUN_S)
        while time.monotonic() < end:
            chat.type(f"{name}-{sent}\r")
            if generator.random() < 0.5:
                chat.wait_for(f"answer-{name}-{sent}", 1.0)
            sent += 1
            chat.read(generator.uniform(0, 0.05))
        if kind == "screen" and chat.wait_for(f"answer-{name}-{sent - 1}", 5.0):
            chat.type(draft)
            chat.wait_for(draft, 5.0)
        code = chat.end(number)
    return done, find_losses(home, name, chat.output, draft, number, code)


def find_losses(
    home: Path, name: str, output: bytes, draft: str, number: signal.Signals, code: int
) -> list[str]:
    """Compare the output of a chat with the history. Returns what is missing there."""
    history = History(home / "mmtui")
    # Text that was typed too early for an answer is sent with the next message.
    sent = set(re.findall(rf"{name}-\d+", "\n".join(history.recent_prompts(1_000_000))))
    lost = [
        text
        for text in (f"{name}-{number}" for number in range(10_000))
        if f"answer-{text}".encode() in output and text not in sent
    ]
    if number != signal.SIGKILL and draft.encode() in output:
        drafts = [history.draft(found.id).text for found in history.search(f"{name}-0")]
        lost += [draft] * (draft not in drafts)
    # The end of the terminal may be noticed before the signal.
    if number != signal.SIGHUP and code not in (-number, 128 + number):
        lost.append(f"exit code {code} after {number.name}")
    history.close(purge=False)
    return lost


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1000)
    generator, done, lost = random.Random(seed), Counter[str](), list[str]()
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as home:
        for index in range(kills):
            description, missing = kill_one(Path(home), f"chat{index}", generator)
            done[description] += 1
            lost += [f"{description}: {each}" for each in missing]
            for each in missing:
                print(f"lost by {description}: {each}", flush=True)
    print(*(f"{count:4} {description}" for description, count in sorted(done.items())), sep="\n")
    print(f"{kills} kills, {len(lost)} losses")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
