"""Prefill and decode with a KV cache that is kept between turns."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmtui.errors import MmtuiError
from mmtui.pipeline import attention, graph
from mmtui.pipeline.graph import FixedCache
from mmtui.pipeline.language import LanguageModel
from mmtui.pipeline.multimodal import embed
from mmtui.pipeline.sampling import Sampler
from mmtui.pipeline.sequence import PREFILL_CHUNK, Position, reusable
from mmtui.pipeline.step import Step, can_step

# `torch.backends.mkldnn.flags` also sets a flag of Intel's GPUs, and warns where there is none.
warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")


@dataclass
class Cache:
    """Keys and values of the positions `held`, in order."""

    held: list[Position] = field(default_factory=list)
    values: Any = None  # transformers.Cache, or a FixedCache
    prompt: list[Position] = field(default_factory=list)  # the last that was read,
    logits: Tensor | None = None  # and those (1, vocabulary) after it

    def has_read(self, sequence: Sequence[Position]) -> bool:
        """Whether nothing of a prompt is left to read: the last one comes again.

        Its last position could be read alone, but with other rounding than among the others.
        """
        count = len(sequence)
        return self.prompt == list(sequence) and self.held[:count] == self.prompt


class Engine:
    """Decodes with a causal LM, feeding it embeddings; batch 1 keeps its cache."""

    def __init__(self, language: LanguageModel) -> None:
        attention.use(language.model)
        self._language = language
        self._records = graph.can_record(language.model)
        self._step = Step(language.model) if can_step(language.model) else None
        self._kept = Cache()

    def cached(self, sequence: Sequence[Position]) -> int:
        """How many leading positions of `sequence` a `stream` would not compute again."""
        kept = self._kept
        return len(sequence) if kept.has_read(sequence) else reusable(kept.held, sequence)

    @torch.inference_mode()
    def stream(
        self,
        sequence: Sequence[Position],
        features: Mapping[str, Tensor],
        sampler: Sampler,
    ) -> Iterator[int | None]:
        """Token after token, without end: the caller stops, at any token.

        A long prompt is read in pieces; None stands between them, so that the caller may
        stop there too. `features` are the projected patch features of the pictures.
        """
        self._kept = self._reusable(self.cached(sequence))
        while rest := sequence[len(self._kept.held) :]:
            logits = self._feed(rest[:PREFILL_CHUNK], features)
            self._kept.prompt, self._kept.logits = list(self._kept.held), logits
            if len(rest) > PREFILL_CHUNK:
                yield None
        assert self._kept.logits is not None
        logits = self._kept.logits
        while True:
            token = int(sampler(_array(logits))[0])
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
    ) -> list[list[int]]:
        """Answers to a batch of prompts, each without its stop token. Keeps no cache."""
        embedding = self._language.embedding
        inputs, mask = embed(sequences, embedding, features, side="left")
        at = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = self._new_cache()
        logits = self._forward(inputs, cache, mask, at)
        answers: list[list[int]] = [[] for _ in sequences]
        open_rows = set(range(len(sequences)))
        for number in range(1, max_tokens + 1):
            tokens = sampler(_array(logits))
            for row in list(open_rows):
                token = int(tokens[row])
                if token in stop_ids:
                    open_rows.remove(row)
                else:
                    answers[row].append(token)
            if not open_rows or number == max_tokens:
                break
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            at = at[:, -1:] + 1
            new = torch.from_numpy(tokens).to(self._language.device)[:, None]
            logits = self._forward(embedding(new), cache, mask, at)
        return answers

    def _feed(self, new: Sequence[Position], features: Mapping[str, Tensor]) -> Tensor:
        """Logits after `new`, which the kept cache then holds; it is lost if this fails."""
        cache, self._kept = self._kept, Cache()
        inputs, _ = embed([new], self._language.embedding, features)
        if isinstance(cache.values, FixedCache) and not cache.values.has_room(len(new)):
            cache.values = cache.values.growing()
        if isinstance(cache.values, FixedCache):
            logits = cache.values.read(inputs)
        else:
            logits = self._forward(inputs, cache.values)
        cache.held.extend(new)
        self._kept = cache
        return logits

    def _reusable(self, common: int) -> Cache:
        """The kept cache cut to its first `common` positions, or a new one if it can't be cut."""
        cache = self._kept
        if not common and not isinstance(cache.values, FixedCache):
            return self._empty()
        if common < len(cache.held):
            try:
                cache.values.crop(common)
            except (AttributeError, NotImplementedError, ValueError):
                return self._empty()  # sliding windows and recurrent states can't be cut
        del cache.held[common:]
        return cache

    def _empty(self) -> Cache:
        return Cache(
            values=FixedCache(self._language.model) if self._records else self._new_cache()
        )

    def _new_cache(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self._language.model.config)

    def _forward(
        self, inputs: Tensor, cache: Any, mask: Tensor | None = None, at: Tensor | None = None
    ) -> Tensor:
        """Logits (batch, vocabulary) of the last position, in fp32; `cache` grows."""
        length = cache.get_seq_length() + inputs.shape[1]
        # As an index: cut out by a number, the rows of a batch are not one block, and torch would
        # copy the output layer for each of them.
        last = torch.tensor([inputs.shape[1] - 1], device=inputs.device)
        is_one = inputs.shape[:2].numel() == 1
        try:
            with self._fast_vectors() if is_one else nullcontext():
                if self._step and is_one and mask is None:
                    logits: Tensor = self._step(inputs, cache)
                else:
                    logits = self._language.model(
                        inputs_embeds=inputs,
                        attention_mask=mask,
                        position_ids=at,
                        past_key_values=cache,
                        use_cache=True,
                        logits_to_keep=last,
                    ).logits[:, -1]
        except (TypeError, ValueError, AttributeError) as error:
            raise self._unsupported() from error
        if cache.get_seq_length() != length:  # recurrent models ignore it, and would forget
            raise self._unsupported()
        return logits.float()

    def _unsupported(self) -> MmtuiError:
        return MmtuiError(
            f"models of the kind {self._language.model.config.model_type} are not supported",
            "take a decoder with attention and a key-value cache, as Llama, Qwen, Phi or Gemma",
        )

    def _fast_vectors(self) -> AbstractContextManager[None]:
        """On a CPU, oneDNN multiplies a single bf16 row at half the speed of torch's own kernel."""
        if self._language.device.type != "cpu" or self._language.precision != "bf16":
            return nullcontext()
        context: AbstractContextManager[None] = torch.backends.mkldnn.flags(enabled=False)
        return context


def _array(logits: Tensor) -> np.ndarray:
    """On the CPU: the sampler is the same for every engine and device."""
    array: np.ndarray = logits.cpu().numpy()
    return array
