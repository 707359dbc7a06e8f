"""The model behind a conversation: turns in, a stream of text out."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mmtui.errors import TooLongError
from mmtui.pipeline.answer import Answer
from mmtui.pipeline.assets import fetch, speech_models
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import EngineChoice, EngineName, SpeechChoice
from mmtui.pipeline.engine_pool import EnginePool
from mmtui.pipeline.engines import loading, selection
from mmtui.pipeline.engines.detokenizer import Detokenizer
from mmtui.pipeline.engines.engine import Engine, Language
from mmtui.pipeline.engines.grammar_sampler import GrammarSampler
from mmtui.pipeline.engines.sampling import GREEDY, Sampler, Sampling
from mmtui.pipeline.engines.selection import Selection
from mmtui.pipeline.picture_cache import Features, PictureCache
from mmtui.pipeline.picture_texts import PictureTexts
from mmtui.pipeline.prompt import ChatFormat, Medium, Turn, find_pictures
from mmtui.pipeline.prompt_file import PromptFile, PromptStorage
from mmtui.pipeline.prompt_memory import PromptMemory
from mmtui.pipeline.reply import Reply
from mmtui.pipeline.sequence import Position, to_positions
from mmtui.pipeline.speech.languages import describe_mismatch
from mmtui.pipeline.speech.transcriber import Transcriber
from mmtui.pipeline.truncation import FittedPrompt, find_known_start, fit_prompt
from mmtui.pipeline.vision.encoder import EncodedPicture, VisionEncoder
from mmtui.pipeline.vision.images import Picture
from mmtui.pipeline.vision.loading import load_vision

if TYPE_CHECKING:
    from mmtui.pipeline.engines.mtmd_encoder import MtmdEncoder
    from mmtui.pipeline.speech.clip import Clip
    from mmtui.pipeline.speech.transcription import Transcript


class Assistant:
    """A model, whose parts are fetched and loaded when they are first needed.

    Attributes:
        spec: The specification, with the speech model that was chosen.
        storage: Where what is read of the conversation is stored; None stores nothing.
        transcriber: Transcribes recordings.
        reads_text: Whether the text in pictures is recognized for the model.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        report: Report = ignore_progress,
        engine: EngineChoice = "auto",
        prompt_lookup: bool = True,
        memory_bytes: int = 0,
        read: bool | None = None,
        speech: SpeechChoice = "auto",
        parallel: int = 1,
    ) -> None:
        """Create an assistant without loading anything.

        Args:
            checkpoint: The model.
            report: Called with (step, done, total) as parts are fetched, loaded and used.
            engine: Which engine decodes.
            prompt_lookup: Whether llama.cpp verifies drafts that are copied from earlier text.
            memory_bytes: Limit of the memory for what was read of other conversations.
            read: Whether the text in pictures is recognized and written beside them in prompts;
                None does what the model was trained for.
            speech: Which speech model transcribes; "auto" is that of the checkpoint.
            parallel: How many conversations `reply_in_steps` answers together, with llama.cpp.
        """
        self.spec = speech_models.choose(checkpoint.spec, speech)
        self.transcriber = Transcriber(self.spec, speech, report)
        self._checkpoint, self._report = checkpoint, report
        self._engine_choice, self._prompt_lookup = engine, prompt_lookup
        self.storage: PromptStorage | None = None
        self._memory, self._parallel = PromptMemory(memory_bytes), parallel
        self.reads_text = self.spec.reads_text and checkpoint.can_see if read is None else read
        self._texts = PictureTexts(report) if self.reads_text else None
        self._pictures = PictureCache(report, self._texts, can_see=checkpoint.can_see)

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
        """What the user should know about the engine and the use of pictures, if anything."""
        is_blind = self.reads_text and not self._checkpoint.can_see
        blind = f"{self.name} can't see: of pictures, it gets only the text" if is_blind else None
        return "; ".join(filter(None, (blind, self._selection.note))) or None

    @property
    def is_loaded(self) -> bool:
        """Whether the language model is loaded."""
        return "_engine" in vars(self)

    @property
    def parallel(self) -> int:
        """How many conversations can be answered together. Loads the language model."""
        return len(self._engines)

    @property
    def accepts_pictures(self) -> bool:
        """Whether pictures can be attached: the model can see, or gets the text in them."""
        return self.reads_text or self._checkpoint.can_see

    @property
    def picture_side(self) -> int:
        """Width and height in pixels to which pictures are resized; 0 if the model can't see."""
        if self._checkpoint.gguf is not None:
            return self._checkpoint.gguf.picture_side
        return self.spec.vision.image_size if self.spec.vision and self._checkpoint.can_see else 0

    @property
    def tokens_per_picture(self) -> int:
        """The positions that a picture takes in a prompt.

        With an mmproj, it is the largest number so far, because it depends on the picture.
        """
        if self.spec.vision is not None:
            return self.spec.vision.patches
        return max(map(len, self._pictures.layouts.values()), default=0)

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
            self.require_pictures()
        _ = self._engine
        if pictures and self._checkpoint.can_see:
            _ = self._vision
        return time.perf_counter() - start

    def prepare_language(self) -> Path:
        """Fetch the language model, and convert it to what its engine loads."""
        if self._checkpoint.gguf is not None:
            return self._weights
        return loading.prepare_weights(
            self.engine,
            self._weights,
            precision=self.spec.language.precision,
            adapter=self._checkpoint.adapter,
            report=self._report,
        )

    def require_pictures(self) -> None:
        """Check that the model accepts pictures: it can see, or gets the text in them.

        Raises:
            MissingError: It has no vision tower, or no trained projector.
        """
        if not self.accepts_pictures:
            self._checkpoint.require_vision()

    def start_reading(self, pictures: Sequence[Picture]) -> None:
        """Start recognizing the text in pictures in a thread, if the model gets it."""
        if self._texts is not None:
            self._texts.start(pictures)

    def transcribe(self, clip: "Clip", language: str | None = None) -> "Transcript":
        """Transcribe speech; see `Transcriber.transcribe`."""
        return self.transcriber.transcribe(clip, language)

    def describe_mismatch(self, language: str | None) -> str | None:
        """Return a note if the model does not speak the language of a recording."""
        return describe_mismatch(self.name, self.spec.language.languages, language)

    def reply(
        self,
        turns: Sequence[Turn],
        sampling: Sampling = GREEDY,
        max_tokens: int = 512,
        is_cancelled: Callable[[], bool] = lambda: False,
        schema: str | None = None,
    ) -> Iterator[str | Reply]:
        """Answer a conversation.

        The oldest turns are left out if the conversation leaves no room for an answer.

        Args:
            turns: The conversation; a last turn of the assistant is continued.
            sampling: How tokens are chosen.
            max_tokens: Length limit of the answer.
            is_cancelled: Asked before each token and each chunk of a long prompt.
            schema: A JSON Schema, as JSON: the answer is a JSON document of this form. If it is
                cut off, brackets and texts are closed, so that it can be parsed.

        Yields:
            Pieces of the answer, then one Reply.

        Raises:
            TooLongError: Even the last turn is longer than the context.
            MissingError: The model can't see, or its weights can't be fetched.
            GrammarError: The engine has no grammars, or does not support the schema.
        """
        for event in self.reply_in_steps(turns, sampling, max_tokens, is_cancelled, schema):
            if event is None:
                self.compute()
            else:
                yield event

    def reply_in_steps(
        self,
        turns: Sequence[Turn],
        sampling: Sampling,
        max_tokens: int,
        is_cancelled: Callable[[], bool],
        schema: str | None,
    ) -> Iterator[str | Reply | None]:
        """Answer a conversation as `reply` does, together with up to `parallel` others.

        Yields:
            Also None, after which the others go on up to there, and then `compute` is called.
        """
        pictures = find_pictures(turns)
        self.start_reading(pictures)
        self.load(pictures=bool(pictures))
        sampler = self._make_sampler(sampling, schema)
        start = time.perf_counter()
        turns, features = self._encode_turns(turns)
        kept, sequence, room = self._fit(turns, max_tokens)
        detokenizer = Detokenizer(self.language.make_decoder(), self._format.stop_strings)
        stop_ids = self.language.stop_ids | self._format.stop_ids
        answer = Answer(detokenizer, stop_ids, max_tokens, room, start)
        with self._engines.borrow(sequence) as engine:
            self._restore(engine, sequence)
            cached = engine.count_cached(sequence)
            with closing(engine.stream(sequence, features, sampler)) as tokens:
                while not answer.is_complete:
                    if is_cancelled():
                        answer.end("cancelled")
                    elif (token := next(tokens)) is None:
                        yield None
                    elif piece := answer.push(token):
                        yield piece
        yield from answer.flush(is_document=schema is not None)
        yield answer.to_reply(
            prompt_tokens=len(sequence), cached_tokens=cached, dropped=len(turns) - len(kept)
        )

    def compute(self) -> None:
        """Compute the next tokens of all answers of `reply_in_steps` that have yielded None."""
        self._engines.compute()

    def prefill(
        self, turns: Sequence[Turn], pictures: Sequence[Picture] = (), max_tokens: int = 512
    ) -> Iterator[None]:
        """Read ahead what is known of the prompt before the text of the next question is.

        What was read is kept if the caller stops the iteration.

        Args:
            turns: The conversation before the question.
            pictures: The pictures that go with the question.
            max_tokens: Length limit of the answer.

        Yields:
            None after each small batch of the prompt, and while it is stored.

        Raises:
            MissingError: The model can't see, or its weights can't be fetched.
        """
        turns = [*turns, Turn("user", tuple(pictures))]
        self.start_reading(find_pictures(turns))
        self.load(pictures=bool(find_pictures(turns)))
        turns, features = self._encode_turns(turns)
        try:
            known = find_known_start(turns, lambda turns: self._fit(turns, max_tokens))
        except TooLongError:  # reported when the question is asked
            return
        with self._engines.borrow(known) as engine:
            file = self._restore(engine, known)
            for done in engine.prefill(known, features):
                self._report("reading the conversation", done, len(known))
                yield
            if file:
                yield from file.save()

    def encode_pictures(self, pictures: Sequence[Picture]) -> dict[str, EncodedPicture]:
        """Encode and read each new picture once; return the encoded ones by their sha256."""
        self.start_reading(pictures)
        return self._pictures.encode(pictures, self._encode)

    def has_encoded(self, sha256: str) -> bool:
        """Return whether a picture is encoded, so that its pixels are not needed again."""
        return sha256 in self._pictures

    def _encode_turns(self, turns: Sequence[Turn]) -> tuple[list[Turn], Features]:
        return self._pictures.encode_turns(turns, self._encode, self._format.count_tokens)

    def _encode(self, medium: Medium) -> EncodedPicture:
        if isinstance(medium, Picture):
            return self._vision.encode(medium)
        return self._hearing.encode(medium)

    def _restore(self, engine: Engine, sequence: Sequence[Position]) -> PromptFile | None:
        """Restore what was read of a prompt, and return its file; None if nothing is stored."""
        if self.storage is None:
            return None
        file = PromptFile(self.storage, engine, self._checkpoint.fingerprint)
        file.restore(sequence)
        return file

    def _make_sampler(self, sampling: Sampling, schema: str | None) -> Sampler:
        if schema is None:
            return Sampler(sampling)
        return GrammarSampler(sampling, self._engine.make_grammar(schema))

    def _fit(self, turns: Sequence[Turn], max_tokens: int) -> FittedPrompt:
        context = self.language.context_length
        return fit_prompt(turns, self._to_positions, context, max_tokens, self.name)

    def _to_positions(self, turns: Sequence[Turn]) -> list[Position]:
        layouts = self._pictures.layouts
        return to_positions(self._format.encode(turns), self.tokens_per_picture, layouts)

    @cached_property
    def _weights(self) -> Path:
        return fetch.fetch(self.spec.language.weights, self._report)

    @cached_property
    def _selection(self) -> Selection:
        if self._checkpoint.gguf is not None:
            return selection.select_for_gguf(self._engine_choice, self._checkpoint.gguf.can_hear)
        if self._engine_choice != "auto":
            return Selection(self._engine_choice)
        return selection.select_engine(self._weights, self._checkpoint.adapter)

    @cached_property
    def _engine(self) -> Engine:
        if self._checkpoint.gguf is not None:
            _ = self.engine  # raises an error if the user chose one that can't run it
            return loading.load_gguf(
                self._checkpoint.gguf,
                self._weights,
                prompt_lookup=self._prompt_lookup,
                report=self._report,
            )
        return loading.load_engine(
            self.engine,
            self._weights,
            part=self.spec.language.weights.part,
            precision=self.spec.language.precision,
            adapter=self._checkpoint.adapter,
            prompt_lookup=self._prompt_lookup,
            report=self._report,
        )

    @cached_property
    def _engines(self) -> EnginePool:
        engines = loading.split_engine(self._engine, self._parallel, self._memory.add)
        return EnginePool(engines, self._memory)

    @cached_property
    def _format(self) -> ChatFormat:
        return ChatFormat(self.language.tokenizer, self.spec.language.prompt)

    @cached_property
    def _vision(self) -> VisionEncoder:
        files = self._checkpoint.gguf
        if files is not None:
            return loading.load_mmproj(self.language, files, self._weights, report=self._report)
        weights, language = self._checkpoint.projector_weights, self.language
        assert weights is not None
        size, device = language.hidden_size, language.device_name
        return load_vision(self.spec, weights, size, device, self._report)

    @cached_property
    def _hearing(self) -> "MtmdEncoder":
        self._checkpoint.require_hearing()
        files = self._checkpoint.gguf
        if files is None or files.mmproj:  # the file of the audio tower has a vision tower, too
            return cast("MtmdEncoder", self._vision)
        return loading.load_audio_tower(self.language, files, self._weights, report=self._report)
