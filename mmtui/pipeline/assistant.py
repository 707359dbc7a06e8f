"""The facade: a conversation in, a stream of text out, and at its end what it took."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmtui.errors import MissingError, TooLongError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.fetch import Report, silent
from mmtui.pipeline.assets.spec import Asset, EngineChoice, EngineName
from mmtui.pipeline.engines import selection
from mmtui.pipeline.engines.detokenizer import TextStream
from mmtui.pipeline.engines.repetition import Repetition
from mmtui.pipeline.engines.sampling import GREEDY, Sampler, Sampling
from mmtui.pipeline.gguf import conversion
from mmtui.pipeline.prompt import ChatFormat, Turn
from mmtui.pipeline.sequence import Position, positions
from mmtui.pipeline.truncation import fitting
from mmtui.pipeline.vision.images import Picture

if TYPE_CHECKING:
    from torch import Tensor

    from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine, LlamaModel
    from mmtui.pipeline.engines.torch_engine import Engine
    from mmtui.pipeline.engines.torch_language import LanguageModel
    from mmtui.pipeline.speech.sound import Clip
    from mmtui.pipeline.speech.transcription import SpeechModel, Transcript
    from mmtui.pipeline.vision.classifier import Classifier
    from mmtui.pipeline.vision.projector import Projector
    from mmtui.pipeline.vision.tower import VisionTower

# Memory as mmtrain's pre-flight estimates it, time at 40 % of the tensor cores' peak in bf16.
PHI2_SIGHT = (
    "on a GPU of 24 GB (an RTX 4090): `mmtrain align --model phi2 --data COCO --steps 11000"
    " --out runs/phi2-align` (12 GiB, about 1 h), `mmtrain finetune --from runs/phi2-align --data"
    " LLAVA.json --images COCO/train2017 --steps 10000 --checkpointing --out runs/phi2` (12 GiB,"
    " 5 h), `mmtrain export runs/phi2 phi2`; of 40 GB (an A100): --batch 4 --accumulation 4 for"
    " --checkpointing (35 GiB, 2 h)"
)

REMEMBERED_PICTURES = 256  # their projected features take 0.2 MB each


@dataclass(frozen=True)
class Reply:
    """The end of an answer. Tokens of a prompt include the patches of its pictures.

    `dropped` is how many of the oldest turns were left out, for the conversation is longer
    than the model's context; `full`: the answer ended where the context does; `repeats`: it was
    ended because it had become a loop. Both are `stop_reason` "length", as it is not complete.
    """

    text: str
    stop_reason: Literal["stop", "length", "cancelled"]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_s: float | None  # None if it was cancelled before
    decode_tokens_per_s: float | None  # None for a single token
    dropped: int = 0
    full: bool = False
    repeats: bool = False


def prepare(asset: Asset, report: Report = silent) -> Path:
    """Fetch an asset if need be, and convert it if it is a GGUF. Returns what torch loads."""
    path = fetch.fetch(asset, report)
    if (source := conversion.gguf_in(path)) is None:
        return path
    from mmtui.pipeline.gguf import to_huggingface

    return to_huggingface.convert(source, fetch.digest(source), report)


class Assistant:
    """A model, whose parts are fetched and loaded when they are first needed."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        report: Report = silent,
        engine: EngineChoice = "auto",
        lookup: bool = True,
    ) -> None:
        """`lookup`: what an answer quotes is read at once, where the engine can."""
        self._checkpoint, self._wanted, self._lookup = checkpoint, engine, lookup
        self.spec = checkpoint.spec
        self._report = report
        self._features: dict[str, Tensor] = {}  # of pictures, by sha256
        self._names: dict[str, str] = {}  # of the same pictures

    def load(self, *, pictures: bool = False) -> float:
        """Load the language model, and what seeing takes. Returns the seconds that it took."""
        began = time.perf_counter()
        if pictures:
            self.check_sight()
        _ = self._engine
        if pictures:
            _ = self._tower, self._classifier, self._projector
        return time.perf_counter() - began

    def prepare(self) -> Path:
        """Have the language model as its engine loads it: fetched, and converted if need be."""
        if self.engine == "torch":
            return prepare(self.spec.language.weights, self._report)
        precision, adapter = self.spec.language.precision, self._checkpoint.adapter
        return conversion.to_gguf(self._weights, adapter, precision, self._report).model

    def check_sight(self) -> None:
        """Raises MissingError, with the cure, where the model has not learnt to see."""
        name = self.spec.name
        if self.spec.vision is None:
            raise MissingError(f"{name} reads and hears, but has no vision tower")
        if self._checkpoint.projector is None:
            raise MissingError(
                f"{name} can't see yet: its projector is not trained",
                PHI2_SIGHT
                if name == "phi2"
                else f"`mmtrain align --model {name}` trains one; then --model takes its folder",
            )

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def picture_side(self) -> int:
        """Pixels of the square that it sees of a picture; 0 if it can't see."""
        return self.spec.vision.image_size if self.spec.vision and self._checkpoint.sees else 0

    @property
    def stored_as(self) -> str:
        """The kind of the language model's weights: bf16, Q4_0; loads it."""
        return self._language.stored_as

    @property
    def bytes_per_token(self) -> int:
        """Of the weights that decoding a token reads; loads the language model."""
        return self._language.bytes_per_token

    @property
    def device(self) -> str:
        """Of the language model, which this loads: "cpu", "cuda"."""
        return str(self._language.device).partition(":")[0]

    def context(self) -> int:
        """The most tokens of a conversation; loads the language model."""
        return self._language.context

    def transcribe(self, clip: "Clip") -> "Transcript":
        """Speech, mono at 16 kHz, to text. Silence is told without loading anything."""
        from mmtui.pipeline.speech.sound import RATE, is_silent
        from mmtui.pipeline.speech.transcription import Transcript

        if self.spec.speech is None:
            raise MissingError(f"{self.spec.name} has no speech model", "use --model smol")
        if is_silent(clip):
            return Transcript("", self.spec.speech.language, len(clip) / RATE)
        return self._speech.transcribe(clip)

    def tokens_per_picture(self) -> int:
        return self.spec.vision.patches if self.spec.vision else 0

    def reply(
        self,
        turns: Sequence[Turn],
        sampling: Sampling = GREEDY,
        max_tokens: int = 512,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[str | Reply]:
        """The pieces of the answer as they are certain, then one Reply.

        `cancelled` is asked before each token and each piece of a long prompt. Of a
        conversation that leaves no room for an answer, the oldest turns are left out. Raises
        TooLongError if even the last one does not fit, MissingError for pictures it can't see.
        """
        self.load(pictures=bool(_pictures(turns)))
        began = time.perf_counter()
        context = self._language.context
        features = self.see(_pictures(turns))
        kept: Sequence[Turn] = [self._named(turn) for turn in turns]
        sequence = self._positions(kept)
        most = context - min(max_tokens, context // 4)
        if len(sequence) > most:
            kept = fitting(kept, lambda part: len(self._positions(part)), most)
            sequence = self._positions(kept)
        room = context - len(sequence)
        if room < 1:
            raise TooLongError(
                f"the conversation is {len(sequence)} tokens long, {1 - room} too many for"
                f" {self.spec.name}",
                f"shorten it to {context - 1} tokens",
            )
        cached = self._engine.cached(sequence)
        stream = TextStream(self._language.tokenizer, self._format.turn_text)
        stops = self._language.stop_ids | self._format.turn_ids
        said: list[str] = []
        times: list[float] = []  # when each token came, a stop token included
        count = 0
        reason: Literal["stop", "length", "cancelled"] = "length"
        repetition, repeats = Repetition(), False
        tokens = self._engine.stream(sequence, features, Sampler(sampling))
        while count < min(max_tokens, room):
            if cancelled():
                reason = "cancelled"
                break
            if (token := next(tokens)) is None:
                continue
            times.append(time.perf_counter())
            if token in stops:
                reason = "stop"
                break
            count += 1
            if piece := stream.push(token):
                said.append(piece)
                yield piece
            if stream.ended:
                reason = "stop"
                break
            if repeats := repetition.push(token):
                break
        if piece := stream.flush().rstrip():
            said.append(piece)
            yield piece
        yield Reply(
            text="".join(said),
            stop_reason=reason,
            prompt_tokens=len(sequence),
            cached_tokens=cached,
            completion_tokens=count,
            first_token_s=times[0] - began if times else None,
            decode_tokens_per_s=(
                (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else None
            ),
            dropped=len(turns) - len(kept),
            full=reason == "length" and count == room,
            repeats=repeats,
        )

    def _positions(self, turns: Sequence[Turn]) -> list[Position]:
        return positions(self._format.encode(turns), self.tokens_per_picture())

    def see(self, pictures: Sequence[Picture]) -> "dict[str, Tensor]":
        """Projected patch features (patches, hidden) by sha256; each picture is encoded once."""
        if not pictures:
            return {}
        import torch

        new = {p.sha256: p for p in pictures if p.sha256 not in self._features}
        for done, (sha256, picture) in enumerate(new.items()):
            self._report("seeing", done, len(new))
            with torch.inference_mode():
                patches = self._tower.encode([picture.image])
                self._features[sha256] = self._projector(patches)[0]
                self._names[sha256] = (
                    self._classifier.name(patches[0].cpu().numpy()) if self._classifier else ""
                )
        if new:
            self._report("seeing", len(new), len(new))
        wanted = {picture.sha256: self._features[picture.sha256] for picture in pictures}
        for sha256 in list(self._features)[: -REMEMBERED_PICTURES or None]:
            if sha256 not in wanted:
                del self._features[sha256], self._names[sha256]
        return wanted

    def remembers(self, sha256: str) -> bool:
        """Whether a picture was seen: of its pixels nothing is needed any more."""
        return sha256 in self._features

    def _named(self, turn: Turn) -> Turn:
        content = (
            replace(part, names=self._names[part.sha256]) if isinstance(part, Picture) else part
            for part in turn.content
        )
        return replace(turn, content=tuple(content))

    @property
    def engine(self) -> EngineName:
        """Which one answers; fetches the language model."""
        return self._chosen[0]

    @property
    def note(self) -> str | None:
        """What the user should know about the choice of the engine, if anything."""
        return self._chosen[1]

    @cached_property
    def _chosen(self) -> tuple[EngineName, str | None]:
        if self._wanted != "auto":
            return self._wanted, None
        return selection.best(self._weights, self._checkpoint.adapter)

    @cached_property
    def _weights(self) -> Path:
        return fetch.fetch(self.spec.language.weights, self._report)

    @cached_property
    def _language(self) -> "LanguageModel | LlamaModel":
        precision, adapter = self.spec.language.precision, self._checkpoint.adapter
        if self.engine == "llamacpp":
            return selection.load_llamacpp(
                self._weights, precision=precision, adapter=adapter, report=self._report
            )
        from mmtui.pipeline.engines import torch_language

        return torch_language.load(
            prepare(self.spec.language.weights, self._report),
            precision=precision,
            adapter=adapter,
            random=self._checkpoint.random,
            report=self._report,
        )

    @cached_property
    def _engine(self) -> "Engine | LlamaEngine":
        model: Any = self._language
        if self.engine == "llamacpp":
            from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine

            return LlamaEngine(model, self._lookup)
        from mmtui.pipeline.engines.torch_engine import Engine

        return Engine(model)

    @cached_property
    def _format(self) -> ChatFormat:
        return ChatFormat(self._language.tokenizer)

    @cached_property
    def _tower(self) -> "VisionTower":
        from mmtui.pipeline.vision.tower import VisionTower

        assert self.spec.vision is not None
        weights = fetch.fetch(self.spec.vision.weights, self._report)
        return VisionTower(self.spec.vision, weights).to(self._language.device)

    @cached_property
    def _classifier(self) -> "Classifier | None":
        from mmtui.pipeline.vision.classifier import load_classifier

        assert self.spec.vision is not None
        if not self.spec.vision.names:
            return None
        weights = fetch.fetch(self.spec.vision.weights, self._report)
        return load_classifier(weights, self.spec.vision.names)

    @cached_property
    def _projector(self) -> "Projector":
        from mmtui.pipeline.vision import projector

        assert self.spec.vision is not None and self._checkpoint.projector is not None
        module = projector.load(
            self._checkpoint.projector, self.spec.vision.width, self._language.hidden
        )
        return module.to(self._language.device)

    @cached_property
    def _speech(self) -> "SpeechModel":
        from mmtui.pipeline.speech.transcription import SpeechModel

        assert self.spec.speech is not None
        folder = fetch.fetch(self.spec.speech.weights, self._report)
        return SpeechModel(self.spec.speech, folder)


def _pictures(turns: Sequence[Turn]) -> list[Picture]:
    return [part for turn in turns for part in turn.content if isinstance(part, Picture)]
