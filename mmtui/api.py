"""The Python interface: load a model once, and have it reply to conversations."""

import os
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from mmtui.chat.config import Config, resolve_model
from mmtui.errors import MmtuiError, UsageError
from mmtui.media import Document, Image, Sound
from mmtui.pipeline.assets import checkpoint, gguf_files
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import EngineChoice
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.documents.fitting import Fit
from mmtui.pipeline.documents.used_document import UsedDocument
from mmtui.pipeline.engines.sampling import Sampling
from mmtui.pipeline.prompt import find_pictures
from mmtui.pipeline.reading.picture_text import PictureText, read_text
from mmtui.pipeline.reading.reader import TextLine
from mmtui.pipeline.reply import Reply
from mmtui.pipeline.speech.transcription import Transcript
from mmtui.turns import PARTS, Listener, Part, Turn, TurnReader

if TYPE_CHECKING:
    import PIL.Image

__all__ = [
    "Document", "Image", "MmtuiError", "Model", "PictureText", "ReplyStream", "Result", "Sound",
    "TextLine", "Transcript", "Turn", "load", "read", "transcribe",
]  # fmt: skip


@dataclass(frozen=True)
class Result:
    """How a reply ended, and its measurements.

    `stop_reason` is "stop" (the model ended), "length" (the limit or the context was reached) or
    "cancelled". `language` is the code of the language of the last recording, if there is one.
    `images` are (name, sha256) of each picture, `documents` what of each document is in the prompt.
    Tokens of the prompt include those of pictures; times are in seconds.
    """

    model: str
    engine: str
    transcript: str | None
    language: str | None
    images: tuple[tuple[str, str], ...]
    tokens_per_image: int
    load_s: float
    reply: Reply
    documents: tuple[UsedDocument, ...] = ()

    @property
    def text(self) -> str:
        """The text of the reply."""
        return self.reply.text

    @property
    def stop_reason(self) -> Literal["stop", "length", "cancelled"]:
        """Why the reply ended."""
        return self.reply.stop_reason

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document that `mmtui ask --json` prints."""
        reply = self.reply
        documents = {"documents": [document.to_dict() for document in self.documents]}
        return {
            "answer": reply.text,
            "transcript": self.transcript,
            **({"language": self.language} if self.transcript else {}),
            "model": self.model,
            "engine": self.engine,
            "images": [
                {"path": name, "sha256": sha256, "tokens": self.tokens_per_image}
                for name, sha256 in self.images
            ],
            **(documents if self.documents else {}),
            "usage": {
                "prompt_tokens": reply.prompt_tokens,
                "cached_tokens": reply.cached_tokens,
                "completion_tokens": reply.completion_tokens,
            },
            "timing": {
                "load_s": self.load_s,
                "first_token_s": reply.first_token_s,
                "decode_tokens_per_s": reply.decode_tokens_per_s,
            },
            "stop_reason": reply.stop_reason,
        }


class ReplyStream:
    """A stream of the pieces of a reply; made by `Model.reply`.

    Iterate over it, `async for` over it, or call `text()`.

    Attributes:
        recordings: The transcripts of the recordings in the conversation, with their languages.
        notes: Notes for the user about files, such as that a picture is cut off.
        documents: What of each document is in the prompt.
    """

    def __init__(
        self,
        model: "Model",
        turns: Sequence[Turn],
        sampling: Sampling,
        max_tokens: int,
        fit: Fit = "match",
        listen: Listener = "whisper",
    ) -> None:
        self._model = model
        self._sampling, self._max_tokens = sampling, max_tokens
        self._cancelled = False
        self._result: Result | None = None
        self._reader = TurnReader(model, listen)
        self.recordings, self.notes = self._reader.recordings, self._reader.notes
        self.documents = self._reader.documents
        self._turns = self._reader.read(turns, max_tokens, fit)
        model.assistant.start_reading(find_pictures(self._turns))  # while the model is loaded
        self._pieces = self._generate()

    @property
    def transcripts(self) -> list[str]:
        """The texts of the recordings in the conversation."""
        return [transcript.text for transcript in self.recordings]

    def cancel(self) -> None:
        """End the reply before its next token; the text so far is kept. Thread-safe."""
        self._cancelled = True

    def text(self) -> str:
        """Read to the end; return the whole reply."""
        for _ in self:
            pass
        return self.result.text

    @property
    def result(self) -> Result:
        """How the reply ended.

        Raises:
            UsageError: The reply has not ended.
        """
        if self._result is None:
            raise UsageError("the reply has not ended", "iterate over it, or call text()")
        return self._result

    def close(self) -> None:
        """Stop generating; the reply has no result then.

        Raises:
            UsageError: Another thread is reading it.
        """
        try:
            self._pieces.close()
        except ValueError:
            raise UsageError(
                "this model is writing another reply", "cancel that one, or read it to its end"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._pieces)

    async def __aiter__(self) -> AsyncIterator[str]:
        import asyncio  # takes as long as a tenth of the start, and few use it

        loop = asyncio.get_running_loop()
        try:
            while True:
                piece = await loop.run_in_executor(self._model.thread, next, self._pieces, None)
                if piece is None:
                    return
                yield piece
        finally:
            self.cancel()  # nobody reads the rest: stop generating it

    def _generate(self) -> Generator[str]:
        assistant = self._model.assistant
        load_s = self._model.take_load_s(pictures=bool(self._reader.images))
        events = assistant.reply(
            self._turns, self._sampling, self._max_tokens, lambda: self._cancelled
        )
        for event in events:
            if isinstance(event, str):
                yield event
            else:
                self._result = Result(
                    model=self._model.name,
                    engine=assistant.engine,
                    transcript="\n".join(self.transcripts) or None,
                    language=self.recordings[-1].language if self.recordings else None,
                    images=tuple(self._reader.images),
                    tokens_per_image=assistant.tokens_per_picture,
                    load_s=load_s,
                    reply=event,
                    documents=tuple(self.documents),
                )


class Model:
    """A model whose parts are loaded when they are first needed; made by `load`.

    The KV cache is kept between replies, so that only new turns are computed. A model generates one
    reply at a time.

    Attributes:
        language: Code of the language of recordings; None detects it.
    """

    def __init__(self, assistant: Assistant, language: str | None = None) -> None:
        self.assistant, self.language = assistant, language
        self._load_s = 0.0  # since the last reply
        self._stream: ReplyStream | None = None

    @property
    def name(self) -> str:
        """The name in its spec: "smol"."""
        return self.assistant.name

    @property
    def sees(self) -> bool:
        """Whether the model accepts pictures, be it only for the text in them."""
        return self.assistant.accepts_pictures

    @property
    def note(self) -> str | None:
        """A note for the user about the engine, once it is loaded."""
        return self.assistant.note

    def load(self, *, pictures: bool = False) -> float:
        """Load the language model and, with `pictures`, the vision encoder; return the seconds.

        Raises:
            MissingError: Weights are missing and can't be fetched, or the model has no vision.
        """
        took = self.assistant.load(pictures=pictures)
        self._load_s += took
        return took

    def take_load_s(self, *, pictures: bool) -> float:
        """Load what is not loaded yet; return the seconds of loading since the last reply."""
        self.load(pictures=pictures)
        took, self._load_s = self._load_s, 0.0
        return took

    def reply(
        self,
        conversation: Part | Sequence[Part] | Sequence[Turn],
        *,
        max_tokens: int = 512,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int | None = None,
        fit: Fit = "match",
        listen: Listener = "whisper",
    ) -> ReplyStream:
        """Reply to a message, or to a conversation of several turns.

        Files are read and sounds transcribed at once; the reply is written as it is read. An
        earlier reply that was not read to its end is closed.

        Args:
            conversation: Text, an `Image`, a `Sound` or a `Document`; a list of them, which makes
                one message; or a list of `Turn`s. A last turn of the assistant is continued.
            max_tokens: Length limit of the reply.
            temperature: 0 always takes the most probable token; higher values vary more.
            top_p: Tokens are drawn from the smallest set with this probability in total.
            seed: Makes a reply with a temperature above 0 repeatable.
            fit: What to use of documents that are too long for the context: "match", the parts
                that match the question; "beginning"; or "error", which raises TooLongError.
            listen: What hears recordings: "whisper" transcribes them; "model" has the model hear
                them itself, if it is a GGUF whose mmproj has an audio tower.

        Raises:
            InputError: A file is unusable, or a recording holds no speech.
            MissingError: The model lacks vision or speech, or its weights can't be fetched.
            UsageError: A value is out of range, or another thread is reading a reply.
        """
        parts = [conversation] if isinstance(conversation, PARTS) else list(conversation)
        turns = [part for part in parts if isinstance(part, Turn)]
        if not parts or (turns and len(turns) != len(parts)):
            raise UsageError("a conversation is text, pictures, sounds and documents, or turns")
        if not turns:
            turns = [Turn("user", [part for part in parts if isinstance(part, PARTS)])]
        if any(_has_image(turn) for turn in turns):
            self.assistant.require_pictures()
        if self._stream is not None:
            self._stream.close()
        sampling = Sampling(temperature, top_p, seed)
        self._stream = ReplyStream(self, turns, sampling, max_tokens, fit, listen)
        return self._stream

    def transcribe(self, sound: "Sound | str | os.PathLike[str] | bytes") -> Transcript:
        """Transcribe the first 15 s of a recording; the text is "" if it has no speech.

        Raises:
            InputError: The recording is unusable.
            MissingError: The model has no speech model, or it can't be fetched.
            UsageError: The speech model does not know the language.
        """
        recorded = sound if isinstance(sound, Sound) else Sound(sound)
        return self.assistant.transcribe(recorded.recording.clip, self.language)

    @cached_property
    def thread(self) -> ThreadPoolExecutor:
        """The thread that generates replies for `async for`."""
        return ThreadPoolExecutor(1, thread_name_prefix="mmtui-model")


def load(
    model: str = "auto",
    *,
    mmproj: "str | os.PathLike[str] | None" = None,
    engine: EngineChoice | None = None,
    language: str | None = None,
    read: bool | None = None,
    preload: bool = True,
    report: Report = ignore_progress,
) -> Model:
    """Load a model.

    Args:
        model: A preset ("smol", "phi2"), a checkpoint folder, a GGUF file, "hf:OWNER/NAME", or
            "auto": what $MMTUI_MODEL or the settings name, else phi2 if it and a projector for it
            are here, else smol.
        mmproj: The vision tower of a model that is a GGUF file; None uses the mmproj beside it.
        engine: "torch", "llamacpp" or "auto"; None uses the settings.
        language: The language of recordings: a code or a name, such as "de" or "german", or "auto",
            which detects it; None uses the settings.
        read: Whether the model gets the text in pictures beside them; None uses the settings.
        preload: Load the language model now, not with the first reply.
        report: Called with (step, done, total) while something is fetched or loaded.

    Raises:
        UsageError: There is no such model or language.
        InputError: The model is damaged.
        MissingError: Its weights can't be fetched, or the engine is not installed.
    """
    config = Config.load().with_language(language)
    model, chosen = resolve_model(model, engine)
    read = Config.load().reads if read is None else read
    if mmproj is not None:
        model = gguf_files.add_mmproj(model, os.fspath(mmproj))
    assistant = Assistant(checkpoint.find(model), report, chosen, speech=config.speech, read=read)
    found = Model(assistant, config.spoken_language)
    if preload:
        found.load()
    return found


def transcribe(
    sound: "Sound | str | os.PathLike[str] | bytes",
    model: str = "auto",
    *,
    language: str | None = None,
    report: Report = ignore_progress,
) -> Transcript:
    """Transcribe the first 15 s of a recording; only the speech model is loaded.

    Args:
        sound: A `Sound`, a path, or the bytes of an audio file.
        model: As for `load`.
        language: As for `load`.
        report: As for `load`.

    Raises:
        InputError: The recording is unusable.
        MissingError: The model has no speech model, or it can't be fetched.
    """
    return load(model, language=language, preload=False, report=report).transcribe(sound)


def read(
    picture: "Image | str | os.PathLike[str] | bytes | PIL.Image.Image",
) -> PictureText:
    """Recognize the text that is written in a picture, without a language model.

    Args:
        picture: An `Image`, a path, the bytes of a file, or a PIL image.

    Raises:
        InputError: The picture is unusable.
    """
    image = picture if isinstance(picture, Image) else Image(picture)
    return read_text(image.picture)


def _has_image(turn: Turn) -> bool:
    return any(isinstance(part, Image) for part in turn.parts)
