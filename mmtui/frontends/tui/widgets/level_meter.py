"""The microphone: its level while it records, and the seconds that are left."""

from typing import TYPE_CHECKING

from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from mmtui.audio.recorder import LIMIT_S, Microphone, Recording
from mmtui.errors import MmtuiError

if TYPE_CHECKING:
    from mmtui.pipeline.speech.sound import Clip

WIDTH = 24
HZ = 20


class LevelMeter(Static):
    """Out of sight while nothing is recorded. A recording ends by itself when it is full."""

    DEFAULT_CSS = "LevelMeter { display: none; height: 1; } LevelMeter.-on { display: block; }"

    class Recorded(Message):
        """A recording ended; `error` tells why it broke off, if it did."""

        def __init__(self, clip: "Clip", error: MmtuiError | None) -> None:
            super().__init__()
            self.clip, self.error = clip, error

    def __init__(self, microphone: Microphone) -> None:
        super().__init__("", id="meter", markup=False)
        self._microphone = microphone
        self._recording: Recording | None = None

    def on_mount(self) -> None:
        self.set_interval(1 / HZ, self._look)

    @property
    def is_recording(self) -> bool:
        return self._recording is not None

    def start_recording(self, device: str | None) -> None:
        self._recording = self._microphone.record(device)
        self._look()

    def stop_recording(self) -> None:
        """What there is comes as `Recorded`."""
        if (recording := self._recording) is not None:
            self._recording = None
            self.set_class(False, "-on")
            self.post_message(self.Recorded(recording.finish(), recording.error))

    def discard(self) -> None:
        """End it; nothing comes of it."""
        if self._recording is not None:
            self._recording.finish()
        self._recording = None
        self.set_class(False, "-on")

    def _look(self) -> None:
        if (recording := self._recording) is None:
            return
        if recording.is_full or recording.error is not None:
            self.stop_recording()
            return
        self.set_class(True, "-on")
        # By the root: half of the bar is what people speak at.
        bar = round(WIDTH * min(recording.level, 1.0) ** 0.5)
        left = max(LIMIT_S - recording.seconds, 0.0)
        self.update(
            Content.assemble(
                ("● ", "$error"),
                ("█" * bar, "$success"),
                "·" * (WIDTH - bar),
                f"  {left:4.1f} s left; the same key finishes, Esc discards",
            )
        )
