"""The turns of the Python interface as turns of a prompt: files are read, speech is transcribed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from mmtui.errors import NoSpeechError
from mmtui.media import Document, Image, Sound
from mmtui.pipeline import prompt
from mmtui.pipeline.documents.fitting import (
    PICTURE_TOKENS,
    TEMPLATE_TOKENS,
    Fit,
    FittedDocument,
    fit_documents,
    get_room,
)
from mmtui.pipeline.documents.framing import frame
from mmtui.pipeline.documents.used_document import UsedDocument
from mmtui.pipeline.prompt import Medium
from mmtui.pipeline.speech.recording import Recording, make_recording
from mmtui.pipeline.vision.images import Picture

if TYPE_CHECKING:
    from mmtui.pipeline.assistant import Assistant
    from mmtui.pipeline.speech.transcription import Transcript

Role = Literal["system", "user", "assistant"]
Listener = Literal["whisper", "model"]
Part = str | Image | Sound | Document
PARTS = (str, Image, Sound, Document)


@dataclass(frozen=True)
class Turn:
    """One message of a conversation: text, pictures, speech and documents, in order."""

    role: Role
    content: Part | Sequence[Part]

    @property
    def parts(self) -> Sequence[Part]:
        """The parts of the content."""
        return [self.content] if isinstance(self.content, PARTS) else self.content


class SpeechTranscriber(Protocol):
    """What transcribes the recordings of a conversation."""

    @property
    def assistant(self) -> "Assistant": ...

    def transcribe(self, sound: Sound) -> "Transcript": ...


_Resolved = list[str | Picture | Recording | Document]


class TurnReader:
    """Reads the files of a conversation.

    Attributes:
        recordings: The transcripts of the recordings.
        notes: Notes for the user about files, such as that a picture is cut off.
        images: Name and SHA-256 of each picture.
        documents: The documents.
    """

    def __init__(self, model: SpeechTranscriber, listen: Listener = "whisper") -> None:
        """Start with nothing read.

        Args:
            model: Transcribes the recordings.
            listen: What hears the recordings: "model" leaves them in the prompt.
        """
        self._model, self._listen = model, listen
        self.recordings: list[Transcript] = []
        self.notes: list[str] = []
        self.images: list[tuple[str, str]] = []
        self.documents: list[UsedDocument] = []

    def read(self, turns: Sequence[Turn], max_tokens: int, fit: Fit) -> list[prompt.Turn]:
        """Return the turns of a prompt.

        Args:
            turns: The conversation.
            max_tokens: Length limit of the reply, for which room is left beside documents.
            fit: What to use of documents that are too long.

        Raises:
            InputError: A file is unusable, or a recording holds no speech.
            TooLongError: There is no room for the documents.
        """
        resolved = [list(map(self._resolve, turn.parts)) for turn in turns]
        if any(isinstance(part, Document) for parts in resolved for part in parts):
            self._fit(resolved, max_tokens, fit)
        return [
            prompt.Turn(turn.role, tuple(_join_lines(parts)))
            for turn, parts in zip(turns, resolved, strict=True)
        ]

    def _resolve(self, part: Part) -> str | Picture | Recording | Document:
        if isinstance(part, Image):
            self.notes += part.picture.notes
            self.images.append((part.name, part.picture.sha256))
            return part.picture
        if isinstance(part, Sound):
            if self._listen == "whisper":
                return self._transcribe(part)
            self.notes += part.recording.notes
            return make_recording(part.recording.clip)
        if isinstance(part, Document):
            self.notes += part.content.notes
        return part

    def _transcribe(self, part: Sound) -> str:
        self.notes += part.recording.notes
        transcript = self._model.transcribe(part)
        if not transcript.text:
            raise NoSpeechError(part.name)
        self.recordings.append(transcript)
        mismatch = self._model.assistant.describe_mismatch(transcript.language)
        self.notes += [
            note for note in (*transcript.notes, mismatch) if note and note not in self.notes
        ]
        return transcript.text

    def _fit(self, turns: list[_Resolved], max_tokens: int, fit: Fit) -> None:
        """Replace documents by their text; those of the last turn get room first."""
        language = self._model.assistant.language

        def count_tokens(text: str) -> int:
            return len(language.tokenizer(text, add_special_tokens=False).input_ids)

        other = 0
        for parts in turns:
            other += TEMPLATE_TOKENS + self._count_picture_tokens(parts)
            other += sum(count_tokens(part) for part in parts if isinstance(part, str))
        room = get_room(language.context_length, max_tokens, other)
        for parts in reversed(turns):
            documents = [part for part in parts if isinstance(part, Document)]
            if not documents:
                continue
            question = "\n".join(part for part in parts if isinstance(part, str))
            contents = [document.content for document in documents]
            fitted = fit_documents(contents, question, room, count_tokens, fit)
            self._replace(parts, documents, fitted)
            room -= sum(document.tokens for document in fitted)

    def _count_picture_tokens(self, parts: _Resolved) -> int:
        each = self._model.assistant.tokens_per_picture or PICTURE_TOKENS
        return each * sum(isinstance(part, Picture) for part in parts)

    def _replace(
        self, parts: _Resolved, documents: list[Document], fitted: list[FittedDocument]
    ) -> None:
        used = [
            UsedDocument(document.path, document.content, each)
            for document, each in zip(documents, fitted, strict=True)
        ]
        self.documents[:0] = used
        self.notes += [each.note for each in fitted if each.note]
        framed = iter(frame(each.name, each.text) for each in fitted)
        parts[:] = [next(framed) if isinstance(part, Document) else part for part in parts]


def _join_lines(parts: _Resolved) -> Iterator[str | Medium]:
    """Yield pictures and recordings, and the lines of text between them."""
    lines: list[str] = []
    for part in parts:
        if isinstance(part, Picture | Recording):
            if lines:
                yield "\n".join(lines)
                lines = []
            yield part
        elif isinstance(part, str):
            lines.append(part)
    if lines:
        yield "\n".join(lines)
