"""Benchmark of decoding on busy cores, with adaptive and with fixed numbers of threads."""

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

PROCESSES = (1, 2)  # numbers of other processes, each of which keeps a core busy
ROUNDS = 9  # each speed is the median of this many interleaved runs
DECODED_S = 1.0  # duration of a run
_PROMPT = list(range(5, 37))  # arbitrary tokens, which do not influence the speed
# The program of a busy process, which also ends when its parent crashes.
_SPIN = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(100_000))"


@dataclass(frozen=True)
class BusySpeed:
    """Decoding speeds in tokens per second while other processes keep cores busy.

    Attributes:
        processes: The number of busy processes.
        fixed: The speed by number of threads, which is fixed.
        following: The speed with a number of threads that adapts to the load.
    """

    processes: int
    fixed: dict[int, float]
    following: float

    @property
    def ratio(self) -> float:
        """The speed with adaptive threads, divided by that of the best fixed number."""
        return self.following / max(self.fixed.values())


class FixedThreadCount(ThreadCount):
    """A number of threads that does not adapt to the load."""

    def update(self) -> None:
        """Keep the number of threads."""


def measure_busy(checkpoint: "Checkpoint", engine: EngineChoice, report: Report) -> list[BusySpeed]:
    """Measure the speed of decoding with each number of busy processes in `PROCESSES`.

    Args:
        checkpoint: The model.
        engine: The engine to measure.
        report: Receives the progress.

    Returns:
        The speeds for each number of processes.
    """
    from mmtui.pipeline.assistant import Assistant

    language = checkpoint.spec.language
    measured = loading.load_engine(
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
    threads = {count: FixedThreadCount(count) for count in counts} | {0: following}
    speeds = []
    for done, processes in enumerate(PROCESSES):
        report("measuring on busy cores", done, len(PROCESSES))
        runs: dict[int, list[float]] = {count: [] for count in threads}
        with _busy_processes(processes):
            time.sleep(2 * INTERVAL_S)  # until the load has been measured
            for _ in range(ROUNDS):
                for count, thread_count in threads.items():
                    measured.threads = thread_count
                    runs[count].append(_decode(measured))
        medians = {count: median(values) for count, values in runs.items()}
        speeds.append(BusySpeed(processes, {n: medians[n] for n in counts}, medians[0]))
    report("measuring on busy cores", 1, 1)
    return speeds


def _decode(engine: Engine) -> float:
    """Decode for DECODED_S, and return the tokens per second."""
    tokens = engine.stream(_PROMPT, {}, Sampler(GREEDY))
    next(tokens)
    start, count, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < DECODED_S:
        next(tokens)
        count, elapsed = count + 1, time.perf_counter() - start
    return count / elapsed


@contextmanager
def _busy_processes(count: int) -> Iterator[None]:
    """Keep this number of cores busy with other processes."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", _SPIN]))
            stack.callback(process.kill)
        yield
