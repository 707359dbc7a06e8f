"""The engine on torch: prefill and decode with a KV cache that is kept between turns."""

import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import NoReturn

import numpy as np
import torch
import transformers
from torch import Tensor

from mmtui.errors import GrammarError
from mmtui.pipeline.engines import attention
from mmtui.pipeline.engines.cuda_graph import CudaGraphDecoder
from mmtui.pipeline.engines.decoder import Decoder, PlainDecoder
from mmtui.pipeline.engines.engine import CacheCopy, PictureFeatures
from mmtui.pipeline.engines.sampling import Sampler
from mmtui.pipeline.engines.threads import ThreadCount
from mmtui.pipeline.engines.torch_language import TorchLanguage
from mmtui.pipeline.engines.torch_llama import LlamaStepDecoder
from mmtui.pipeline.multimodal import embed
from mmtui.pipeline.sequence import (
    AHEAD_CHUNK,
    PREFILL_CHUNK,
    Position,
    count_reusable,
    count_reusable_ahead,
)

# `torch.backends.mkldnn.flags` also sets a flag of Intel GPUs, which warns if there is none.
warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")


def select_decoder(language: TorchLanguage) -> Decoder:
    """Return a new decoder: the fastest one that supports this model on its device."""
    if CudaGraphDecoder.supports(language.model):
        return CudaGraphDecoder(language)
    if LlamaStepDecoder.supports(language.model):
        return LlamaStepDecoder(language)
    return PlainDecoder(language)


