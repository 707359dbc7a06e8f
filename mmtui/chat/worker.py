"""The model process: reads requests and sends events until the chat closes the connection."""

import importlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from mmtui.chat.protocol import (
    Cancel,
    ChatTurn,
    Completed,
    Event,
    Failed,
    Generate,
    Load,
    LoadSpeech,
    Piece,
    Prepare,
    Prepared,
    Progress,
    Ready,
    Request,
    Transcribe,
    Transcribed,
)
from mmtui.crashes import Dump, enable_dump
from mmtui.entry import silence_libraries
from mmtui.errors import GrammarError, MmtuiError, TooLongError, explain
from mmtui.pipeline.assets.spec import EngineChoice, SpeechChoice

if TYPE_CHECKING:
    from mmtui.pipeline.assets.fetch import Report
    from mmtui.pipeline.assistant import Assistant
    from mmtui.pipeline.prompt import Turn
    from mmtui.pipeline.prompt_file import PromptStorage
    from mmtui.pipeline.speech.recording import Recording
    from mmtui.pipeline.vision.images import Picture

PROGRESS_EVERY_S = 0.1


def main(
    connection: Connection,
    model: str,
    engine: EngineChoice,
    dump: Dump,
    memory_bytes: int,
    speech: SpeechChoice,
    read: bool | None,
    parallel: int,
) -> None:
    """Serve requests until the chat closes its end of the connection or dies.

    Args:
        connection: Carries requests and events.
        model: A preset, a checkpoint folder, a GGUF file or hf:OWNER/NAME.
        engine: The engine to run it with.
        dump: The file that receives the stacks if this process crashes.
        memory_bytes: Limit of the memory for what was read of other conversations than the present
            one.
        speech: The speech model.
        read: Whether the model gets the text in pictures; None if it was trained with it.
        parallel: How many replies are written together, where the engine can.
    """
    _detach_from_terminal()
    enable_dump(dump)
    silence_libraries()
    _Worker(connection, model, engine, memory_bytes, speech, read, parallel).run()


class _Preempted(Exception):
    """A request that prepares the next question gives way to another request."""


class _Worker:
    def __init__(
        self,
        connection: Connection,
        model: str,
        engine: EngineChoice,
        memory_bytes: int,
        speech: SpeechChoice,
        read: bool | None,
        parallel: int,
    ) -> None:
        self._connection, self._model, self._engine = connection, model, engine
        self._memory_bytes, self._speech, self._read = memory_bytes, speech, read
        self._sending = threading.Lock()
        self._requests: SimpleQueue[Request] = SimpleQueue()
        self._cancelled: set[int] = set()
        self._assistant: Assistant | None = None
        self._parallel = parallel
        self._replies: dict[int, Iterator[None]] = {}  # those being written, by their request
        self._reply_number: int | None = None  # of the one that continues, if there are several
        self._preparing: int | None = None  # the number of the request that gives way to others

    def run(self) -> None:
        # Reading a request with a recording imports NumPy too, which fails if two threads do so at
        # the same time.
        importlib.import_module("numpy")
        threading.Thread(target=self._listen, daemon=True).start()
        while True:
            if not self._replies or (self._can_start_reply() and not self._requests.empty()):
                self._handle(self._requests.get())
            self._continue_replies()

    def _can_start_reply(self) -> bool:
        """Return whether another reply can be written beside those that are being written."""
        return len(self._replies) < self._get_assistant().parallel

    def _handle(self, request: Request) -> None:
        """Answer a request, or start the reply that it asks for."""
        is_preparing = isinstance(request, Prepare | LoadSpeech)
        self._preparing = request.number if is_preparing else None
        try:
            self._serve(request)
        except _Preempted:
            self._send(Prepared(request.number))
        except Exception as error:
            self._send(_to_failed(request.number, error))
        self._preparing = None
        if request.number not in self._replies:
            self._cancelled.discard(request.number)

    def _continue_replies(self) -> None:
        """Continue each reply until it waits for its next tokens, and compute those of all."""
        for number, steps in list(self._replies.items()):
            self._reply_number = number if len(self._replies) > 1 else None
            try:
                next(steps)
                continue
            except StopIteration:
                pass
            except Exception as error:
                self._send(_to_failed(number, error))
            del self._replies[number]
            self._cancelled.discard(number)
        self._reply_number = None
        if self._replies:
            self._get_assistant().compute()

    def _listen(self) -> None:
        """Receive requests while another one is served, so that `Cancel` takes effect at once."""
        while True:
            try:
                request = self._connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # the chat has ended, so nobody waits for the result
            if isinstance(request, Cancel):
                self._cancelled.add(request.number)
            else:
                self._requests.put(request)

    def _serve(self, request: Request) -> None:
        if isinstance(request, Prepare) and self._assistant is None:
            self._send(Prepared(request.number))  # `Load` failed, which was reported
            return
        assistant = self._get_assistant()
        if isinstance(request, Load):
            assistant.load()
            self._send(
                Ready(
                    number=request.number,
                    model=assistant.name,
                    context=assistant.language.context_length,
                    picture_tokens=assistant.tokens_per_picture,
                    vision=assistant.spec.vision if assistant.picture_side else None,
                    engine=assistant.engine,
                    note=assistant.note,
                    languages=assistant.spec.language.languages,
                    can_see=bool(assistant.picture_side),
                    reads_text=assistant.reads_text,
                    parallel=assistant.parallel,
                )
            )
        elif isinstance(request, Prepare):
            if self._replies:
                raise _Preempted
            assistant.storage = _find_storage(request)
            if assistant.is_loaded:
                for _ in _prepare(assistant, request):
                    self._give_way()
            self._send(Prepared(request.number))
        elif isinstance(request, LoadSpeech):
            assistant.transcriber.load(request.language)
            self._send(Prepared(request.number))
        elif isinstance(request, Transcribe):
            transcript = assistant.transcribe(request.clip, request.language)
            self._send(
                Transcribed(request.number, transcript.text, transcript.language, transcript.notes)
            )
        elif isinstance(request, Generate):
            self._replies[request.number] = self._generate(assistant, request)

    def _generate(self, assistant: "Assistant", request: Generate) -> Iterator[None]:
        """Write a reply; yield when its next tokens are to be computed."""
        from mmtui.pipeline.engines.sampling import Sampling
        from mmtui.pipeline.reply import Reply

        sampling = Sampling(request.temperature, request.top_p, request.seed)
        turns = [_to_prompt_turn(turn, assistant) for turn in request.turns]

        def is_cancelled() -> bool:
            return request.number in self._cancelled

        events = assistant.reply_in_steps(
            turns, sampling, request.max_tokens, is_cancelled, request.schema
        )
        for event in events:
            if event is None:
                yield
            elif isinstance(event, Reply):
                self._send(
                    Completed(
                        number=request.number,
                        stop_reason=event.stop_reason,
                        prompt_tokens=event.prompt_tokens,
                        cached_tokens=event.cached_tokens,
                        completion_tokens=event.completion_tokens,
                        first_token_s=event.first_token_s,
                        tokens_per_s=event.decode_tokens_per_s,
                        dropped=event.dropped,
                        full=event.full,
                        repeats=event.repeats,
                    )
                )
            else:
                self._send(Piece(request.number, event))

    def _give_way(self) -> None:
        """Raise _Preempted if a request that prepares was cancelled, or another one waits."""
        is_cancelled = self._preparing in self._cancelled
        if self._preparing is not None and (is_cancelled or not self._requests.empty()):
            raise _Preempted

    def _get_assistant(self) -> "Assistant":
        if self._assistant is None:
            from mmtui.pipeline.assets import checkpoint
            from mmtui.pipeline.assistant import Assistant

            found = checkpoint.find(self._model)
            self._assistant = Assistant(
                found,
                self._make_reporter(),
                self._engine,
                memory_bytes=self._memory_bytes,
                speech=self._speech,
                read=self._read,
                parallel=self._parallel,
            )
        return self._assistant

    def _make_reporter(self) -> "Report":
        """Return a callback that sends `Progress`, at most every `PROGRESS_EVERY_S` seconds.

        A download is interrupted there when it must give way.
        """
        last_step, last_time = "", 0.0

        def report(step: str, done: int, total: int) -> None:
            nonlocal last_step, last_time
            now = time.monotonic()
            if step != last_step or now - last_time > PROGRESS_EVERY_S or done == total:
                last_step, last_time = step, now
                self._send(Progress(step, done, total, self._reply_number))
            if done < total:  # else the result of the step would be lost
                self._give_way()

        return report

    def _send(self, event: Event) -> None:
        with self._sending:
            try:
                self._connection.send(event)
            except OSError:
                os._exit(0)


