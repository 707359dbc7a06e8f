"""Record with the microphone, and show the level and the remaining time."""

from typing import TYPE_CHECKING

from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from mmtui.audio.recorder import LIMIT_S, Microphone, Recording
from mmtui.errors import MmtuiError

if TYPE_CHECKING:
    from mmtui.pipeline.speech.clip import Clip

WIDTH = 24
UPDATES_PER_S = 20


class LevelMeter(Static):
    """A line that is shown while a recording is in progress, which ends at its time limit."""

    DEFAULT_CSS = "LevelMeter { display: none; height: 1; } LevelMeter.-on { display: block; }"

    class Recorded(Message):
        """A recording ended; `error` is why the microphone failed, if it did."""

        def __init__(self, clip: "Clip", error: MmtuiError | None) -> None:
            super().__init__()
            self.clip, self.error = clip, error

    def __init__(self, microphone: Microphone) -> None:
        super().__init__("", id="meter", markup=False)
        self._microphone = microphone
        self._recording: Recording | None = None

    def on_mount(self) -> None:
        self._meter_timer = self.set_interval(1 / UPDATES_PER_S, self._update_meter, pause=True)

    @property
    def is_recording(self) -> bool:
        """Whether a recording is in progress."""
        return self._recording is not None

    def start_recording(self, device: str | None) -> None:
        """Start recording; None selects the system's default device."""
        self._recording = self._microphone.record(device)
        self._meter_timer.resume()
        self._update_meter()

    def stop_recording(self) -> None:
        """End the recording and post it as `Recorded`."""
        if (recording := self._recording) is not None:
            self._hide()
            self.post_message(self.Recorded(recording.finish(), recording.error))

    def discard(self) -> None:
        """End the recording without posting it."""
        if self._recording is not None:
            self._recording.finish()
        self._hide()

    def _hide(self) -> None:
        self._recording = None
        self._meter_timer.pause()
        self.set_class(False, "-on")

    def _update_meter(self) -> None:
        if (recording := self._recording) is None:
            return
        if recording.is_full or recording.error is not None:
            self.stop_recording()
            return
        self.set_class(True, "-on")
        # The square root makes the level of speech about half of the bar.
        bar = round(WIDTH * min(recording.level, 1.0) ** 0.5)
        left = max(LIMIT_S - recording.seconds, 0.0)
        self.update(
            Content.assemble(
                ("● ", "$error"),
                f"{left:4.1f} s left  ",
                ("█" * bar, "$success"),
                "·" * (WIDTH - bar),
                "  same key to finish, Esc to discard",
            )
        )
