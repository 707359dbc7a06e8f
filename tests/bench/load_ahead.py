"""How long a chat waits for its first token, cold and loaded ahead.

    python tests/bench/load_ahead.py [--model NAME] [--rounds N]

Prints one JSON document with medians in seconds, for each installed engine:

- "command_to_prompt_s": from the command to a prompt that echoes a key, while the model is loaded.
- "load_s": from the start of the model process until everything that can be loaded ahead is.
- "text", "picture", "history": from Enter to the first token of the answer to a short question, to
  a question with a picture, and to a question in a resumed conversation of about 2000 tokens.
  "cold": the process starts with the question. "ahead": all that can be prepared was prepared.
- "resume": with a loaded model, from opening this conversation until its history is in the KV
  cache. "read": computed. "restored": read from disk.
- "stored_bytes": the size of that file.

A session with its model process is measured, as the user interfaces use it.
"""

import argparse
import json
import queue
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from mmtui.bench.measure import describe_machine
from mmtui.chat import attachments
from mmtui.chat.config import Config
from mmtui.chat.conversation import Attachment, Conversation
from mmtui.chat.history.history import History
from mmtui.chat.model_process import ModelProcess
from mmtui.chat.notice import Notice
from mmtui.chat.protocol import Died, Event, Failed, Piece, Prepared
from mmtui.chat.session import Session
from mmtui.pipeline import prompt_folder
from mmtui.pipeline.assets.spec import EngineName
from mmtui.pipeline.engines import selection

sys.path.insert(0, str(Path(__file__).parent))
from chat import start

DAYS = 110  # sentences that make up about 2000 tokens
STORAGE_MB = 1000
PATIENCE_S = 300


class Chat:
    """A session with a model process, whose events are handled in this thread."""

    def __init__(self, config: Config, history: History) -> None:
        self._events: queue.Queue[Event] = queue.Queue()
        process = ModelProcess(config.model, self._events.put, config.engine)
        self.session = Session(process, history, config, _show)

    def wait_for(self, kind: type, count: int = 1) -> None:
        """Handle events until so many of a kind have come."""
        while count:
            event = self._events.get(timeout=PATIENCE_S)
            self.session.handle_event(event)
            if isinstance(event, Failed | Died):
                sys.exit(event.message)
            count -= isinstance(event, kind)

    def ask(self, files: tuple[Attachment, ...]) -> float:
        """Return the seconds until the first token of an answer."""
        began = time.perf_counter()
        self.session.send("What is this?" if files else "Why is the sky blue?", files)
        self.wait_for(Piece)
        seconds = time.perf_counter() - began
        self.session.stop()
        return seconds


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--model", default="smol")
    options.add_argument("--rounds", type=int, default=3)
    arguments = options.parse_args()
    engines: list[EngineName] = ["llamacpp", "torch"] if selection.is_installed() else ["torch"]
    found: dict[str, Any] = {"machine": describe_machine()}
    with tempfile.TemporaryDirectory() as folder:
        found["command_to_prompt_s"] = start(Path(folder))["start_s"]
        for engine in engines:
            print(engine, file=sys.stderr)
            config = Config(model=arguments.model, engine=engine)
            history = History(Path(folder) / engine)
            found[engine] = Bench(config, history).measure(arguments.rounds)
    print(json.dumps(found, indent=2))


class Bench:
    """Measurements of one engine. Each starts a new model process."""

    def __init__(self, config: Config, history: History) -> None:
        self._config, self._history = config, history
        self._stored = _store_conversation(history)
        self._picture = Path(history.folder) / "picture.png"
        Image.linear_gradient("L").resize((1024, 768)).save(self._picture)

    @contextmanager
    def open(self, storage_mb: int = 0) -> Iterator[Chat]:
        """Open a chat, and end its process."""
        chat = Chat(self._config.replace(prompt_storage=storage_mb), self._history)
        try:
            yield chat
        finally:
            chat.session._model.close()  # the history stays open for the next chat

    def load(self) -> float:
        """Return the seconds until everything is loaded that can be."""
        with self.open() as chat:
            began = time.perf_counter()
            chat.session.load()
            chat.wait_for(Prepared)
            return time.perf_counter() - began

    def text(self, *, is_ahead: bool) -> float:
        """Return the seconds to the first token of a short question."""
        with self.open() as chat:
            if is_ahead:
                chat.session.load()
                chat.wait_for(Prepared)
            return chat.ask(())

    def picture(self, *, is_ahead: bool) -> float:
        """Return the seconds to the first token of a question with a picture."""
        with self.open() as chat:
            files = (chat.session.store_attachment(attachments.load(self._picture)),)
            if is_ahead:
                chat.session.load()
                chat.session.prepare_attachments(files)
                chat.wait_for(Prepared, 2)
            return chat.ask(files)

    def history(self, *, is_ahead: bool) -> float:
        """Return the seconds to the first token in a resumed conversation."""
        with self.open() as chat:
            if is_ahead:
                chat.session.load()
            chat.session.resume(self._stored)
            if is_ahead:
                chat.wait_for(Prepared, 2)
            return chat.ask(())

    def resume(self, storage_mb: int) -> float:
        """Return the seconds to read the history, or to restore it if it was stored."""
        with self.open(storage_mb) as chat:
            chat.session.load()
            chat.wait_for(Prepared)
            began = time.perf_counter()
            chat.session.resume(self._stored)
            chat.wait_for(Prepared)
            return time.perf_counter() - began

    def measure(self, rounds: int) -> dict[str, Any]:
        """Return the medians of all measurements."""
        self.load()  # weights are converted and the tower is exported once
        figures: dict[str, Any] = {"load_s": _repeat(self.load, rounds)}
        for name, case in (
            ("text", self.text),
            ("picture", self.picture),
            ("history", self.history),
        ):
            figures[name] = {
                "cold": _repeat(partial(case, is_ahead=False), rounds),
                "ahead": _repeat(partial(case, is_ahead=True), rounds),
            }
        read = _repeat(partial(self.resume, 0), rounds)
        self.resume(STORAGE_MB)  # stores it
        restored = _repeat(partial(self.resume, STORAGE_MB), rounds)
        figures["resume"] = {"read": read, "restored": restored}
        figures["stored_bytes"] = prompt_folder.get_path(self._stored).stat().st_size
        prompt_folder.remove(self._stored)
        return figures


def _repeat(measure: Callable[[], float], rounds: int) -> float:
    return median(measure() for _ in range(rounds))


def _store_conversation(history: History) -> str:
    """Store a long question with its answer; return the id of the conversation."""
    conversation = Conversation()
    days = (f"On day {d} the harbour was {d * 7 % 31} steps from {d}. " for d in range(DAYS))
    history.save(conversation, conversation.say("".join(days)))
    answer = conversation.answer()
    answer.text, answer.state = "So it was.", "complete"
    history.save(conversation, answer)
    return conversation.id


def _show(notice: Notice) -> None:
    print(notice.text, file=sys.stderr)


if __name__ == "__main__":
    main()
