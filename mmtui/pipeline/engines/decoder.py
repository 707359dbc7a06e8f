"""Decoding with transformers: a forward pass over embeddings, with a KV cache."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from safetensors.torch import load, save
from torch import Tensor

from mmtui.errors import MmtuiError
from mmtui.pipeline.engines.torch_language import TorchLanguage


class Decoder(Protocol):
    """A model with the KV cache of one sequence, to which positions are appended."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Append embeddings to the sequence. If this raises, the cache is unusable.

        Args:
            inputs: Embeddings (1, length, hidden).

        Returns:
            The logits (1, vocabulary) after the last position, fp32.
        """

    def crop(self, length: int) -> int:
        """Remove all but the first `length` positions from the cache.

        Returns:
            How many positions are kept: 0 if the cache can't be cropped, as with sliding windows.
        """


class PlainDecoder:
    """Calls the forward method of transformers. Can also decode batches."""

    def __init__(self, language: TorchLanguage, cache: Any = None) -> None:
        """Start a sequence, or continue one.

        Args:
            language: The model that decodes.
            cache: The `transformers.Cache` of a sequence to continue; by default a new one.
        """
        self._language = language
        self.cache = cache or self._new_cache()

    def forward(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Append embeddings to each sequence of the batch.

        Args:
            inputs: Embeddings (batch, length, hidden).
            attention_mask: Which positions are attended to (batch, all positions); None for all.
            position_ids: The positions of the inputs (batch, length); None to count them.

        Returns:
            The logits (batch, vocabulary) after the last position, fp32.

        Raises:
            MmtuiError: The model can't decode with a KV cache.
        """
        length = self.cache.get_seq_length() + inputs.shape[1]
        is_single = inputs.shape[:2].numel() == 1
        try:
            with _use_row_kernels(self._language) if is_single else nullcontext():
                if is_single and attention_mask is None:
                    logits = self.forward_one(inputs)
                else:
                    logits = self._forward(inputs, attention_mask, position_ids)
        except (TypeError, ValueError, AttributeError) as error:
            raise self._unsupported() from error
        if self.cache.get_seq_length() != length:  # recurrent models ignore the cache
            raise self._unsupported()
        return logits.float()

    def forward_one(self, inputs: Tensor) -> Tensor:
        """Decode one position (1, 1, hidden); subclasses can override this with a faster way."""
        return self._forward(inputs)

    def crop(self, length: int) -> int:
        """Remove all but the first `length` positions, as `Decoder.crop` describes."""
        if length:
            try:
                self.cache.crop(length)
            except (AttributeError, NotImplementedError, ValueError):
                length = 0  # sliding windows and recurrent states can't be cropped
        if not length:
            self.cache = self._new_cache()
        return length

    def dump_cache(self, max_bytes: int) -> memoryview | None:
        """Return a copy of the cache as safetensors.

        Returns:
            None if the copy would be larger, or the cache holds more than keys and values.
        """
        from transformers.cache_utils import DynamicLayer

        layers = self.cache.layers
        if not all(type(layer) is DynamicLayer and layer.is_initialized for layer in layers):
            return None
        tensors = {
            f"{kind}.{number}": getattr(layer, kind)
            for number, layer in enumerate(layers)
            for kind in ("keys", "values")
        }
        if sum(tensor.nbytes for tensor in tensors.values()) > max_bytes:
            return None
        return memoryview(save({name: tensor.contiguous() for name, tensor in tensors.items()}))

    def load_cache(self, state: memoryview) -> None:
        """Replace the cache by one that `dump_cache` returned."""
        tensors = load(bytes(state))
        self.cache = self._new_cache()
        for number in range(len(tensors) // 2):
            keys, values = (
                tensors[f"{kind}.{number}"].to(self._language.device) for kind in ("keys", "values")
            )
            self.cache.update(keys, values, number)

    def _forward(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        # A tensor: if the index were a number, the rows of a batch would not be contiguous, and
        # torch would copy the output layer for each of them.
        last = torch.tensor([inputs.shape[1] - 1], device=inputs.device)
        logits: Tensor = self._language.model(
            inputs_embeds=inputs,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=last,
        ).logits[:, -1]
        return logits

    def _new_cache(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self._language.model.config)

    def _unsupported(self) -> MmtuiError:
        return MmtuiError(
            f"models of type {self._language.model.config.model_type} are not supported",
            "use a decoder with attention and a KV cache, such as Llama, Qwen, Phi or Gemma",
        )


def _use_row_kernels(language: TorchLanguage) -> AbstractContextManager[None]:
    """Turn oneDNN off for bf16 on a CPU: torch's kernel multiplies a single row twice as fast."""
    if language.device.type != "cpu" or language.precision != "bf16":
        return nullcontext()
    context: AbstractContextManager[None] = torch.backends.mkldnn.flags(enabled=False)
    return context
