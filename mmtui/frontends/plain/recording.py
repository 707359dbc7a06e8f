"""Wait for the end of a recording while its remaining time is shown."""

import math
import sys
from collections.abc import Callable

from mmtui.audio.recorder import LIMIT_S, Recording
from mmtui.frontends.plain.chat import POLL_S
from mmtui.frontends.plain.console import print_note
from mmtui.frontends.stdin import LineReader


def wait_for_end(
    recording: Recording, stdin: LineReader, is_interrupted: Callable[[], bool]
) -> None:
    """Wait for Enter, Ctrl+C, the time limit or an error of the microphone.

    A terminal shows the seconds that are left. A line with text ends the recording, too; it is put
    back, to be read as the next message.
    """
    has_countdown = sys.stderr.isatty()
    if not has_countdown:
        print_note(f"recording: press Enter to finish (at most {LIMIT_S:.0f} s)")
    line: str | None = None
    seconds_shown = -1
    while line is None and not (recording.is_full or recording.error or is_interrupted()):
        seconds_left = math.ceil(LIMIT_S - recording.seconds)
        if has_countdown and seconds_left != seconds_shown:
            text = f"\rrecording: press Enter to finish ({seconds_left} s left) "
            print(text, end="", file=sys.stderr, flush=True)
            seconds_shown = seconds_left
        line = stdin.read(POLL_S)
    is_enter_echoed = line and sys.stdin.isatty()
    if has_countdown and not is_enter_echoed:
        print(file=sys.stderr)
    if line and line.strip():
        stdin.unread(line)
