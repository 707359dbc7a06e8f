"""`mmtui ask` with a model that a server runs. Nothing is loaded on this machine."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat.attachments import LoadedFile
from mmtui.chat.config import LOCAL_MODEL
from mmtui.chat.reply_files import load_reply_file
from mmtui.cli.answer_files import keep_files
from mmtui.cli.answers import print_answer, print_transcript
from mmtui.cli.options import print_note
from mmtui.cli.speech import Speech
from mmtui.endpoint import speech
from mmtui.endpoint.address import Endpoint
from mmtui.endpoint.capabilities import Catalog, ModelInfo
from mmtui.endpoint.client import Client
from mmtui.endpoint.completion import Completion, Delta, Request
from mmtui.endpoint.exchange import Cancellation
from mmtui.endpoint.media import LeftOut, ReplyFile
from mmtui.endpoint.messages import EndpointTurn
from mmtui.endpoint.picture_texts import EndpointTexts
from mmtui.endpoint.pictures import encode_picture
from mmtui.endpoint.tools import CALL_NOTE, NO_TOOLS_HINT
from mmtui.errors import InputError, MmtuiError, NoSpeechError
from mmtui.media import Document, Image, Sound
from mmtui.pipeline.documents.fitting import (
    PICTURE_TOKENS,
    Fit,
    FittedDocument,
    estimate_tokens,
    fit_documents,
    get_room,
)
from mmtui.pipeline.documents.framing import frame
from mmtui.pipeline.documents.used_document import UsedDocument
from mmtui.pipeline.input_files import encode_wav
from mmtui.pipeline.speech.languages import DETECTED, describe_mismatch
from mmtui.progress import print_json, print_notes, reporting

if TYPE_CHECKING:
    from mmtui.pipeline.assets.fetch import Report

Transcribe = Callable[[Sound], speech.ServerTranscript]
ENGINE = "server"  # as the value of "engine" in the JSON document


@dataclass(frozen=True)
class ServerQuestion:
    """A question with its files, and how it is answered.

    Attributes:
        text: The question.
        pictures: The pictures to ask about.
        recordings: The recordings, which come before the question.
        documents: The documents, which come before both.
        fit: What to use of documents that are too long.
        can_read: Whether the model gets the text in pictures, which is recognized here.
        sends_recordings: Whether the model gets them itself, not their transcripts.
        language: Code of the language of the recordings; None detects it.
        system: The system prompt, if there is one.
        max_tokens: Length limit of the answer.
        temperature: 0 always chooses the most probable token.
        seed: Makes an answer with a temperature above 0 repeatable.
        save_media: The folder for pictures and sounds of the answer; None does not keep them.
    """

    text: str
    pictures: Sequence[Image]
    recordings: Sequence[Sound]
    documents: Sequence[Document]
    fit: Fit
    sends_recordings: bool
    language: str | None
    can_read: bool
    system: str | None
    max_tokens: int
    temperature: float
    seed: int | None
    save_media: Path | None


class _ServerAnswer:
    """The stream of an answer without its thinking and its tool calls.

    Attributes:
        text: The text so far.
        tools: The tool calls so far.
        is_spoken: Whether it is the transcript of a sound, which follows.
        files: The pictures and sounds so far.
        problems: Why other files are left out, or why there is no text.
        completion: The end of the answer.
    """

    def __init__(
        self, client: Client, model: str, request: Request, outputs: tuple[str, ...]
    ) -> None:
        self._cancellation = Cancellation()
        self._parts = client.complete(model, request, self._cancellation, outputs=outputs)
        self.text, self.tools, self.is_spoken = "", "", False
        self.files: list[LoadedFile] = []
        self.problems: list[str] = []
        self.completion = Completion("cancelled")

    def __iter__(self) -> Iterator[str]:
        for part in self._parts:
            if isinstance(part, Completion):
                self.completion = part
            elif isinstance(part, Delta):
                if part.is_tool:
                    self.tools += part.text
                elif not part.is_thinking:
                    self.text += part.text
                    self.is_spoken |= part.is_spoken
                    yield part.text
            else:
                self._add_file(part)
        if self.tools and not (self.text.strip() or self.files):
            self.problems.append(f"{CALL_NOTE}: {self.tools}; {NO_TOOLS_HINT}")

    def cancel(self) -> None:
        """Close the connection."""
        self._cancellation.cancel()

    def _add_file(self, part: ReplyFile | LeftOut) -> None:
        if isinstance(part, LeftOut):
            self.problems.append(part.message)
            return
        try:
            file = load_reply_file(part)
        except InputError as error:
            self.problems.append(str(error))
        else:
            self.files.append(file)
            self.problems += file.notes

    @property
    def sounds(self) -> list[bytes]:
        """The sounds so far, as files."""
        return [file.data for file in self.files if file.kind == "audio"]


def ask_server(
    endpoint: Endpoint, model: str, question: ServerQuestion, spoken: Speech, *, as_json: bool
) -> None:
    """Ask a server, and print its answer.

    Args:
        endpoint: The server.
        model: The name of one of its models; "auto" is the only one.
        question: What to ask.
        spoken: Reads the answer aloud.
        as_json: Print one JSON document at the end.
    """
    if endpoint.note:
        print_note(f"note: {endpoint.note}")
    with reporting() as report:
        client = Client(endpoint, report)
        catalog, cancellation = Catalog(client), Cancellation()
        name = catalog.resolve(model, cancellation)
        transcript = speech.ServerTranscript("")
        if question.recordings and not question.sends_recordings:
            transcribe: Transcribe
            info = catalog.describe(name, cancellation)
            if info.can_transcribe:
                transcribe = partial(
                    _transcribe_there, client, name, cancellation, question.language
                )
            else:
                transcribe = _load_speech(question, report)
            transcript = _transcribe(question.recordings, transcribe, info)
        recordings = question.recordings if question.sends_recordings else []
        if question.pictures or recordings:
            catalog.check_inputs(
                name,
                cancellation,
                pictures=bool(question.pictures) and not question.can_read,
                recordings=bool(recordings),
            )
        context = catalog.describe(name, cancellation).context if question.documents else 0
        documents = _fit_documents(question, transcript.text, context)
        print_notes(document.note for document in documents if document.note)
        can_see = True
        if question.pictures and question.can_read:
            can_see = catalog.describe(name, cancellation).can_see is not False
            if not can_see:
                print_note(f"{name} can't see: of pictures, it gets only the text")
        request = Request(
            _to_turns(question, transcript.text, documents, can_see=can_see),
            max_tokens=question.max_tokens,
            temperature=question.temperature,
            seed=question.seed,
        )
        outputs: tuple[str, ...] = ()
        if question.save_media is not None:
            outputs = catalog.describe(name, cancellation).outputs
        answer = _ServerAnswer(client, name, request, outputs)
        _print_answer(answer, spoken, question.save_media, as_json=as_json)
    print_notes(answer.problems)
    media, problem = keep_files(answer.files, question.save_media)
    completion = answer.completion
    if as_json:
        used = [
            UsedDocument(document.path, document.content, fitted)
            for document, fitted in zip(question.documents, documents, strict=True)
        ]
        print_json(_to_document(question, name, transcript, answer, used, media))
    else:
        _print_limit(completion)
    if problem is not None:
        raise problem
    if completion.stop_reason == "cancelled":
        raise KeyboardInterrupt
    spoken.wait()


def _print_answer(
    answer: _ServerAnswer, spoken: Speech, save_media: Path | None, *, as_json: bool
) -> None:
    """Print an answer as it arrives; keep the files that arrived before an error.

    Raises:
        MmtuiError: The request failed.
    """
    try:
        print_answer(spoken.follow(answer, answer), silent=as_json)
    except MmtuiError:
        print_notes(answer.problems)
        _, problem = keep_files(answer.files, save_media)
        if problem is not None:
            print_notes([str(problem)])
        raise


def _print_limit(completion: Completion) -> None:
    """Print a note about the length limit, if it has ended the answer."""
    if completion.is_endless:
        print_note("stopped: the server ignored the length limit")
    elif completion.stop_reason == "length":
        print_note(f"stopped after {completion.completion_tokens} tokens; --max-tokens allows more")


def _transcribe(
    recordings: Sequence[Sound], transcribe: Transcribe, info: ModelInfo
) -> speech.ServerTranscript:
    """Transcribe the recordings; in the text, each is on a line."""
    texts: list[str] = []
    notes: list[str] = []
    language = None
    for recording in recordings:
        transcript = transcribe(recording)
        if not transcript.text:
            raise NoSpeechError(recording.name)
        print_transcript(transcript.text, transcript.language)
        texts.append(transcript.text)
        language = transcript.language
        mismatch = describe_mismatch(info.name, info.languages, language)
        notes += [*transcript.notes, *([mismatch] if mismatch else [])]
    print_notes(dict.fromkeys(notes))
    return speech.ServerTranscript("\n".join(texts), language)


def _transcribe_there(
    client: Client, model: str, cancellation: Cancellation, language: str | None, recording: Sound
) -> speech.ServerTranscript:
    clip = recording.recording.clip
    return speech.transcribe(client, model, encode_wav(clip), language, cancellation)


def _load_speech(question: ServerQuestion, report: "Report") -> Transcribe:
    """Return a function that transcribes on this machine."""
    from mmtui import api

    language = question.language or DETECTED
    model = api.load(LOCAL_MODEL, language=language, preload=False, report=report)

    def transcribe(recording: Sound) -> speech.ServerTranscript:
        transcript = model.transcribe(recording)
        return speech.ServerTranscript(transcript.text, transcript.language, transcript.notes)

    return transcribe


def _fit_documents(question: ServerQuestion, transcript: str, context: int) -> list[FittedDocument]:
    """Fit the documents to the context of the model; an unknown one (0) counts as long enough."""
    text = "\n".join(part for part in (transcript, question.text) if part)
    pictures = PICTURE_TOKENS * len(question.pictures)
    other = estimate_tokens(text) + estimate_tokens(question.system or "") + pictures
    room = get_room(context, question.max_tokens, other) if context else sys.maxsize
    contents = [document.content for document in question.documents]
    return fit_documents(contents, text, room, estimate_tokens, question.fit)


def _to_turns(
    question: ServerQuestion,
    transcript: str,
    documents: Sequence[FittedDocument],
    *,
    can_see: bool,
) -> tuple[EndpointTurn, ...]:
    framed = (frame(document.name, document.text) for document in documents)
    text = "\n".join(part for part in (*framed, transcript, question.text) if part)
    found = {image.picture.sha256: image.picture for image in question.pictures}
    keys = [image.picture.sha256 for image in question.pictures]
    pictures = tuple(encode_picture(found[key].image) for key in keys) if can_see else ()
    texts: tuple[str, ...] = ()
    if question.can_read:
        texts = EndpointTexts().describe(keys, found.__getitem__, can_see=can_see)
    recordings = tuple(
        encode_wav(recording.recording.clip)
        for recording in question.recordings
        if question.sends_recordings
    )
    user = EndpointTurn("user", text, pictures, recordings, texts)
    return (EndpointTurn("system", question.system), user) if question.system else (user,)


def _to_document(
    question: ServerQuestion,
    model: str,
    transcript: speech.ServerTranscript,
    answer: _ServerAnswer,
    documents: Sequence[UsedDocument],
    media: list[dict[str, object]],
) -> dict[str, object]:
    """Return the document of `ask --json`, with the keys that it has for any model."""
    completion = answer.completion
    return {
        "answer": answer.text,
        "transcript": transcript.text or None,
        **({"language": transcript.language} if transcript.text else {}),
        "model": model,
        "engine": ENGINE,
        "images": [
            {"path": picture.name, "sha256": picture.picture.sha256, "tokens": 0}
            for picture in question.pictures
        ],
        **({"documents": [document.to_dict() for document in documents]} if documents else {}),
        **({"media": media} if media else {}),
        "usage": {
            "prompt_tokens": completion.prompt_tokens or None,  # null if it is not reported
            "cached_tokens": completion.cached_tokens,
            "completion_tokens": completion.completion_tokens,
        },
        "timing": {
            "load_s": 0.0,
            "first_token_s": completion.first_token_s,
            "decode_tokens_per_s": completion.tokens_per_s,
        },
        "stop_reason": completion.stop_reason,
    }
