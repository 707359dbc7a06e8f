"""What a model has read of several conversations, in memory, so that they can alternate.

An engine has the KV cache of one conversation. Before another one replaces it, it is copied here.
"""

from collections.abc import Sequence

from mmtui import machine
from mmtui.pipeline.engines.engine import CacheCopy, Engine
from mmtui.pipeline.sequence import MIN_SHARED, Position, count_common


class PromptMemory:
    """Copies of KV caches within a limit; the one that was used longest ago is removed first."""

    def __init__(self, max_bytes: int) -> None:
        """Start without copies.

        Args:
            max_bytes: Limit of their size together; 0 makes no copies.
        """
        self._max_bytes = max_bytes
        self._copies: list[CacheCopy] = []  # the one that was used last comes last

    def switch(self, engine: Engine, sequence: Sequence[Position]) -> None:
        """Give an engine the KV cache that saves reading most of a prompt.

        Args:
            engine: The engine. Its present cache is copied if the prompt does not continue it.
            sequence: The prompt.
        """
        if not self._max_bytes:
            return
        common = count_common(engine.cached, sequence)
        best, best_common = self._find(sequence)
        if best is not None and best_common < common + MIN_SHARED:
            best = None
        if best is not None and len(best.positions) - best_common < MIN_SHARED:
            # The conversation continues, so it is copied again when another one replaces it.
            self._copies = [copy for copy in self._copies if copy is not best]
        if len(engine.cached) - common >= MIN_SHARED:
            self.add(engine)
        if best is not None:
            engine.restore_cache(best)

    def add(self, engine: Engine) -> None:
        """Copy the cache of an engine, and remove copies of what it continues."""
        if len(engine.cached) < MIN_SHARED:
            return
        limit = min(self._max_bytes, self._size + machine.get_free_memory() // 4)
        if (added := engine.copy_cache(limit)) is None:
            return
        self._copies = [copy for copy in self._copies if not _is_start(copy, added)]
        self._copies.append(added)
        while self._size > limit:
            del self._copies[0]

    def _find(self, sequence: Sequence[Position]) -> tuple[CacheCopy | None, int]:
        """Return the copy that has most of the start of a prompt in it, and how much that is."""
        best, most = None, 0
        for copy in self._copies:
            if (common := count_common(copy.positions, sequence)) > most:
                best, most = copy, common
        return best, most

    @property
    def _size(self) -> int:
        return sum(copy.size for copy in self._copies)


def _is_start(copy: CacheCopy, other: CacheCopy) -> bool:
    """Return whether all positions of a copy are also at the start of another one."""
    return count_common(copy.positions, other.positions) == len(copy.positions)
