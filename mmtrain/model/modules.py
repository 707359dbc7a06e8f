"""The modules that are trained. Their forward pass returns the summed loss of a batch."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmtrain.data.dialogue_dataset import Batch
from mmtrain.data.shared_prefix import branch_attention_mask
from mmtui.pipeline.multimodal import embed
from mmtui.pipeline.prompt import IGNORE_INDEX
from mmtui.pipeline.vision.projector import Projector

# On a CPU, unfused attention trains faster than fused attention on rows of up to this many tokens
# (a step of 140 tokens by an eighth). Its memory grows with the square of the length.
MAX_UNFUSED_LENGTH = 256


class VisionLanguage(nn.Module):
    """A causal language model with a projector for the patch features of pictures.

    The architecture is that of LLaVA (arXiv:2304.08485).
    """

    def __init__(self, language: Any, projector: Projector, dropout: float = 0.0) -> None:
        """Combine the two modules.

        Args:
            language: A causal language model of transformers, with or without PEFT.
            projector: Maps features (pictures, patches, width) to (pictures, patches, hidden).
            dropout: Dropout probability on patch features in training.
        """
        super().__init__()
        self.language = language
        self.projector = projector
        self._dropout = dropout

    def forward(self, batch: Batch) -> Tensor:
        """Return the cross-entropy in nats, summed over the labels of a batch.

        Padding is on the right and attention is causal, so an attention mask is needed only if
        dialogues share a row. Without a mask, attention uses its fastest kernel.
        """
        weight = next(self.projector.parameters())
        features = batch.features.to(weight.device, weight.dtype)
        pictures = self.projector(nn.functional.dropout(features, self._dropout, self.training))
        embedding = self.language.get_input_embeddings()
        inputs, _ = embed(batch.sequences, embedding, dict(zip(batch.keys, pictures, strict=True)))
        arguments = {"inputs_embeds": inputs}
        if batch.branch_ids.any():
            arguments["attention_mask"] = branch_attention_mask(batch.branch_ids.to(inputs.device))
            arguments["position_ids"] = batch.position_ids.to(inputs.device)
        loss = compute_summed_loss(self.language, batch.labels.to(inputs.device), **arguments)
        # In a batch without pictures the projector has a gradient too, of zero: DDP waits for it.
        total: Tensor = loss + 0.0 * pictures.sum()
        return total


class CausalText(nn.Module):
    """A causal language model that is trained on blocks of text."""

    def __init__(self, language: Any) -> None:
        """Wrap a causal language model of transformers."""
        super().__init__()
        self.language = language

    def forward(self, blocks: Tensor) -> Tensor:
        """Return the cross-entropy in nats, summed over token ids of shape (batch, length + 1).

        The first token of a block is only an input, the last one only a label.
        """
        blocks = blocks.to(self.language.device)
        return compute_summed_loss(self.language, blocks[:, 1:], input_ids=blocks[:, :-1])


def compute_summed_loss(language: Any, labels: Tensor, **inputs: Tensor) -> Tensor:
    """Return the cross-entropy in nats, summed over the positions that have a label.

    A hook keeps only these positions before the output layer, so that no memory goes to the logits
    of the others.

    Args:
        language: A causal language model of transformers.
        labels: Token ids (batch, length) that follow each position, or IGNORE_INDEX.
        inputs: The arguments of the model, such as `input_ids` (batch, length).
    """
    is_labeled = labels != IGNORE_INDEX
    head = language.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, hidden: (hidden[0][is_labeled],))
    # Gradient checkpointing would recompute the layers outside of the context below.
    is_checkpointing = getattr(language, "is_gradient_checkpointing", False)
    is_short_on_cpu = labels.device.type == "cpu" and labels.shape[1] <= MAX_UNFUSED_LENGTH
    is_unfused = is_short_on_cpu and not is_checkpointing
    try:
        with sdpa_kernel(SDPBackend.MATH) if is_unfused else nullcontext():
            logits = language(**inputs, use_cache=False).logits
    finally:
        hook.remove()
    return nn.functional.cross_entropy(logits.float(), labels[is_labeled], reduction="sum")


def count_trained_tokens(batch: Batch | Tensor) -> int:
    """Return the number of labels in a batch."""
    if isinstance(batch, Tensor):
        return batch[:, 1:].numel()
    return int((batch.labels != IGNORE_INDEX).sum())


def count_tokens(batch: Batch | Tensor) -> int:
    """Return the number of tokens and patches that the language model reads, without padding."""
    if isinstance(batch, Tensor):
        return batch[:, 1:].numel()
    return sum(map(len, batch.sequences))


def get_trained_state(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of the trained parameters on the CPU, by name."""
    return {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }


@torch.no_grad()
def load_trained_state(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy parameters from `get_trained_state` into a module.

    Raises:
        KeyError: The state has the parameters of another model.
        RuntimeError: A parameter has another shape.
    """
    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    if parameters.keys() != state.keys():
        raise KeyError("it has the parameters of another model")
    for name, parameter in parameters.items():
        parameter.copy_(state[name])
