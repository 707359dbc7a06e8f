"""The text in pictures, for a model that a server runs: it is recognized on this machine."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from mmtui.pipeline.documents.fitting import estimate_tokens
from mmtui.pipeline.reading.notation import write_picture, write_text

if TYPE_CHECKING:
    from mmtui.pipeline.picture_texts import PictureTexts
    from mmtui.pipeline.vision.images import Picture


class EndpointTexts:
    """Reads pictures, each one once. Any thread may call its methods."""

    @cached_property
    def _texts(self) -> "PictureTexts":
        from mmtui.pipeline.picture_texts import PictureTexts  # Pillow and numpy come with it

        return PictureTexts()

    def describe(
        self, names: Sequence[str], load: "Callable[[str], Picture]", *, can_see: bool
    ) -> tuple[str, ...]:
        """Return what a prompt says about the text in pictures, as for a model on this machine.

        Args:
            names: The SHA-256 of each picture.
            load: Returns a picture by its SHA-256, if it was not read yet.
            can_see: Whether the model gets the pictures, too.
        """
        write = write_text if can_see else write_picture
        for name in names:
            if name not in self._texts:
                self._texts.start([load(name)])
        return tuple(write(self._texts.get_text(name), estimate_tokens) for name in names)
