"""The engines of a model, each of which decodes the sequence of one request."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mmtui.pipeline.engines.engine import Engine
from mmtui.pipeline.prompt_memory import PromptMemory
from mmtui.pipeline.sequence import Position


class EnginePool:
    """Lends engines that compute together."""

    def __init__(self, engines: Sequence[Engine], memory: PromptMemory) -> None:
        """Start with all engines idle.

        Args:
            engines: At least one engine.
            memory: The caches of other conversations.
        """
        self._engines = list(engines)  # the one that was lent longest ago is first
        self._lent: list[Engine] = []
        self._memory = memory

    def __len__(self) -> int:
        return len(self._engines)

    @contextmanager
    def borrow(self, sequence: Sequence[Position]) -> Iterator[Engine]:
        """Lend an engine for a prompt, with the cache that saves reading most of it.

        A pool of one engine lends it again before it is returned: the request before is over.

        Args:
            sequence: The prompt.
        """
        engine = self._choose(sequence)
        self._lent.append(engine)
        try:
            self._memory.switch(engine, sequence)
            yield engine
        finally:
            self._lent.remove(engine)
            self._engines.remove(engine)
            self._engines.append(engine)

    def compute(self) -> None:
        """Compute what the engines have submitted, as `Engine.compute` describes."""
        self._engines[0].compute()

    def _choose(self, sequence: Sequence[Position]) -> Engine:
        """Return the engine that has most of a prompt, or else the one that was idle longest."""
        if len(self._engines) == 1:
            return self._engines[0]
        idle = (engine for engine in self._engines if engine not in self._lent)
        return max(idle, key=lambda engine: engine.count_cached(sequence))
