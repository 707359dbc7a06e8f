"""The loudspeaker: one recording at a time is played."""

from pathlib import Path

from textual import work
from textual.widget import Widget
from textual.worker import get_current_worker

from mmtui.audio.recorder import Playback, Speaker
from mmtui.chat.notice import Notice
from mmtui.errors import MmtuiError
from mmtui.frontends.tui.messages import NoticePosted
from mmtui.pipeline import input_files


class Player(Widget):
    """Out of sight. What can't be played is posted as `NoticePosted`."""

    DEFAULT_CSS = "Player { display: none; }"

    def __init__(self, speaker: Speaker) -> None:
        super().__init__()
        self._speaker = speaker
        self._playing: Playback | None = None

    @property
    def is_playing(self) -> bool:
        return self._playing is not None

    @work(thread=True, group="play")
    def play(self, file: Path) -> None:
        worker = get_current_worker()
        try:
            sound = input_files.encode_wav(input_files.read_clip(file))
            if not worker.is_cancelled:
                self._playing = playing = self._speaker(sound)
                playing.wait()
                if self._playing is playing:
                    self._playing = None
        except MmtuiError as error:
            self.post_message(NoticePosted(Notice(str(error), error.hint)))

    def stop(self) -> None:
        self.workers.cancel_group(self, "play")
        if self._playing is not None:
            self._playing.stop()
            self._playing = None
