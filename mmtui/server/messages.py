"""The messages of a request as turns of a conversation, with their attachments."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mmtui.chat.protocol import ChatTurn, Transcribed
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.server.attachments import (
    MAX_PICTURES,
    PictureFolder,
    decode_base64,
    decode_data_uri,
    decode_document,
    decode_recording,
)
from mmtui.server.errors import ApiError
from mmtui.server.replies import wait_for_transcript
from mmtui.server.requests import DocumentPart, Message, PicturePart, RecordingPart
from mmtui.server.shared_model import SharedModel


class MessageReader:
    """Reads the messages of requests to a model."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        model: SharedModel,
        folder: Path,
        language: str | None,
        *,
        accepts_pictures: bool,
    ) -> None:
        """Create the reader.

        Args:
            checkpoint: The model.
            model: Its process, which also transcribes recordings.
            folder: Where pictures are while a request needs them.
            language: Code of the language of recordings; None detects it.
            accepts_pictures: Whether the model sees pictures, or gets the text in them.
        """
        self._checkpoint, self._model, self._language = checkpoint, model, language
        self._accepts_pictures = accepts_pictures
        # One thread, because a decoded picture can have a gigabyte. Unlike a lock, it still limits
        # the memory if a client hangs up while its picture is decoded.
        self._decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="attachments")
        self._pictures = PictureFolder(folder, self._decoder)

    async def read(
        self, messages: list[Message], client: str, paths: list[str]
    ) -> tuple[ChatTurn, ...]:
        """Return the turns of a conversation.

        Adjacent messages of the same role are merged: some chat templates require that roles
        alternate.

        Args:
            messages: The messages of a request.
            client: Whose request it is.
            paths: Gets the paths of its pictures, which `release` deletes, also after an error.

        Raises:
            ApiError: The model does not accept an attachment, or it can't be read.
        """
        turns: list[ChatTurn] = []
        for number, message in enumerate(messages):
            role = "system" if message.role == "developer" else message.role
            text, pictures = await self._read_content(message, f"messages.{number}", client, paths)
            if turns and turns[-1].role == role:
                previous = turns.pop()
                text = "\n\n".join(filter(None, (previous.text, text)))
                pictures = (*previous.pictures, *pictures)
            turns.append(ChatTurn(role, text, pictures))
        return tuple(turns)

    def release(self, paths: list[str]) -> None:
        """Delete the pictures of a request, unless another one needs them."""
        self._pictures.release(paths)

    def close(self) -> None:
        """End the thread that decodes attachments."""
        self._decoder.shutdown(wait=False, cancel_futures=True)

    async def transcribe(
        self, data: bytes, client: str, param: str, language: str | None = None
    ) -> Transcribed:
        """Return the transcript of a recording.

        Args:
            data: The recording, as a file.
            client: Whose request it is.
            param: The field of the request that contains it.
            language: Code of the spoken language; None is that of the settings.

        Raises:
            ApiError: It is not a recording, or the model can't transcribe.
        """
        if self._checkpoint.spec.speech is None:
            raise ApiError(f"{self._checkpoint.spec.name} has no speech model", param=param)
        loop = asyncio.get_running_loop()
        clip = await loop.run_in_executor(self._decoder, decode_recording, data, param)
        return await wait_for_transcript(
            self._model, self._model.transcribe(client, clip, language or self._language)
        )

    async def _read_content(
        self, message: Message, param: str, client: str, paths: list[str]
    ) -> tuple[str, tuple[str, ...]]:
        """Return the text of a message, with transcripts and documents, and its pictures."""
        if not isinstance(message.content, list):
            return message.content or "", ()
        texts: list[str] = []
        pictures: list[str] = []
        for part in message.content:
            if isinstance(part, PicturePart):
                self._check_pictures(len(paths) + 1, param)
                path = await self._pictures.add(decode_data_uri(part.image_url.url, param))
                paths.append(path)
                pictures.append(path)
            elif isinstance(part, RecordingPart):
                data = decode_base64(part.input_audio.data, param)
                texts.append((await self.transcribe(data, client, param)).text)
            elif isinstance(part, DocumentPart):
                file = part.file
                loop = asyncio.get_running_loop()
                text = await loop.run_in_executor(
                    self._decoder, decode_document, file.file_data, file.filename, param
                )
                texts.append(text)
            else:
                texts.append(part.text)
        return "\n".join(texts), tuple(pictures)

    def _check_pictures(self, count: int, param: str) -> None:
        if not self._accepts_pictures:
            message = f"{self._checkpoint.spec.name} does not accept pictures"
            raise ApiError(message, param=param)
        if count > MAX_PICTURES:
            message = f"there are more than {MAX_PICTURES} pictures, the limit"
            raise ApiError(message, param=param, code="too_many_images")
