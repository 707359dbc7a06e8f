"""The events of a model process, for tests that wait for them."""

import queue

from mmtui.chat.protocol import Event, Progress

TIMEOUT_S = 120


class ModelEvents:
    """Collects the events of a process, without Progress."""

    def __init__(self) -> None:
        self._events: queue.Queue[Event] = queue.Queue()

    def __call__(self, event: Event) -> None:
        self._events.put(event)

    def until(self, *kinds: type) -> list[Event]:
        """Return all events up to the first one of these kinds."""
        events: list[Event] = []
        while not events or not isinstance(events[-1], kinds):
            try:
                event = self._events.get(timeout=TIMEOUT_S)
            except queue.Empty:
                raise AssertionError(f"no further event after {events}") from None
            if not isinstance(event, Progress):
                events.append(event)
        return events
