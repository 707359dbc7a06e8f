"""What the chat's screen costs: the start, a stream, memory, search.

    python tests/bench/chat.py

Each measurement is a process of its own. Prints one JSON document; the bars that the project
sets itself stand beside the figures. No model is loaded, so that none is measured.

- "start": from the command to a prompt that echoes a key, in a terminal that answers no question;
  the best of five.
- "stream": the longest time in which the screen did nothing else, while 100 tokens/s are written
  into a conversation of 50 messages.
- "memory": of the process after a conversation of 500 messages with 50 pictures was opened and
  read to its beginning.
- "search": over 10 000 messages, the slowest of four questions.
"""

import argparse
import asyncio
import json
import os
import pty
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from mmtui.chat.conversation import Attachment, Conversation
from mmtui.chat.history.history import History
from mmtui.frontends.tui.launch import defer_full_collections

sys.path.insert(0, str(Path(__file__).parents[1]))
from user import open_chat

ANSWER = """The **river** runs from the mountains to the sea; here is how:

1. snow melts in spring,
2. `streams` join,
3. and the valley widens.

| month | flow |
|---|---|
| May | 120 |
| June | 180 |

```python
def flow(month: int) -> float:
    return 120.0 + 60.0 * (month == 6)
```
"""
BARS = {"start_s": 0.5, "longest_gap_s": 0.1, "slowest_search_s": 0.05}


def main() -> None:
    defer_full_collections()  # as the chat does
    options = argparse.ArgumentParser()
    options.add_argument("--case", choices=["start", "stream", "memory", "search"])
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.case:
            print(json.dumps(globals()[arguments.case](Path(folder))))
            return
    found: dict[str, Any] = {}
    for case in ("start", "stream", "memory", "search"):
        command = [sys.executable, __file__, "--case", case]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found |= json.loads(output.splitlines()[-1])
        print(case, output.splitlines()[-1], file=sys.stderr)
    print(json.dumps({"figures": found, "bars": BARS}, indent=2))


def start(folder: Path) -> dict[str, Any]:
    took = [_started(folder / f"{number}") for number in range(5)]  # no draft of the one before
    return {"start_s": min(took), "starts_s": sorted(took)}


def _started(folder: Path) -> float:
    """Seconds until the prompt echoes; the chat is quit afterwards."""
    home = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    environment = os.environ | home | {"TERM": "xterm-256color", "MMTUI_MODEL": ""}
    began = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(sys.executable, [sys.executable, "-m", "mmtui"], environment)
    _until(terminal, b"sk something")  # the cursor stands on the first letter
    os.write(terminal, b"Q")
    _until(terminal, b"Q")
    took = time.perf_counter() - began
    os.write(terminal, b"\x11")
    _until(terminal, b"\x1b[?1049l")
    os.close(terminal)
    os.waitpid(pid, 0)
    return took


def _until(terminal: int, sign: bytes) -> None:
    seen = b""
    while sign not in seen:
        ready, _, _ = select.select([terminal], [], [], 60)
        seen += os.read(terminal, 65536) if ready else sys.exit("the chat does not start")


def stream(folder: Path) -> dict[str, Any]:
    _fill(folder, messages=50, pictures=0)
    return asyncio.run(_streamed(folder))


async def _streamed(folder: Path, tokens: int = 1000, per_s: float = 100.0) -> dict[str, Any]:
    """A task that wants to run each millisecond tells how long it had to wait."""
    async with open_chat(folder, size=(120, 40), resume="latest") as user:
        await user.type("How does a river run?", "enter")
        pieces = [ANSWER[at : at + 4] for at in range(0, len(ANSWER), 4)]
        gaps: list[float] = []

        async def watch() -> None:
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.001)
                gaps.append(time.perf_counter() - before)

        watching = asyncio.create_task(watch())
        began = time.perf_counter()
        for number in range(tokens):
            await asyncio.sleep(max(began + number / per_s - time.perf_counter(), 0))
            user.stream_piece(pieces[number % len(pieces)])
        said = "".join(pieces[number % len(pieces)] for number in range(tokens))
        while user.texts[-1] != said:
            await asyncio.sleep(0.001)
        took = time.perf_counter() - began
        watching.cancel()
        slow = float(np.quantile(gaps, 0.99))
        return {"longest_gap_s": max(gaps), "gap_99_s": slow, "tokens_per_s": tokens / took}


def memory(folder: Path) -> dict[str, Any]:
    _fill(folder, messages=500, pictures=50)
    return asyncio.run(_read_through(folder))


async def _read_through(folder: Path) -> dict[str, Any]:
    process = psutil.Process()
    async with open_chat(folder, size=(120, 40)) as user:
        empty = process.memory_info().rss
        began = time.perf_counter()
        await user.type("/resume", "enter")
        await user.press("down", "enter")
        took = time.perf_counter() - began
        shown = process.memory_info().rss
        while user.earlier:
            user.earlier.focus()
            await user.press("enter")
        assert len(user.messages) == 500
        whole = process.memory_info().rss
        mib = {"empty": empty, "opened": shown, "read_through": whole}
        return {
            "open_500_messages_s": took,
            "memory_mib": {name: size / 2**20 for name, size in mib.items()},
        }


def search(folder: Path) -> dict[str, Any]:
    history = _fill(folder, messages=20, pictures=0, conversations=500)
    took = []
    for words in ("river", "may flow", "number77", "nothing of the kind"):
        began = time.perf_counter()
        history.search(words)
        took.append(time.perf_counter() - began)
    return {"slowest_search_s": max(took)}


def _fill(folder: Path, messages: int, pictures: int, conversations: int = 1) -> History:
    """Questions, some with a random picture, and answers."""
    history = History(folder)
    history._database.read("PRAGMA synchronous = OFF")
    chance = np.random.default_rng(0)
    for at in range(conversations):
        conversation = Conversation()
        for number in range(messages // 2):
            files: tuple[Attachment, ...] = ()
            if number < pictures:
                file = folder / "photo.jpg"
                pixels = chance.integers(0, 255, (30, 40, 3), np.uint8)
                Image.fromarray(pixels).resize((1600, 1200)).save(file)
                data = file.read_bytes()
                kept = history.add_attachment(data)
                files = (Attachment(kept, "image", f"{number}.jpg", len(data), "1600 x 1200"),)
            said = conversation.say(f"What about number{at} {number}?", files)
            history.save(conversation, said)
            answer = conversation.answer()
            answer.text, answer.state = ANSWER, "complete"
            history.save(conversation, answer)
    return history


if __name__ == "__main__":
    main()
