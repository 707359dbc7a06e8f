"""The model behind a conversation: turns in, a stream of text out."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from mmtui.errors import MissingError, TooLongError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import EngineChoice, EngineName
from mmtui.pipeline.engines import loading, selection
from mmtui.pipeline.engines.detokenizer import Detokenizer
from mmtui.pipeline.engines.engine import Engine, Language
from mmtui.pipeline.engines.repetition import Repetition
from mmtui.pipeline.engines.sampling import GREEDY, Sampler, Sampling
from mmtui.pipeline.engines.selection import Selection
from mmtui.pipeline.prompt import ChatFormat, Turn
from mmtui.pipeline.sequence import Position, to_positions
from mmtui.pipeline.truncation import truncate_turns
from mmtui.pipeline.vision.encoder import EncodedPicture, VisionEncoder
from mmtui.pipeline.vision.images import Picture
from mmtui.pipeline.vision.loading import load_encoder

if TYPE_CHECKING:
    from mmtui.pipeline.speech.sound import Clip
    from mmtui.pipeline.speech.transcription import SpeechModel, Transcript

MAX_ENCODED_PICTURES = 256  # that are kept; the features of each take 0.2 MB

StopReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Reply:
    """The end of an answer.

    Attributes:
        text: The whole answer.
        stop_reason: "stop" if the model ended the answer, "length" if it was cut off.
        prompt_tokens: Positions of the prompt, the patches of pictures included.
        cached_tokens: How many of these were in the KV cache.
        completion_tokens: Tokens of the answer.
        first_token_s: Seconds until the first token; None if the answer was cancelled before.
        decode_tokens_per_s: Speed after the first token; None for a single token.
        dropped: Number of oldest turns that were left out, because the context was full.
        full: Whether the answer was cut off because the context was full.
        repeats: Whether the answer was cut off because it repeated itself without end.
    """

    text: str
    stop_reason: StopReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_s: float | None
    decode_tokens_per_s: float | None
    dropped: int = 0
    full: bool = False
    repeats: bool = False


class Assistant:
    """A model, whose parts are fetched and loaded when they are first needed."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        report: Report = ignore_progress,
        engine: EngineChoice = "auto",
        prompt_lookup: bool = True,
    ) -> None:
        """Create an assistant without loading anything.

        Args:
            checkpoint: The model.
            report: Called with (step, done, total) as parts are fetched, loaded and used.
            engine: Which engine decodes.
            prompt_lookup: Whether llama.cpp verifies drafts that are copied from the conversation,
                which speeds up quotes and changes no answer.
        """
        self.spec = checkpoint.spec
        self._checkpoint, self._report = checkpoint, report
        self._engine_choice, self._prompt_lookup = engine, prompt_lookup
        self._encoded: dict[str, EncodedPicture] = {}  # by sha256

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.spec.name

    @property
    def engine(self) -> EngineName:
        """Which engine decodes. Fetches the language model."""
        return self._selection.engine

    @property
    def note(self) -> str | None:
        """What the user should know about the choice of the engine, if anything."""
        return self._selection.note

    @property
    def picture_side(self) -> int:
        """Width and height in pixels to which pictures are resized; 0 if the model can't see."""
        return self.spec.vision.image_size if self.spec.vision and self._checkpoint.can_see else 0

    @property
    def tokens_per_picture(self) -> int:
        """The positions that a picture takes in a prompt."""
        return self.spec.vision.patches if self.spec.vision else 0

    @property
    def language(self) -> Language:
        """The language model, which this loads."""
        return self._engine.language

    def load(self, *, pictures: bool = False) -> float:
        """Load the language model, and vision if `pictures`; return the seconds that it took.

        Raises:
            MissingError: The model can't see, or its weights can't be fetched.
        """
        start = time.perf_counter()
        if pictures:
            self.require_vision()
        _ = self._engine
        if pictures:
            _ = self._vision
        return time.perf_counter() - start

    def prepare_language(self) -> Path:
        """Fetch the language model, and convert it to what its engine loads."""
        if self._checkpoint.gguf is not None:
            return self._checkpoint.gguf.shards[0]
        return loading.prepare_weights(
            self.engine,
            self._weights,
            precision=self.spec.language.precision,
            adapter=self._checkpoint.adapter,
            report=self._report,
        )

    def require_vision(self) -> None:
        """Check that the model can see.

        Raises:
            MissingError: It has no vision tower, or no trained projector.
        """
        if self.spec.vision is None:
            raise MissingError(f"{self.name} reads and hears, but has no vision tower")
        if self._checkpoint.projector is None:
            raise MissingError(
                f"{self.name} can't see yet: its projector is not trained",
                self.spec.projector_training
                or f"`mmtrain align --model {self.name}` trains one; then --model takes its folder",
            )

    def transcribe(self, clip: "Clip") -> "Transcript":
        """Transcribe speech, mono at 16 kHz. The speech model is not loaded for silence.

        Raises:
            MissingError: The model has no speech model, or its weights can't be fetched.
        """
        from mmtui.pipeline.speech.sound import RATE, is_silent
        from mmtui.pipeline.speech.transcription import Transcript

        if self.spec.speech is None:
            raise MissingError(f"{self.name} has no speech model", "use --model smol")
        if is_silent(clip):
            return Transcript("", self.spec.speech.language, len(clip) / RATE)
        return self._speech.transcribe(clip)

    def reply(
        self,
        turns: Sequence[Turn],
        sampling: Sampling = GREEDY,
        max_tokens: int = 512,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[str | Reply]:
        """Answer a conversation.

        The oldest turns are left out if the conversation leaves no room for an answer.

        Args:
            turns: The conversation; a last turn of the assistant is continued.
            sampling: How tokens are chosen.
            max_tokens: Length limit of the answer.
            is_cancelled: Asked before each token and each chunk of a long prompt.

        Yields:
            Pieces of the answer, then one Reply.

        Raises:
            TooLongError: Even the last turn is longer than the context.
            MissingError: The model can't see, or its weights can't be fetched.
        """
        self.load(pictures=bool(_pictures(turns)))
        start = time.perf_counter()
        encoded = self.encode_pictures(_pictures(turns))
        turns = [_add_names(turn, encoded) for turn in turns]
        kept, sequence, room = self._fit(turns, max_tokens)
        features: dict[str, np.ndarray] = {
            sha256: picture.features for sha256, picture in encoded.items()
        }
        cached = self._engine.count_cached(sequence)
        stream = Detokenizer(self.language.tokenizer, self._format.stop_strings)
        stop_ids = self.language.stop_ids | self._format.stop_ids
        repetition, repeats = Repetition(), False
        pieces: list[str] = []
        times: list[float] = []  # of each token, a stop token included
        count = 0
        stop_reason: StopReason = "length"
        tokens = self._engine.stream(sequence, features, Sampler(sampling))
        while count < min(max_tokens, room):
            if is_cancelled():
                stop_reason = "cancelled"
                break
            if (token := next(tokens)) is None:
                continue
            times.append(time.perf_counter())
            if token in stop_ids:
                stop_reason = "stop"
                break
            count += 1
            if piece := stream.push(token):
                pieces.append(piece)
                yield piece
            if stream.is_stopped:
                stop_reason = "stop"
                break
            if repeats := repetition.push(token):
                break
        if piece := stream.flush().rstrip():
            pieces.append(piece)
            yield piece
        decode_s = times[-1] - times[0] if len(times) > 1 else None
        yield Reply(
            text="".join(pieces),
            stop_reason=stop_reason,
            prompt_tokens=len(sequence),
            cached_tokens=cached,
            completion_tokens=count,
            first_token_s=times[0] - start if times else None,
            decode_tokens_per_s=(len(times) - 1) / decode_s if decode_s is not None else None,
            dropped=len(turns) - len(kept),
            full=stop_reason == "length" and count == room,
            repeats=repeats,
        )

    def encode_pictures(self, pictures: Sequence[Picture]) -> dict[str, EncodedPicture]:
        """Encode each new picture once; return all of them by their sha256."""
        new = {
            picture.sha256: picture for picture in pictures if picture.sha256 not in self._encoded
        }
        for done, (sha256, picture) in enumerate(new.items()):
            self._report("seeing", done, len(new))
            self._encoded[sha256] = self._vision.encode(picture)
        if new:
            self._report("seeing", len(new), len(new))
        encoded = {picture.sha256: self._encoded[picture.sha256] for picture in pictures}
        for sha256 in list(self._encoded)[:-MAX_ENCODED_PICTURES]:
            if sha256 not in encoded:
                del self._encoded[sha256]
        return encoded

    def has_encoded(self, sha256: str) -> bool:
        """Return whether a picture is encoded, so that its pixels are not needed again."""
        return sha256 in self._encoded

    def _fit(
        self, turns: Sequence[Turn], max_tokens: int
    ) -> tuple[Sequence[Turn], list[Position], int]:
        """Leave out the oldest turns if there is no room for an answer.

        Returns:
            The turns that are kept, their positions, and the number of positions that are free.
        """
        context = self.language.context_length
        sequence = self._to_positions(turns)
        limit = context - min(max_tokens, context // 4)
        if len(sequence) > limit:
            turns = truncate_turns(turns, lambda part: len(self._to_positions(part)), limit)
            sequence = self._to_positions(turns)
        room = context - len(sequence)
        if room < 1:
            raise TooLongError(
                f"the conversation is {len(sequence)} tokens long, {1 - room} too many for"
                f" {self.name}",
                f"shorten it to {context - 1} tokens",
            )
        return turns, sequence, room

    def _to_positions(self, turns: Sequence[Turn]) -> list[Position]:
        return to_positions(self._format.encode(turns), self.tokens_per_picture)

    @cached_property
    def _weights(self) -> Path:
        return fetch.fetch(self.spec.language.weights, self._report)

    @cached_property
    def _selection(self) -> Selection:
        if self._checkpoint.gguf is not None:
            return selection.select_for_gguf(self._engine_choice)
        if self._engine_choice != "auto":
            return Selection(self._engine_choice)
        return selection.select_engine(self._weights, self._checkpoint.adapter)

    @cached_property
    def _engine(self) -> Engine:
        if self._checkpoint.gguf is not None:
            _ = self.engine  # raises an error if the user chose one that can't run it
            return loading.load_gguf(
                self._checkpoint.gguf.shards,
                prompt_lookup=self._prompt_lookup,
                report=self._report,
            )
        return loading.load_engine(
            self.engine,
            self._weights,
            precision=self.spec.language.precision,
            adapter=self._checkpoint.adapter,
            prompt_lookup=self._prompt_lookup,
            report=self._report,
        )

    @cached_property
    def _format(self) -> ChatFormat:
        return ChatFormat(self.language.tokenizer)

    @cached_property
    def _vision(self) -> VisionEncoder:
        assert self.spec.vision is not None and self._checkpoint.projector is not None
        return load_encoder(
            self.spec.vision,
            self._checkpoint.projector,
            self.language.hidden_size,
            device=self.language.device_name,
            report=self._report,
        )

    @cached_property
    def _speech(self) -> "SpeechModel":
        from mmtui.pipeline.speech.transcription import SpeechModel

        assert self.spec.speech is not None
        folder = fetch.fetch(self.spec.speech.weights, self._report)
        return SpeechModel(self.spec.speech, folder)


def _add_names(turn: Turn, encoded: dict[str, EncodedPicture]) -> Turn:
    """Return a turn whose pictures carry the names of what a classifier recognizes in them."""
    content = (
        replace(part, names=encoded[part.sha256].names) if isinstance(part, Picture) else part
        for part in turn.content
    )
    return replace(turn, content=tuple(content))


def _pictures(turns: Sequence[Turn]) -> list[Picture]:
    return [part for turn in turns for part in turn.content if isinstance(part, Picture)]
