"""Play recordings, one at a time."""

from pathlib import Path

from textual import work
from textual.widget import Widget
from textual.worker import get_current_worker

from mmtui.audio.player import Playback, Speaker, play_wav
from mmtui.chat.notice import Notice
from mmtui.errors import MmtuiError
from mmtui.frontends.tui.messages import NoticePosted
from mmtui.pipeline import input_files


class Player(Widget):
    """An invisible widget that plays recordings; it posts errors as `NoticePosted`."""

    DEFAULT_CSS = "Player { display: none; }"

    def __init__(self, speaker: Speaker) -> None:
        super().__init__()
        self._speaker = speaker
        self._playing: Playback | None = None

    @property
    def is_playing(self) -> bool:
        """Whether a recording is being played."""
        return self._playing is not None

    @work(thread=True, group="play")
    def play(self, file: Path, device: str | None, volume: float) -> None:
        """Play a sound file in a thread.

        Args:
            file: The sound file.
            device: The name of a speaker; None selects the default one.
            volume: 1 is that of the file.
        """
        worker = get_current_worker()
        try:
            wav = input_files.encode_wav(input_files.read_clip(file))
            if not worker.is_cancelled:
                self._playing = playing = play_wav(self._speaker, wav, device, volume)
                playing.wait()
                if self._playing is playing:
                    self._playing = None
        except MmtuiError as error:
            self.post_message(NoticePosted(Notice(str(error), error.hint)))

    def stop(self) -> None:
        """Stop the playback."""
        self.workers.cancel_group(self, "play")
        if self._playing is not None:
            self._playing.stop()
            self._playing = None
