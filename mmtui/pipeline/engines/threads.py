"""How many threads compute: one for each core that other processes leave free.

The threads of a decoding step wait for each other dozens of times, and they wait by spinning. If
another process uses one of their cores, all of them are blocked until the scheduler returns it: on
two cores with one busy process, two threads decode at a tenth of the speed of one.
"""

import math
import os
import time
from collections.abc import Callable

import psutil

from mmtui import machine

INTERVAL_S = 0.2  # between two measurements of the load; the kernel counts in steps of 10 ms
# A core counts as free if other processes use less than this share of it. A busy process gets two
# thirds of a core while two threads of ours compete for two cores.
_FREE_BELOW = 0.3


class ThreadCount:
    """Follows the load of the machine, which is measured while our threads compute.

    While there are more threads than cores, other processes get less than they need, so the first
    measurement may show too many free cores. Our threads become fewer, and the next measurement is
    more exact: 8 threads beside 3 busy processes on 8 cores become 6, then 5.

    Attributes:
        value: The number of threads to use.
    """

    def __init__(
        self,
        max_threads: int | None = None,
        read_times: Callable[[], tuple[float, float]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with all threads, and measure the load from now on.

        Args:
            max_threads: The largest number of threads; by default that of the usable cores.
            read_times: Returns the time that all cores have run, and how much of it other processes
                used, in seconds; asks the operating system by default.
            clock: Returns the time in seconds.
        """
        self.value = self._max_threads = max_threads or machine.count_cores()
        self._cores = psutil.cpu_count() or 1
        self._read_times = read_times or _read_times
        self._last = self._read_times()
        self._clock, self._measured_at = clock, clock()

    def update(self) -> None:
        """Measure the load if INTERVAL_S has passed, and set `value`."""
        if self._clock() - self._measured_at < INTERVAL_S:  # this is called for each token
            return
        total, others = self._read_times()
        passed = total - self._last[0]
        if passed <= 0:
            return
        self._measured_at = self._clock()
        free = self._cores * (1 - (others - self._last[1]) / passed)
        self._last = total, others
        self.value = min(self._max_threads, max(1, math.floor(free + _FREE_BELOW)))


def _read_times() -> tuple[float, float]:
    """Return the seconds that all cores have run, and how many other processes used."""
    times, own = psutil.cpu_times(), os.times()
    total = sum(getattr(times, name) for name in times._fields if not name.startswith("guest"))
    idle = times.idle + getattr(times, "iowait", 0.0)
    return total, total - idle - own.user - own.system
