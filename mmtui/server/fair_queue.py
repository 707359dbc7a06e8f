"""A queue in which clients take turns."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items of each client leave in the order in which they came; clients take turns."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Item]] = {}  # the client that is next comes first

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in the order in which they will leave if no other item comes."""
        lines = [deque(line) for line in self._lines.values()]
        while lines:
            for line in lines:
                yield line.popleft()
            lines = [line for line in lines if line]

    def put(self, client: str, item: Item) -> None:
        """Add an item."""
        self._lines.setdefault(client, deque()).append(item)

    def pop(self) -> Item | None:
        """Remove and return the next item; None if there is none."""
        client = next(iter(self._lines), None)
        if client is None:
            return None
        line = self._lines.pop(client)
        item = line.popleft()
        if line:
            self._lines[client] = line  # behind the other clients
        return item

    def remove(self, client: str, item: Item) -> bool:
        """Remove an item; return whether it was in the queue."""
        line = self._lines.get(client, deque())
        if item not in line:
            return False
        line.remove(item)
        if not line:
            del self._lines[client]
        return True
