"""The modules that are trained. Their forward pass returns the summed loss of a batch."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmtrain.data.dialogue_dataset import Batch
from mmtrain.data.shared_prefix import branch_attention_mask
from mmtrain.model import row_attention
from mmtrain.options import LossWeights
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

    def __init__(
        self,
        language: Any,
        projector: Projector,
        dropout: float = 0.0,
        loss_weights: LossWeights = "token",
    ) -> None:
        """Combine the two modules.

        Args:
            language: A causal language model of transformers, with or without PEFT.
            projector: Maps features (pictures, patches, width) to (pictures, patches, hidden).
            dropout: Dropout probability on patch features in training.
            loss_weights: How much a token of a long answer counts in training.
        """
        super().__init__()
        _fuse_activations(language)
        self.language = language
        self.projector = projector
        self._dropout, self._loss_weights = dropout, loss_weights

    def forward(self, batch: Batch) -> Tensor:
        """Return the cross-entropy in nats, summed over the labels of a batch.

        In training, the labels have weights, whose sum `count_weight` returns.
        """
        weight = next(self.projector.parameters())
        features = batch.features.to(weight.device, weight.dtype, non_blocking=True)
        pictures = self.projector(nn.functional.dropout(features, self._dropout, self.training))
        if row_attention.is_enabled(self.language):
            loss = self._compute_flat_loss(batch, pictures)
        else:
            loss = self._compute_padded_loss(batch, pictures)
        # In a batch without pictures the projector has a gradient too, of zero: DDP waits for it.
        total: Tensor = loss + 0.0 * pictures.sum()
        return total

    def count_weight(self, batch: Batch) -> float:
        """Return the sum of the weights of a batch's labels in training."""
        weights = weigh_answers(batch.flat.label_slots, self._loss_weights)
        return count_trained_tokens(batch) if weights is None else float(weights.sum())

    def _weigh(self, slots: Tensor) -> Tensor | None:
        return weigh_answers(slots, self._loss_weights) if self.training else None

    def _compute_flat_loss(self, batch: Batch, pictures: Tensor) -> Tensor:
        embedding = self.language.get_input_embeddings()
        flat = batch.flat.to(pictures.device)
        patches = pictures.flatten(0, 1).index_select(0, flat.patches)
        inputs = embedding(flat.tokens)
        inputs = inputs.index_copy(0, flat.patch_slots, patches.to(inputs.dtype))
        return compute_loss_at(
            self.language,
            flat.label_slots,
            flat.labels,
            self._weigh(batch.flat.label_slots),
            inputs_embeds=inputs[None],
            **row_attention.arguments(flat, _make_mask(batch, inputs.device)),
        )

    def _compute_padded_loss(self, batch: Batch, pictures: Tensor) -> Tensor:
        """Compute the loss of a language model that can't attend over flat rows.

        Padding is on the right and attention is causal, so an attention mask is needed only if
        dialogues share a row. Without a mask, attention uses its fastest kernel.
        """
        embedding = self.language.get_input_embeddings()
        inputs, _ = embed(batch.sequences, embedding, dict(zip(batch.keys, pictures, strict=True)))
        arguments = {"inputs_embeds": inputs}
        mask = _make_mask(batch, inputs.device)
        if mask is not None:
            arguments["attention_mask"] = mask
            arguments["position_ids"] = batch.position_ids.to(inputs.device)
        return compute_summed_loss(self.language, batch.labels, self._weigh, **arguments)


def _make_mask(batch: Batch, device: torch.device) -> Tensor | None:
    if not batch.branch_ids.any():
        return None
    return branch_attention_mask(batch.branch_ids.to(device, non_blocking=True))


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
        inputs = blocks[:, :-1].to(self.language.device, non_blocking=True)
        return compute_summed_loss(self.language, blocks[:, 1:], input_ids=inputs)


def weigh_answers(slots: Tensor, loss_weights: LossWeights) -> Tensor | None:
    """Return the weights of the losses of labels; None if all are 1.

    A label of an answer of n tokens has the weight 1 / sqrt(n) with "square", and 1 / n with
    "answer" (InternVL 2.5, arXiv:2412.05271).

    Args:
        slots: (K,) the positions of the labels in ascending order; those of an answer follow each
            other without a gap.
        loss_weights: How much a token of a long answer counts.
    """
    if loss_weights == "token" or not len(slots):
        return None
    is_first = torch.ones(len(slots), dtype=torch.long)
    is_first[1:] = slots.diff() != 1
    answers = is_first.cumsum(0) - 1
    lengths = answers.bincount()[answers].float()
    return lengths ** (-0.5 if loss_weights == "square" else -1.0)


def compute_summed_loss(
    language: Any,
    labels: Tensor,
    weigh: Callable[[Tensor], Tensor | None] = lambda _: None,
    **inputs: Tensor,
) -> Tensor:
    """Return the cross-entropy in nats, summed over the positions that have a label.

    Args:
        language: A causal language model of transformers.
        labels: Token ids (batch, length) that follow each position, or IGNORE_INDEX. On the CPU,
            they are read without waiting for the device.
        weigh: Returns the weights of labels (K,) at these positions, counted over all rows; None
            for weights of 1.
        inputs: The arguments of the model, such as `input_ids` (batch, length).
    """
    # Gradient checkpointing would recompute the layers outside of the context below.
    is_checkpointing = getattr(language, "is_gradient_checkpointing", False)
    is_short_on_cpu = language.device.type == "cpu" and labels.shape[1] <= MAX_UNFUSED_LENGTH
    is_unfused = is_short_on_cpu and not is_checkpointing
    labels = labels.flatten()
    slots = (labels != IGNORE_INDEX).nonzero().squeeze(1)
    weights = weigh(slots)
    labels = labels[slots].to(language.device, non_blocking=True)
    slots = slots.to(language.device, non_blocking=True)
    with sdpa_kernel(SDPBackend.MATH) if is_unfused else nullcontext():
        return compute_loss_at(language, slots, labels, weights, **inputs)


def compute_loss_at(
    language: Any, slots: Tensor, labels: Tensor, weights: Tensor | None = None, **inputs: Any
) -> Tensor:
    """Return the cross-entropy in nats, summed over some positions.

    A hook keeps only these positions before the output layer, so that no memory goes to the logits
    of the others.

    Args:
        language: A causal language model of transformers.
        slots: (K,) the positions, counted over all rows.
        labels: (K,) the token ids that follow them.
        weights: (K,) the factors of their losses; None for 1.
        inputs: The arguments of the model.
    """
    head = language.get_output_embeddings()
    hook = head.register_forward_pre_hook(
        lambda _, hidden: (hidden[0].flatten(0, 1).index_select(0, slots),)
    )
    try:
        logits = language(**inputs, use_cache=False).logits
    finally:
        hook.remove()
    if weights is None:
        return nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
    losses = nn.functional.cross_entropy(logits.float(), labels, reduction="none")
    return losses.dot(weights.to(losses.device, non_blocking=True))


def _fuse_activations(language: Any) -> None:
    """Compute the GELU of Phi in one operation instead of eight, which save a tensor each."""
    from transformers.activations import NewGELUActivation

    for module in list(language.modules()):
        for name, child in module.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(module, name, nn.GELU(approximate="tanh"))


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
