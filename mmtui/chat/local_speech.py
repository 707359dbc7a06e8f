"""Speech recognition on this machine, for a chat whose model a server runs."""

import dataclasses
import threading
from collections.abc import Callable

from mmtui.chat.config import LOCAL_MODEL
from mmtui.chat.model_process import ModelProcess
from mmtui.chat.protocol import Died, Event, Failed, Prepared, Progress, Transcribed
from mmtui.pipeline.assets.spec import SpeechChoice


class LocalSpeech:
    """Transcribes recordings in a model process, which starts with the first one."""

    def __init__(self, on_event: Callable[[Event], None], speech: SpeechChoice) -> None:
        self._on_event = on_event
        self.process = ModelProcess(LOCAL_MODEL, self._forward, speech=speech)
        self._numbers: dict[int, int] = {}  # of the requests of the chat, by those of the process
        self._starting: list[int] = []  # requests that may have to start the process
        self._lock = threading.RLock()

    def request(self, number: int, send: Callable[[], int]) -> int:
        """Send a request to the process for the request `number` of the chat; return `number`."""
        with self._lock:
            self._starting.append(number)
            sent = send()
            if self._starting:
                self._numbers[sent] = self._starting.pop()
        return number

    def close(self) -> None:
        """End the process."""
        self.process.close()

    def _forward(self, event: Event) -> None:
        """Pass on an event, as one of the request of the chat."""
        with self._lock:
            if isinstance(event, Prepared | Transcribed | Failed):
                number = self._numbers.pop(event.number)
                self._on_event(dataclasses.replace(event, number=number))
            elif isinstance(event, Died):  # the server is alive, so only these requests fail
                for number in (*self._numbers.values(), *self._starting):
                    self._on_event(Failed(number, event.message, event.hint, event.traceback))
                self._numbers.clear()
                self._starting.clear()
            elif isinstance(event, Progress):
                self._on_event(event)
