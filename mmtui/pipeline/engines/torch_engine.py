"""Prefill and decode with a KV cache that is kept between turns."""

import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mmtui.pipeline.engines import attention, cuda_graph
from mmtui.pipeline.engines.cuda_graph import CudaGraphDecoder
from mmtui.pipeline.engines.decoder import Decoder, PlainDecoder
from mmtui.pipeline.engines.llama_step import LlamaStepDecoder, can_step
from mmtui.pipeline.engines.sampling import Sampler
from mmtui.pipeline.engines.threads import ThreadCount
from mmtui.pipeline.engines.torch_language import LanguageModel
from mmtui.pipeline.multimodal import embed
from mmtui.pipeline.sequence import PREFILL_CHUNK, Position, reusable

# `torch.backends.mkldnn.flags` also sets a flag of Intel's GPUs, and warns where there is none.
warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")


def select_decoder(language: LanguageModel) -> Decoder:
    """Return a new decoder of the fastest kind that is right for this model on its device."""
    if cuda_graph.can_record(language.model):
        return CudaGraphDecoder(language)
    return LlamaStepDecoder(language) if can_step(language.model) else PlainDecoder(language)


class Engine:
    """Decodes with a causal LM, feeding it embeddings; keeps the cache of the last sequence."""

    def __init__(self, language: LanguageModel) -> None:
        attention.use(language.model)
        self._language = language
        self._decoder: Decoder | None = None
        self._held: list[Position] = []  # what the decoder has read
        self._prompt: list[Position] = []  # the last that was read, and the logits after it
        self._logits: Tensor | None = None
        self._threads = ThreadCount()
        torch.set_num_threads(self._threads.value)

    def cached(self, sequence: Sequence[Position]) -> int:
        """How many leading positions of `sequence` a `stream` would not compute again."""
        return reusable(self._held, sequence, self._prompt)

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
        common = self.cached(sequence)
        if self._decoder is not None and common < len(self._held):
            del self._held[self._decoder.crop(common) :]
        while rest := sequence[len(self._held) :]:
            logits = self._feed(rest[:PREFILL_CHUNK], features)
            # A copy: a graph that is replayed overwrites its logits.
            self._prompt, self._logits = list(self._held), logits.clone()
            if len(rest) > PREFILL_CHUNK:
                yield None
        assert self._logits is not None
        logits = self._logits
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
        position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
        decoder = PlainDecoder(self._language)
        logits = decoder.forward(inputs, mask, position_ids)
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
            position_ids = position_ids[:, -1:] + 1
            new = torch.from_numpy(tokens).to(self._language.device)[:, None]
            logits = decoder.forward(embedding(new), mask, position_ids)
        return answers

    def _feed(self, new: Sequence[Position], features: Mapping[str, Tensor]) -> Tensor:
        """Logits after `new`, which the cache then holds; the cache is lost if this fails."""
        decoder, self._decoder = self._decoder or select_decoder(self._language), None
        held, self._held = self._held, []
        inputs, _ = embed([new], self._language.embedding, features)
        if self._threads.update():
            torch.set_num_threads(self._threads.value)
        logits = decoder.forward(inputs)
        self._decoder, self._held = decoder, [*held, *new]
        return logits


def _array(logits: Tensor) -> np.ndarray:
    """On the CPU: the sampler is the same for every engine and device."""
    array: np.ndarray = logits.cpu().numpy()
    return array
