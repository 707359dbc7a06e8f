"""How many threads compute: one for each core that other processes leave free.

The threads of a decoding step wait for each other dozens of times, and they wait by spinning. If
another process takes one of their cores, all of them stand still until the scheduler gives it back:
on two cores with one busy process, two threads decode at a tenth of the speed of one.
"""

import math
import time
from collections.abc import Callable

import psutil

from mmtui import machine

INTERVAL_S = 0.2  # between two looks at the load; the kernel counts in steps of 10 ms
# A core counts as free if others take less than this share of it. A process that wants all of it
# gets two thirds while two threads of ours compete for two cores.
_SHARE = 0.3


class ThreadCount:
    """Follows the load of the machine, which is measured while threads of ours compute.

    Where there are more threads than cores, the scheduler gives others less than they want, so a
    measurement may show too many free cores. With fewer threads the next shows fewer: 8 threads
    beside 3 busy processes on 8 cores become 6, then 5.

    Attributes:
        value: The number of threads to use.
    """

    def __init__(
        self,
        most: int | None = None,
        read: Callable[[], tuple[float, float]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with all threads, and measure the load from now on.

        Args:
            most: The largest number of threads; that of the usable cores by default.
            read: Returns the time that all cores have run, and what other processes used of it,
                in seconds; asks the operating system by default.
            clock: Returns the time in seconds.
        """
        self.value = self._most = most or machine.count_cores()
        self._cores = psutil.cpu_count() or 1
        self._read = read or _read_times
        self._last = self._read()
        self._clock, self._measured_at = clock, clock()

    def update(self) -> None:
        """Measure again if the last measurement is old enough, and set `value`."""
        if self._clock() - self._measured_at < INTERVAL_S:  # asking takes 40 us, for each token
            return
        total, others = self._read()
        passed = total - self._last[0]
        if passed <= 0:
            return
        self._measured_at = self._clock()
        free = self._cores * (1 - (others - self._last[1]) / passed)
        self._last = total, others
        self.value = min(self._most, max(1, math.floor(free + _SHARE)))


def _read_times() -> tuple[float, float]:
    times = psutil.cpu_times()
    own = psutil.Process().cpu_times()
    total = sum(getattr(times, name) for name in times._fields if not name.startswith("guest"))
    idle = times.idle + getattr(times, "iowait", 0.0)
    return total, total - idle - own.user - own.system
