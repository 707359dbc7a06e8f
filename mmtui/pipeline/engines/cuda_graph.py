"""Decoding with CUDA graphs: the step of a token is captured once and replayed.

A model of 30 layers launches about a thousand small kernels for a token. Launching them from Python
takes longer than running them. A CUDA graph launches all of them at once, but needs a KV cache at
fixed addresses.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmtui.pipeline.engines.decoder import PlainDecoder
from mmtui.pipeline.engines.torch_language import TorchLanguage

LEAST_ROOM = 512  # positions that the cache starts with; doubled when it is full
# Each step attends to the full cache: if it is larger, that takes longer than launching kernels.
MOST_ROOM = 4096
KINDS = (
    "llama",
    "phi",
)  # models that accept a 4D mask and whose step doesn't synchronize with the GPU


def can_record(model: Any) -> bool:
    """Return whether the step of a transformers model can be captured.

    4-bit models are excluded because they are not tested.
    """
    config = model.config
    return (
        model.device.type == "cuda"
        and config.model_type in KINDS
        and not getattr(config, "rope_scaling", None)
        and not getattr(model, "is_loaded_in_4bit", False)
    )


class CudaGraphDecoder:
    """Replays the step of a token; a sequence over MOST_ROOM is passed to a plain decoder."""

    def __init__(self, language: TorchLanguage) -> None:
        self._language = language
        self._fixed = FixedCache(language.model)
        self._plain: PlainDecoder | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Read embeddings (1, length, hidden); return the logits (1, vocabulary), fp32."""
        if self._plain is None and not self._fixed.has_room(inputs.shape[1]):
            self._plain = PlainDecoder(self._language, self._fixed.hand_over())
            self._fixed = FixedCache(self._language.model)
        return self._plain.forward(inputs) if self._plain else self._fixed.read(inputs)

    def crop(self, length: int) -> int:
        """Keep the first `length` positions; return how many are kept."""
        if self._plain is not None and length:
            length = self._plain.crop(length)
        if not length:
            self._plain = None
        if self._plain is None:
            self._fixed.crop(length)
        return length


class FixedCache:
    """A KV cache at fixed addresses, which grows by powers of two."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._room, self._length = 0, 0
        self._layers: Any = None  # transformers.StaticCache
        self._step: _Step | None = None
        self._is_warm, self._is_refused = False, False

    def crop(self, length: int) -> None:
        """Keep the first `length` positions; later ones are overwritten."""
        self._length = length

    def has_room(self, more: int) -> bool:
        """Return whether `more` positions fit."""
        return self._length + more <= MOST_ROOM

    def hand_over(self) -> Any:
        """Return the contents as a `transformers.DynamicCache`; this one becomes unusable."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        for number, layer in enumerate(self._layers.layers if self._layers else []):
            kept = [part[:, :, : self._length].clone() for part in (layer.keys, layer.values)]
            cache.update(*kept, number)
            layer.keys = layer.values = None  # free it: only one layer at a time is copied
        return cache

    @torch.inference_mode()
    def read(self, inputs: Tensor) -> Tensor:
        """Read embeddings (1, length, hidden); return the logits (1, vocabulary), fp32."""
        end = self._length + inputs.shape[1]
        self._make_room(end)
        at = torch.arange(self._length, end, device=inputs.device)
        logits = self._launch(inputs, at) if inputs.shape[1] > 1 else self._replay(inputs, at)
        self._length = end
        return logits

    def _launch(self, inputs: Tensor, at: Tensor) -> Tensor:
        mask = torch.arange(self._room, device=at.device) <= at[:, None]
        output = self._model(
            inputs_embeds=inputs,
            attention_mask=mask[None, None],
            position_ids=at[None],
            cache_position=at,
            past_key_values=self._layers,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _replay(self, inputs: Tensor, at: Tensor) -> Tensor:
        """Replay the step of a token.

        The first step runs eagerly, because libraries initialize themselves, which can't be
        captured. If capturing fails, which leaves the cache unchanged, all steps run eagerly.
        """
        if self._step is None and self._is_warm and not self._is_refused:
            try:
                self._step = _Step(self._launch, inputs, at)
            except RuntimeError:  # a CUDA error, or not enough memory for the graph
                self._is_refused = True
        self._is_warm = True
        return self._launch(inputs, at) if self._step is None else self._step(inputs, at)

    def _make_room(self, length: int) -> None:
        if length <= self._room:
            return
        from transformers import StaticCache

        self._room = max(LEAST_ROOM, 1 << (length - 1).bit_length())
        old, self._layers = self._layers, StaticCache(self._model.config, self._room)
        self._step, self._is_warm = None, False
        for before, layer in zip(old.layers if old else [], self._layers.layers, strict=False):
            layer.lazy_initialization(before.keys)
            layer.keys[:, :, : self._length] = before.keys[:, :, : self._length]
            layer.values[:, :, : self._length] = before.values[:, :, : self._length]
            before.keys = before.values = None  # free it: only one layer at a time is copied


class _Step:
    """A CUDA graph of `launch` for one token, with static inputs and outputs."""

    def __init__(
        self, launch: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, at: Tensor
    ) -> None:
        cuda: Any = torch.cuda  # which has no types
        self._inputs, self._at = inputs.clone(), at.clone()
        self._graph = cuda.CUDAGraph()
        with cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._logits = launch(self._inputs, self._at)

    def __call__(self, inputs: Tensor, at: Tensor) -> Tensor:
        self._inputs.copy_(inputs)
        self._at.copy_(at)
        self._graph.replay()
        return self._logits