def _to_failed(number: int, error: Exception) -> Failed:
    """Return the event for an error; an unexpected one is written to the log."""
    if isinstance(error, MmtuiError):
        failure = error
    else:
        from mmtui import logs

        failure = explain(error, logs.record_error(error))
    debug_traceback = traceback.format_exc() if os.environ.get("MMTUI_DEBUG") else None
    return Failed(
        number,
        str(failure),
        failure.hint,
        debug_traceback,
        is_refused=isinstance(failure, TooLongError),
        is_schema_refused=isinstance(failure, GrammarError),
    )


def _find_storage(request: Prepare) -> "PromptStorage | None":
    from mmtui.pipeline.prompt_file import PromptStorage

    if not (request.conversation and request.storage_bytes):
        return None
    return PromptStorage(request.conversation, request.storage_bytes)


def _prepare(assistant: "Assistant", request: Prepare) -> "Iterator[None]":
    """Prepare the next question, as far as the model is able to; yield after each step."""
    files = [*(file for turn in request.turns for file in turn.pictures), *request.pictures]
    if assistant.accepts_pictures:
        assistant.load(pictures=True)
        yield
        for file in files:
            assistant.encode_pictures([_load_picture(Path(file), assistant)])
            yield
    elif files:
        return  # reported when the question is asked
    turns = [_to_prompt_turn(turn, assistant) for turn in request.turns]
    pictures = [_load_picture(Path(file), assistant) for file in request.pictures]
    yield from assistant.prefill(turns, pictures, request.max_tokens)


def _to_prompt_turn(turn: ChatTurn, assistant: "Assistant") -> "Turn":
    from mmtui.pipeline.prompt import Turn

    pictures = (_load_picture(Path(file), assistant) for file in turn.pictures)
    recordings = (_load_recording(Path(file)) for file in turn.recordings)
    text = (turn.text,) if turn.text or not turn.recordings else ()
    return Turn(turn.role, (*pictures, *recordings, *text))


def _load_picture(file: Path, assistant: "Assistant") -> "Picture":
    """Load an attachment, whose file is named by its SHA-256, unless its features are cached."""
    from mmtui.pipeline.input_files import read_picture
    from mmtui.pipeline.vision.images import make_placeholder

    return make_placeholder(file.name) if assistant.has_encoded(file.name) else read_picture(file)


def _load_recording(file: Path) -> "Recording":
    """Load a recording that the model hears itself."""
    from mmtui.pipeline.input_files import read_clip
    from mmtui.pipeline.speech.recording import make_recording

    return make_recording(read_clip(file))


def _detach_from_terminal() -> None:
    """Keep the output of native libraries off the screen, and leave Ctrl-C to the chat."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
