"""Running a transformers model over embeddings, with the keys and values of what it has read."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor

from mmtui.errors import MmtuiError
from mmtui.pipeline.engines.torch_language import TorchLanguage


class Decoder(Protocol):
    """One sequence that grows: what was read stays in a cache of keys and values."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Read embeddings (1, length, hidden); return the logits (1, vocabulary), fp32.

        The logits are those after the last position. If this raises, the cache is unusable.
        """

    def crop(self, length: int) -> int:
        """Forget all but the first `length` positions; return how many are kept.

        A cache that can't be cut, such as one of sliding windows, keeps none.
        """


class PlainDecoder:
    """Calls transformers' own forward. Also decodes batches, with a mask and positions."""

    def __init__(self, language: TorchLanguage, cache: Any = None) -> None:
        """`cache`: a `transformers.Cache` to go on with; a new one by default."""
        self._language = language
        self.cache = cache or self._new_cache()

    def forward(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Read embeddings (batch, length, hidden); return the logits (batch, vocabulary), fp32.

        Raises:
            MmtuiError: The model can't decode from a cache of keys and values.
        """
        length = self.cache.get_seq_length() + inputs.shape[1]
        is_row = inputs.shape[:2].numel() == 1
        try:
            with _use_row_kernels(self._language) if is_row else nullcontext():
                if is_row and attention_mask is None:
                    logits = self.forward_one(inputs)
                else:
                    logits = self._forward(inputs, attention_mask, position_ids)
        except (TypeError, ValueError, AttributeError) as error:
            raise self._unsupported() from error
        if self.cache.get_seq_length() != length:  # recurrent models ignore it, and would forget
            raise self._unsupported()
        return logits.float()

    def forward_one(self, inputs: Tensor) -> Tensor:
        """Read one position (1, 1, hidden); a faster way to do so can be put here."""
        return self._forward(inputs)

    def crop(self, length: int) -> int:
        if length:
            try:
                self.cache.crop(length)
            except (AttributeError, NotImplementedError, ValueError):
                length = 0  # sliding windows and recurrent states can't be cut
        if not length:
            self.cache = self._new_cache()
        return length

    def _forward(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        # As an index: cut out by a number, the rows of a batch are not one block, and torch would
        # copy the output layer for each of them.
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
            f"models of the kind {self._language.model.config.model_type} are not supported",
            "use a decoder with attention and a key-value cache, such as Llama, Qwen, Phi or Gemma",
        )


def _use_row_kernels(language: TorchLanguage) -> AbstractContextManager[None]:
    """On a CPU, oneDNN multiplies a single bf16 row at half the speed of torch's own kernel."""
    if language.device.type != "cpu" or language.precision != "bf16":
        return nullcontext()
    context: AbstractContextManager[None] = torch.backends.mkldnn.flags(enabled=False)
    return context
