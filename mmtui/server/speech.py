"""Texts of requests, read aloud by one voice process."""

import asyncio
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from mmtui.errors import MissingError
from mmtui.pipeline.speech.sound_file import SoundWriter
from mmtui.pipeline.speech.spoken_text import to_sentences
from mmtui.pipeline.speech.synthesis import RATE, Synthesizer
from mmtui.server.errors import ApiError, make_queue_error
from mmtui.server.requests import SpeechRequest

MAX_REQUESTS = 16  # that are read aloud in turns
# The media type of each `response_format`.
MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}

Result = TypeVar("Result")


class SpeechQueue:
    """Synthesizes texts in turns: a sentence of each request after the other."""

    def __init__(self, synthesizer: Synthesizer, voice: str, speed: float) -> None:
        """Prepare the queue without starting the synthesizer.

        Args:
            synthesizer: Converts sentences to speech.
            voice: The voice of requests that do not choose one.
            speed: Their speed.
        """
        self._synthesizer, self._voice, self._speed = synthesizer, voice, speed
        # One thread, which works in the order of the calls: the synthesizer is one process.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speech")
        self._count = 0

    async def synthesize(self, body: SpeechRequest) -> bytes:
        """Return the sound file that a request asks for. Cancellation ends it after a sentence.

        Raises:
            ApiError: Too many requests wait, there is nothing to read, or no such voice or codec
                is installed.
        """
        if self._count >= MAX_REQUESTS:
            raise make_queue_error(MAX_REQUESTS)
        self._count += 1
        try:
            return await self._read(body)
        except MissingError as error:
            message = f"{error}; {error.hint}" if error.hint else str(error)
            raise ApiError(message, status=501, code="not_installed") from None
        finally:
            self._count -= 1

    def close(self) -> None:
        """End the process of the voice; sentences in progress fail."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._synthesizer.close()

    async def _read(self, body: SpeechRequest) -> bytes:
        voice, speed = body.named_voice or self._voice, body.speed or self._speed
        sentences = await self._run(partial(to_sentences, body.input))
        if not sentences:
            raise ApiError("input: there is nothing to read aloud", param="input")
        file = io.BytesIO()
        writer = await self._run(partial(SoundWriter, file, f".{body.response_format}", RATE))
        for sentence in sentences:
            read = partial(self._synthesizer.synthesize, sentence, voice, speed)
            await self._run(partial(writer.write, await self._run(read)))
        await self._run(writer.close)
        return file.getvalue()

    async def _run(self, work: Callable[[], Result]) -> Result:
        """Call a function in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
