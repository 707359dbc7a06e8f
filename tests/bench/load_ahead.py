"""How long a chat waits for its first token, cold and loaded ahead.

    python tests/bench/load_ahead.py [--model NAME] [--rounds N]

Prints one JSON document with medians in seconds, for each installed engine:

- "command_to_prompt_s": from the command to a prompt that echoes a key, while the model is loaded.
- "load_s": from the start of the model process until everything that can be loaded ahead is.
- "text", "picture", "history": from Enter to the first token of the answer to a short question, to
  a question with a picture, and to a question in a resumed conversation of about 2000 tokens.
  "cold": the process starts with the question. "ahead": all that can be prepared was prepared.

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
from mmtui.pipeline.assets.spec import EngineName
from mmtui.pipeline.engines import selection

sys.path.insert(0, str(Path(__file__).parent))
from chat import start

DAYS = 110  # sentences that make up about 2000 tokens
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
            found[engine] = measure(config, history, arguments.rounds)
    print(json.dumps(found, indent=2))


def measure(config: Config, history: History, rounds: int) -> dict[str, Any]:
    """Measure one engine."""
    stored = _store_conversation(history)
    picture = Path(history.folder) / "picture.png"
    Image.linear_gradient("L").resize((1024, 768)).save(picture)

    @contextmanager
    def opened() -> Iterator[tuple[Chat, tuple[Attachment, ...]]]:
        chat = Chat(config, history)
        attachment = chat.session.store_attachment(attachments.load(picture))
        try:
            yield chat, (attachment,)
        finally:
            chat.session._model.close()  # the history stays open for the next round

    def load() -> float:
        with opened() as (chat, _):
            began = time.perf_counter()
            chat.session.load()
            chat.wait_for(Prepared)
            return time.perf_counter() - began

    def text(*, is_ahead: bool) -> float:
        with opened() as (chat, _):
            if is_ahead:
                chat.session.load()
                chat.wait_for(Prepared)
            return chat.ask(())

    def with_picture(*, is_ahead: bool) -> float:
        with opened() as (chat, files):
            if is_ahead:
                chat.session.load()
                chat.session.prepare_attachments(files)
                chat.wait_for(Prepared, 2)
            return chat.ask(files)

    def in_history(*, is_ahead: bool) -> float:
        with opened() as (chat, _):
            if is_ahead:
                chat.session.load()
            chat.session.resume(stored)
            if is_ahead:
                chat.wait_for(Prepared, 2)
            return chat.ask(())

    cases: dict[str, Callable[..., float]] = {
        "text": text,
        "picture": with_picture,
        "history": in_history,
    }
    load()  # whatever is converted or exported once
    figures: dict[str, Any] = {"load_s": median(load() for _ in range(rounds))}
    for name, case in cases.items():
        figures[name] = {
            "cold": median(case(is_ahead=False) for _ in range(rounds)),
            "ahead": median(case(is_ahead=True) for _ in range(rounds)),
        }
    return figures


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
