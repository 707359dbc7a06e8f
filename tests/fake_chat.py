"""Run the chat with a fake model: `python tests/fake_chat.py [plain]`.

The message `m1` is answered by `answer-m1` at once. XDG_DATA_HOME has the history.
"""

import queue
import sys
import threading
from collections.abc import Callable

from fakes import FakeModel

from mmtui.chat.config import Config
from mmtui.chat.protocol import Completed, Event, Piece


class EchoingModel(FakeModel):
    """A fake model that answers from another thread; `send` receives the events."""

    send: Callable[[Event], object]

    def generate(self, turns, *options) -> int:
        number = super().generate(turns, *options)
        threading.Thread(target=self._answer, args=(number, turns[-1].text), daemon=True).start()
        return number

    def _answer(self, number: int, text: str) -> None:
        self.send(Piece(number, f"answer-{text}"))
        self.send(Completed(number, "stop", 20, 8, 1, 0.1, 50.0))


def run_full_screen(model: EchoingModel) -> int:
    from mmtui.frontends.tui.app import ChatApp

    app = ChatApp(Config(), model=model)
    model.send = app._receive_event
    app.run()
    if app.failure is not None:
        raise app.failure
    if app.unsaved is not None:
        print(app.unsaved.labelled, file=sys.stderr)
    return app.return_code or 0


def run_line_by_line(model: EchoingModel) -> int:
    from mmtui.frontends.plain import loop

    events: queue.Queue[Event] = queue.Queue()
    model.send = events.put
    loop.open_model = lambda *_: model
    loop.queue.Queue = lambda: events
    loop.run(Config(), None, [])
    return 0


if __name__ == "__main__":
    run = run_line_by_line if sys.argv[1:] == ["plain"] else run_full_screen
    sys.exit(run(EchoingModel()))
