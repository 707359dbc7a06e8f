"""Waiting until an app of Textual is idle.

Textual's own `wait_for_idle`, which follows each key, sleeps for 20 ms, and takes an app for idle
that used little of the processor meanwhile. On a busy machine, an app that did not get the
processor is then taken for idle, and tests fail at random.
"""

import asyncio
import math

import pytest
import textual.app
import textual.pilot
import textual.screen

SOON_S = 0.02  # a timer that is due then is awaited
SCREEN_UPDATE_S = 0.002  # so often are changes drawn, instead of 60 times per second
THREAD_S = 0.001  # without it, a loop that waits for a thread would keep it from running


async def wait_for_idle(_: float = 0, max_sleep: float = 1) -> None:
    """Wait until no task of the event loop is ready, and no timer is due soon.

    Args:
        max_sleep: How long to wait at most; some timers are always due soon.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + max_sleep
    await asyncio.sleep(THREAD_S)
    while True:
        while loop._ready and loop.time() < deadline:
            await asyncio.sleep(0)
        now = loop.time()
        timers = (handle.when() for handle in loop._scheduled if not handle.cancelled())
        due = min(timers, default=math.inf)
        if due > min(now + SOON_S, deadline):
            return
        await asyncio.sleep(due - now)


def install(patch: pytest.MonkeyPatch) -> None:
    """Have pilots wait with `wait_for_idle`."""
    patch.setattr(textual.screen, "UPDATE_PERIOD", SCREEN_UPDATE_S)
    for module in (textual.app, textual.pilot):
        patch.setattr(module, "wait_for_idle", wait_for_idle)
