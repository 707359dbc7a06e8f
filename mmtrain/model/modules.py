"""The modules that are trained: a batch in, the summed loss of its trained tokens out."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmtrain.data.batches import Batch
from mmtrain.data.branches import attended
from mmtui.pipeline.multimodal import embed
from mmtui.pipeline.prompt import IGNORE
from mmtui.pipeline.vision.projector import Projector

# The longest row, in tokens, for which plain attention trains faster on a CPU than the fused one
# (by an eighth of a step at 140); on longer ones its memory grows with the square of the length.
SHORT = 256


class VisionLanguage(nn.Module):
    """A causal language model that reads projected patch features among its tokens."""

    def __init__(self, language: Any, projector: Projector, dropout: float = 0.0) -> None:
        """`dropout`: of patch features, while it trains."""
        super().__init__()
        self.language, self.projector, self._dropout = language, projector, dropout

    def forward(self, batch: Batch) -> Tensor:
        """The summed cross-entropy of the batch's targets, in nats.

        Padding is on the right and attention is causal, so that no mask is needed where no row
        branches: attention takes its fastest path.
        """
        weight = next(self.projector.parameters())
        features = batch.features.to(weight.device, weight.dtype)
        pictures = self.projector(nn.functional.dropout(features, self._dropout, self.training))
        embedding = self.language.get_input_embeddings()
        inputs, _ = embed(batch.sequences, embedding, dict(zip(batch.keys, pictures, strict=True)))
        given = {"inputs_embeds": inputs}
        if batch.branches.any():
            given["attention_mask"] = attended(batch.branches.to(inputs.device))
            given["position_ids"] = batch.places.to(inputs.device)
        loss = summed_loss(self.language, batch.targets.to(inputs.device), **given)
        # A batch without pictures has a gradient too: zero.
        total: Tensor = loss + 0.0 * pictures.sum()
        return total


class CausalText(nn.Module):
    """A causal language model on blocks of text."""

    def __init__(self, language: Any) -> None:
        super().__init__()
        self.language = language

    def forward(self, blocks: Tensor) -> Tensor:
        """Blocks (batch, size + 1) of token ids -> the summed cross-entropy, in nats."""
        blocks = blocks.to(self.language.device)
        return summed_loss(self.language, blocks[:, 1:], input_ids=blocks[:, :-1])


def summed_loss(language: Any, targets: Tensor, **inputs: Tensor) -> Tensor:
    """Cross-entropy summed over the positions with a target (batch, length).

    Only there are logits computed: the input of the head is cut down before it gets there,
    whatever the model does with logits after it.
    """
    kept = targets != IGNORE
    head = language.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, hidden: (hidden[0][kept],))
    recomputes = getattr(language, "is_gradient_checkpointing", False)  # outside of this context
    plain = targets.device.type == "cpu" and targets.shape[1] <= SHORT and not recomputes
    try:
        with sdpa_kernel(SDPBackend.MATH) if plain else nullcontext():
            logits = language(**inputs, use_cache=False).logits
    finally:
        hook.remove()
    return nn.functional.cross_entropy(logits.float(), targets[kept], reduction="sum")


def trained_tokens(batch: Batch | Tensor) -> int:
    """How many tokens a batch has a loss on."""
    if isinstance(batch, Tensor):
        return batch[:, 1:].numel()
    return int((batch.targets != IGNORE).sum())


def tokens_of(batch: Batch | Tensor) -> int:
    """How many tokens and patches of pictures the language model reads, padding excluded."""
    if isinstance(batch, Tensor):
        return batch[:, 1:].numel()
    return sum(map(len, batch.sequences))


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that are trained, on the CPU."""
    return {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


@torch.no_grad()
def restore(module: nn.Module, state: dict[str, Tensor]) -> None:
    """The inverse of `trained_state`. Raises KeyError or RuntimeError for another model's."""
    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if parameters.keys() != state.keys():
        raise KeyError("other parameters were trained")
    for name, parameter in parameters.items():
        parameter.copy_(state[name])