class TorchEngine:
    """Decodes with a transformers model, which gets embeddings instead of token ids."""

    def __init__(self, language: TorchLanguage, threads: ThreadCount | None = None) -> None:
        """Start with an empty cache.

        Args:
            language: The model that decodes.
            threads: How many threads compute; by default as many as other processes leave free.
        """
        attention.install(language.model)
        self.language = language
        self._decoder: Decoder | None = None
        self._cached: list[Position] = []  # the positions in the decoder's cache
        self._prompt: list[Position] = []  # the last prompt that was computed
        self._logits: Tensor | None = None  # after that prompt
        self.threads = threads or ThreadCount()
        torch.set_num_threads(self.threads.value)

    @property
    def cached(self) -> Sequence[Position]:
        """The positions in the cache."""
        return self._cached

    @property
    def state_format(self) -> str:
        """What determines the format of `dump_state`, apart from the weights."""
        versions = f"{torch.__version__} {transformers.__version__}"
        return f"torch {versions} {self.language.precision} {self.language.device_name}"

    def dump_state(self, max_bytes: int) -> memoryview | None:
        """Return a copy of the cache, as `Engine.dump_state` describes."""
        decoder = self._decoder
        return decoder.dump_cache(max_bytes) if isinstance(decoder, PlainDecoder) else None

    def load_state(self, positions: Sequence[Position], state: memoryview) -> None:
        """Replace the cache, as `Engine.load_state` describes."""
        decoder = select_decoder(self.language)
        if isinstance(decoder, PlainDecoder):
            decoder.load_cache(state)
            self._decoder, self._cached = decoder, list(positions)

    def copy_cache(self, max_bytes: int) -> CacheCopy | None:
        """Return a copy of the cache, as `Engine.copy_cache` describes."""
        if (state := self.dump_state(max_bytes)) is None:
            return None
        logits = None if self._logits is None else _to_array(self._logits)
        return CacheCopy(list(self._cached), self._prompt, logits, state)

    def restore_cache(self, copy: CacheCopy) -> None:
        """Replace the cache, as `Engine.restore_cache` describes."""
        self.load_state(copy.positions, copy.state)
        self._prompt = list(copy.prompt)
        self._logits = None if copy.logits is None else torch.from_numpy(copy.logits)

    def make_grammar(self, schema: str) -> NoReturn:  # noqa: ARG002
        """Raise the error of `Engine.make_grammar`."""
        raise GrammarError("the torch engine has no grammars", "use the engine llamacpp")

    def compute(self) -> None:
        """Do nothing: this engine computes at once."""

    def count_cached(self, sequence: Sequence[Position]) -> int:
        """Return how many leading positions of `sequence` are in the cache already."""
        return count_reusable(self._cached, sequence, self._prompt)

    @torch.inference_mode()
    def prefill(self, sequence: Sequence[Position], features: PictureFeatures) -> Iterator[int]:
        """Read a prompt ahead, as `Engine.prefill` describes."""
        tensors = {sha256: self._to_tensor(array) for sha256, array in features.items()}
        count = count_reusable_ahead(self._cached, sequence)
        if count < len(sequence):
            self._crop(count)
        while rest := sequence[len(self._cached) :]:
            self._feed(rest[:AHEAD_CHUNK], tensors)
            yield len(self._cached)

    @torch.inference_mode()
    def stream(
        self, sequence: Sequence[Position], features: PictureFeatures, sampler: Sampler
    ) -> Generator[int | None, None, None]:
        """Generate tokens without end, as `Engine.stream` describes."""
        tensors = {sha256: self._to_tensor(array) for sha256, array in features.items()}
        self._crop(self.count_cached(sequence))
        while rest := sequence[len(self._cached) :]:
            logits = self._feed(rest[:PREFILL_CHUNK], tensors)
            # A copy, because replaying a CUDA graph overwrites its logits.
            self._prompt, self._logits = list(self._cached), logits.clone()
            if len(rest) > PREFILL_CHUNK:
                yield None
        assert self._logits is not None
        logits = self._logits
        while True:
            token = int(sampler(_to_array(logits))[0])
            yield token
            logits = self._feed([token], {})

    @torch.inference_mode()
    def generate(
        self,
        sequences: Sequence[Sequence[Position]],
        features: Mapping[str, Tensor],
        sampler: Sampler,
        max_tokens: int,
        stop_ids: frozenset[int],
        answers_per_prompt: int = 1,
    ) -> list[list[int]]:
        """Generate answers to each prompt of a batch, in a cache that is discarded.

        Args:
            sequences: The prompts.
            features: Projected patch features (patches, hidden_size) by the sha256 of their
                picture.
            sampler: Chooses the next token of each row.
            max_tokens: Length limit of each answer.
            stop_ids: Tokens that end an answer.
            answers_per_prompt: How many answers to generate to each prompt, which is read once.

        Returns:
            The tokens of each answer, without the stop token; the answers to a prompt follow each
            other.
        """
        embedding = self.language.embedding
        inputs, mask = embed(sequences, embedding, features, side="left")
        position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
        decoder = PlainDecoder(self.language)
        logits = decoder.forward(inputs, mask, position_ids)
        if answers_per_prompt > 1:
            decoder.cache.batch_repeat_interleave(answers_per_prompt)
            logits, mask, position_ids = (
                tensor.repeat_interleave(answers_per_prompt, dim=0)
                for tensor in (logits, mask, position_ids)
            )
        answers: list[list[int]] = [[] for _ in logits]
        unfinished = set(range(len(answers)))
        for number in range(1, max_tokens + 1):
            tokens = sampler(_to_array(logits))
            for row in list(unfinished):
                token = int(tokens[row])
                if token in stop_ids:
                    unfinished.remove(row)
                else:
                    answers[row].append(token)
            if not unfinished or number == max_tokens:
                break
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            position_ids = position_ids[:, -1:] + 1
            new = torch.from_numpy(tokens).to(self.language.device)[:, None]
            logits = decoder.forward(embedding(new), mask, position_ids)
        return answers

    def _to_tensor(self, features: np.ndarray) -> Tensor:
        weight = self.language.embedding.weight
        return torch.from_numpy(features).to(weight.device, weight.dtype)

    def _crop(self, length: int) -> None:
        """Remove all but the first `length` positions from the cache."""
        if self._decoder is not None and length < len(self._cached):
            del self._cached[self._decoder.crop(length) :]

    def _feed(self, positions: Sequence[Position], features: Mapping[str, Tensor]) -> Tensor:
        """Append positions to the cache; return the logits (1, vocabulary) after the last one.

        The cache is lost if this fails.
        """
        decoder, self._decoder = self._decoder or select_decoder(self.language), None
        cached, self._cached = self._cached, []
        inputs, _ = embed([positions], self.language.embedding, features)
        self.threads.update()
        if torch.get_num_threads() != self.threads.value:
            torch.set_num_threads(self.threads.value)
        logits = decoder.forward(inputs)
        self._decoder, self._cached = decoder, [*cached, *positions]
        return logits


def _to_array(logits: Tensor) -> np.ndarray:
    """Copy logits to the CPU, where the sampler runs."""
    array: np.ndarray = logits.cpu().numpy()
    return array
