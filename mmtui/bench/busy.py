"""Decoding beside other busy processes: threads that follow the load against fixed numbers."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from mmtui.machine import count_cores
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assets.spec import EngineChoice
from mmtui.pipeline.engines import loading
from mmtui.pipeline.engines.engine import Engine
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.engines.threads import INTERVAL_S, ThreadCount

if TYPE_CHECKING:
    from mmtui.pipeline.assets.checkpoint import Checkpoint

PROCESSES = (1, 2)  # other processes, each of which wants a whole core
ROUNDS = 3  # a speed is the median of as many runs, which take turns
DECODED_S = 1.0  # of each run
_PROMPT = list(range(5, 37))  # any tokens will do: the speed does not depend on them
# Ends with its parent, however that ends.
_SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"


@dataclass(frozen=True)
class BusySpeed:
    """Decoding speeds beside a number of busy processes, in tokens per second.

    Attributes:
        processes: The number of busy processes.
        fixed: The speed with each fixed number of threads that was tried.
        following: The speed with threads that follow the load.
    """

    processes: int
    fixed: dict[int, float]
    following: float

    @property
    def ratio(self) -> float:
        """The speed with threads that follow the load, relative to the best fixed number."""
        return self.following / max(self.fixed.values())


class _FixedThreadCount(ThreadCount):
    def update(self) -> None:
        """Keep the number of threads."""


def measure_busy(checkpoint: "Checkpoint", engine: EngineChoice, report: Report) -> list[BusySpeed]:
    """Measure decoding beside each number of busy processes in `PROCESSES`.

    Args:
        checkpoint: The model.
        engine: The engine to measure.
        report: Called as the model is loaded and measured.
    """
    from mmtui.pipeline.assistant import Assistant

    language = checkpoint.spec.language
    loaded = loading.load_engine(
        Assistant(checkpoint, report, engine).engine,
        fetch.fetch(language.weights, report),
        precision=language.precision,
        adapter=checkpoint.adapter,
        prompt_lookup=False,
        report=report,
    )
    cores = count_cores()
    counts = sorted({1, max(1, cores // 2), max(1, cores - 1), cores})
    following = ThreadCount()
    threads = {count: _FixedThreadCount(count) for count in counts} | {0: following}
    speeds = []
    for done, processes in enumerate(PROCESSES):
        report("measuring beside busy processes", done, len(PROCESSES))
        runs: dict[int, list[float]] = {count: [] for count in threads}
        with _busy_processes(processes):
            time.sleep(2 * INTERVAL_S)  # a person asks later than that, so the load is known
            for _ in range(ROUNDS):
                for count, chosen in threads.items():
                    loaded.threads = chosen
                    runs[count].append(_decode(loaded))
        medians = {count: median(values) for count, values in runs.items()}
        speeds.append(BusySpeed(processes, {n: medians[n] for n in counts}, medians[0]))
    report("measuring beside busy processes", 1, 1)
    return speeds


def _decode(engine: Engine) -> float:
    """Return the tokens per second."""
    tokens = engine.stream(_PROMPT, {}, Sampler(GREEDY))
    next(tokens)
    start, count, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < DECODED_S:
        next(tokens)
        count, elapsed = count + 1, time.perf_counter() - start
    return count / elapsed


@contextmanager
def _busy_processes(count: int) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", _SPIN]))
            stack.callback(process.kill)
        yield
