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

MIN_CAPACITY = 512  # positions that the cache starts with; doubled when it is full
# Each step attends to the full cache: if it is larger, that takes longer than launching kernels.
MAX_CAPACITY = 4096
# Models that accept a 4D mask and whose step doesn't synchronize with the GPU.
MODEL_TYPES = ("llama", "phi")


class CudaGraphDecoder:
    """Replays the step of a token; a sequence over MAX_CAPACITY is passed to a plain decoder."""

    def __init__(self, language: TorchLanguage) -> None:
        self._language = language
        self._fixed = FixedCache(language.model)
        self._plain: PlainDecoder | None = None

    @staticmethod
    def supports(model: Any) -> bool:
        """Return whether the step of a transformers model can be captured.

        4-bit models are excluded because they are not tested.
        """
        config = model.config
        return (
            model.device.type == "cuda"
            and config.model_type in MODEL_TYPES
            and not getattr(config, "rope_scaling", None)
            and not getattr(model, "is_loaded_in_4bit", False)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Decode embeddings (1, length, hidden); return the logits (1, vocabulary), fp32."""
        if self._plain is None and not self._fixed.has_room(inputs.shape[1]):
            self._plain = PlainDecoder(self._language, self._fixed.to_dynamic_cache())
            self._fixed = FixedCache(self._language.model)
        return self._plain.forward(inputs) if self._plain else self._fixed.forward(inputs)

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
    """A model with a KV cache at fixed addresses, whose capacity grows by powers of two."""

    def __init__(self, model: Any) -> None:
        """Create an empty cache for a transformers model."""
        self._model = model
        self._capacity, self._length = 0, 0
        self._layers: Any = None  # transformers.StaticCache
        self._step: _CapturedStep | None = None
        self._is_warm, self._capture_failed = False, False

    def crop(self, length: int) -> None:
        """Keep the first `length` positions; later ones are overwritten."""
        self._length = length

    def has_room(self, count: int) -> bool:
        """Return whether `count` more positions fit into MAX_CAPACITY."""
        return self._length + count <= MAX_CAPACITY

    def to_dynamic_cache(self) -> Any:
        """Move the contents to a `transformers.DynamicCache`; this cache becomes unusable."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        for number, layer in enumerate(self._layers.layers if self._layers else []):
            kept = [part[:, :, : self._length].clone() for part in (layer.keys, layer.values)]
            cache.update(*kept, number)
            layer.keys = layer.values = None  # free it: only one layer at a time is copied
        return cache

    @torch.inference_mode()
    def forward(self, inputs: Tensor) -> Tensor:
        """Decode embeddings (1, length, hidden); return the logits (1, vocabulary), fp32."""
        end = self._length + inputs.shape[1]
        self._reserve(end)
        positions = torch.arange(self._length, end, device=inputs.device)
        run = self._run_eagerly if inputs.shape[1] > 1 else self._replay
        logits = run(inputs, positions)
        self._length = end
        return logits

    def _run_eagerly(self, inputs: Tensor, positions: Tensor) -> Tensor:
        """Launch the kernels one by one; `positions` (length,) are those of the inputs."""
        mask = torch.arange(self._capacity, device=positions.device) <= positions[:, None]
        output = self._model(
            inputs_embeds=inputs,
            attention_mask=mask[None, None],
            position_ids=positions[None],
            cache_position=positions,
            past_key_values=self._layers,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def _replay(self, inputs: Tensor, positions: Tensor) -> Tensor:
        """Replay the step of a token.

        The first step runs eagerly, because libraries initialize themselves, which can't be
        captured. If capturing fails, which leaves the cache unchanged, all steps run eagerly.
        """
        if self._step is None and self._is_warm and not self._capture_failed:
            try:
                self._step = _CapturedStep(self._run_eagerly, inputs, positions)
            except RuntimeError:  # a CUDA error, or not enough memory for the graph
                self._capture_failed = True
        self._is_warm = True
        if self._step is None:
            return self._run_eagerly(inputs, positions)
        return self._step(inputs, positions)

    def _reserve(self, length: int) -> None:
        """Move the cache to a larger one unless `length` positions fit."""
        if length <= self._capacity:
            return
        from transformers import StaticCache

        self._capacity = max(MIN_CAPACITY, 1 << (length - 1).bit_length())
        old, self._layers = self._layers, StaticCache(self._model.config, self._capacity)
        self._step, self._is_warm = None, False
        for before, layer in zip(old.layers if old else [], self._layers.layers, strict=False):
            layer.lazy_initialization(before.keys)
            layer.keys[:, :, : self._length] = before.keys[:, :, : self._length]
            layer.values[:, :, : self._length] = before.values[:, :, : self._length]
            before.keys = before.values = None  # free it: only one layer at a time is copied


class _CapturedStep:
    """A CUDA graph of the step of one token, with static inputs and outputs."""

    def __init__(
        self, step: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, positions: Tensor
    ) -> None:
        cuda: Any = torch.cuda  # which has no types
        self._inputs, self._positions = inputs.clone(), positions.clone()
        self._graph = cuda.CUDAGraph()
        with cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._logits = step(self._inputs, self._positions)

    def __call__(self, inputs: Tensor, positions: Tensor) -> Tensor:
        self._inputs.copy_(inputs)
        self._positions.copy_(positions)
        self._graph.replay()
        return self._logits
