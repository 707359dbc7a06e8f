"""Estimate the memory of a run from the shape of its model, before weights are loaded."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmtrain.data import flat_rows
from mmtrain.data.dataset import Split
from mmtrain.data.dialogue_dataset import DialogueDataset
from mmtrain.model import row_attention
from mmtrain.model.modules import (
    MAX_UNFUSED_LENGTH,
    CausalText,
    VisionLanguage,
    compute_loss_at,
)
from mmtrain.options import AlignOptions, FinetuneOptions, PretrainOptions, RunOptions
from mmtrain.run import footprint, memory
from mmtrain.run.console import RunConsole
from mmtrain.run.footprint import Footprint
from mmtrain.run.optimizers import get_moment_bytes
from mmtrain.run.preflight import (
    describe_data,
    describe_parameters,
    format_gib,
    require_memory,
)
from mmtrain.stages.finetune import Lora, add_adapters
from mmtui.bench.random_weights import LANGUAGE_CONFIGS
from mmtui.compat.torch_hooks import fake_tensors
from mmtui.errors import InputError, MissingError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.spec import Asset, VisionSpec
from mmtui.pipeline.vision import projector

NF4_BYTES = 0.52  # per weight, including the quantization scales (QLoRA, arXiv:2305.14314)


def check_pretrain_memory(
    options: PretrainOptions, shape: Any, accelerator: Accelerator, force: bool
) -> None:
    """Check that a pretraining run fits into memory, before its weights are allocated.

    Raises:
        MmtuiError: It needs more memory than is free, and `force` is off.
    """
    from transformers import PhiForCausalLM

    device = accelerator.device
    with fake_tensors(), torch.device(device):
        module = CausalText(PhiForCausalLM(shape)).train()
        if options.checkpointing:
            module.language.gradient_checkpointing_enable({"use_reentrant": False})
        block = min(options.block, shape.max_position_embeddings)

        def forward(rows: int) -> Tensor:
            ids = torch.zeros(rows, block, dtype=torch.long)
            return _compute_loss(module.language, {"input_ids": ids}, rows * block, options, device)

        needed = footprint.measure(
            module,
            forward,
            options.batch,
            moment_bytes=get_moment_bytes(options.optimizer),
            accumulates=options.accumulation > 1,
        )
        weights = sum(p.numel() * p.element_size() for p in module.parameters())
    shards = accelerator.num_processes if _is_sharded(accelerator) else 1
    share = replace(needed, moments=needed.moments // shards, gradients=needed.gradients // shards)
    require_memory(
        options.stage, weights // shards + share.total, memory.measure_free(device), force
    )


def has_missing_weights(options: RunOptions, found: Checkpoint) -> bool:
    """Return whether weights that a stage reads are not downloaded."""
    return not isinstance(options, PretrainOptions) and bool(_find_missing(found))


def print_plan(
    options: RunOptions,
    found: Checkpoint,
    split: Split,
    accelerator: Accelerator,
    console: RunConsole,
    force: bool,
) -> None:
    """Print the plan of an align or finetune run of a model whose weights are not downloaded.

    Raises:
        MissingError: The shape of the model is not known without its weights.
        MmtuiError: It will not fit into memory.
    """
    assert isinstance(options, AlignOptions | FinetuneOptions)
    vision = found.spec.vision
    if found.spec.name not in LANGUAGE_CONFIGS or vision is None:
        raise MissingError(
            f"the weights of {found.spec.name} are not downloaded, and its shape is not known"
            " without them",
            "leave --dry-run out to download them",
        )
    if isinstance(options, AlignOptions):
        split = split.with_pictures()
    shape = (vision.patches, vision.width)
    train, validation = (  # rows can be counted without a tokenizer
        DialogueDataset(
            part, cast("Any", None), None, shape, options.max_length, pack_examples=True
        )
        for part in (split.train, split.validation)
    )
    if not train.lengths:
        raise InputError("there is no example to train on")
    length = min(max(train.lengths), options.max_length)
    module, weights, needed = measure_footprint(options, found, length, accelerator.device)
    window = options.count_rows_per_step(accelerator.num_processes)
    epochs = options.steps * window / len(train.lengths)
    for line in [
        *describe_parameters(module),
        *describe_data(train, validation),
        f"steps        {options.steps:,} of {window} rows: {epochs:.2f} epochs",
    ]:
        console.print(line)
    for role, asset in _find_missing(found).items():
        size = f"{asset.download / 1e9:.2f} GB" if asset.download else "of unknown size"
        console.print(f"missing      {role}: {asset.uri}, {size}; a run would download it")
    device = accelerator.device
    room, total = memory.measure_free(device), weights + needed.total
    in_pieces = (memory.HEAP_FACTOR - 1) * needed.activations
    upper = f" to {format_gib(total + in_pieces)}" if device.type == "cpu" else ""
    console.print(
        f"memory       about {format_gib(total)}{upper}, including weights, of"
        f" {format_gib(room)} on {device}"
    )
    require_memory(options.stage, total, room, force)


def measure_footprint(
    options: AlignOptions | FinetuneOptions, found: Checkpoint, length: int, device: torch.device
) -> tuple[nn.Module, int, Footprint]:
    """Measure the memory of training on rows of `length` positions with a picture each.

    Returns:
        The model on fake tensors; the bytes of its weights once loaded; what training adds.
    """
    vision = found.spec.vision
    assert vision is not None
    with fake_tensors(), torch.device(device):
        module, weights = _make_module(options, found, vision)
        text = max(length - vision.patches, 1)

        def forward(rows: int) -> Tensor:
            pictures = module.projector(torch.zeros(rows, vision.patches, vision.width))
            words = torch.zeros(rows, text, pictures.shape[-1], dtype=pictures.dtype)
            inputs = torch.cat([pictures, words], 1).flatten(0, 1)
            flat = flat_rows.make_equal_rows(rows, length, rows * text)
            with _autocast(options, device):
                return compute_loss_at(
                    module.language,
                    flat.label_slots,
                    flat.labels,
                    inputs_embeds=inputs[None],
                    **row_attention.arguments(flat, None),
                )

        needed = footprint.measure(
            module,
            forward,
            options.batch,
            moment_bytes=get_moment_bytes(options.optimizer),
            accumulates=options.accumulation > 1,
        )
    return module, weights, needed


def _find_missing(found: Checkpoint) -> dict[str, Asset]:
    return {
        role: asset
        for role, asset in found.spec.assets.items()
        if role != "speech" and fetch.locate(asset) is None
    }


def _make_module(
    options: AlignOptions | FinetuneOptions, found: Checkpoint, vision: VisionSpec
) -> tuple[Any, int]:
    """Return the model that a stage would train, and the bytes of its weights once loaded."""
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = dict(LANGUAGE_CONFIGS[found.spec.name])
    config = AutoConfig.for_model(**settings)
    is_nf4 = isinstance(options, FinetuneOptions) and options.quantize == "nf4"
    dtype = torch.float32 if options.precision == "fp32" and not is_nf4 else torch.bfloat16
    language = AutoModelForCausalLM.from_config(config).to(dtype).requires_grad_(False)
    kind = options.projector if isinstance(options, AlignOptions) else "linear"
    trained_projector = projector.build(kind, vision.width, config.hidden_size)
    weights = 0.0
    for name, parameter in language.named_parameters():
        if is_nf4 and parameter.ndim == 2 and ".layers." in name:
            weights += NF4_BYTES * parameter.numel()
            continue
        if is_nf4:  # PEFT has what is not quantized in fp32
            parameter.data = parameter.data.float()
        weights += parameter.numel() * parameter.element_size()
    row_attention.install(language)
    language.train(isinstance(options, FinetuneOptions))
    if isinstance(options, FinetuneOptions):
        assert options.rank and options.alpha and options.dropout is not None
        if options.checkpointing:
            language.gradient_checkpointing_enable({"use_reentrant": False})
        add_adapters(language, Lora(options.rank, options.alpha, options.dropout))
    return VisionLanguage(language, trained_projector), int(weights)


def _compute_loss(
    language: Any,
    inputs: dict[str, Tensor],
    labelled: int,
    options: RunOptions,
    device: torch.device,
) -> Tensor:
    """Compute the loss as `compute_summed_loss` does, as if the first positions had labels."""
    length = next(iter(inputs.values())).shape[1]
    recomputes = getattr(language, "is_gradient_checkpointing", False)
    plain = device.type == "cpu" and length <= MAX_UNFUSED_LENGTH and not recomputes
    attention: AbstractContextManager[Any] = (
        sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()
    )
    with attention, _autocast(options, device):
        hidden = language.get_decoder()(**inputs, use_cache=False).last_hidden_state
        logits = language.get_output_embeddings()(hidden.flatten(0, 1)[:labelled])
    labels = torch.zeros(labelled, dtype=torch.long)
    return nn.functional.cross_entropy(logits.float(), labels, reduction="sum")


def _autocast(options: RunOptions, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16")


def _is_sharded(accelerator: Accelerator) -> bool:
    from accelerate.utils import DistributedType

    return bool(accelerator.distributed_type == DistributedType.FSDP)
