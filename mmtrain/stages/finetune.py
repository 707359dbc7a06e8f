"""Stage finetune: train the projector, and LoRA on the language model, in 4 bits or not."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from mmtrain.data.dataset import Split
from mmtrain.model import projector_init
from mmtrain.model.loading import Components, load_projector, require_vision
from mmtrain.model.lora_linear import speed_up_adapters
from mmtrain.model.modules import VisionLanguage
from mmtrain.options import FinetuneOptions
from mmtrain.stages import vision_language
from mmtrain.stages.stage import Stage
from mmtui.errors import InputError, UsageError
from mmtui.files import read_json, without_byte_order_marks
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.file_names import ADAPTER_CONFIG_FILE
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.vision.projector import Projector


@dataclass(frozen=True)
class Lora:
    """Settings of LoRA (arXiv:2106.09685) on every linear layer except the output layer.

    In Phi these layers are q_proj, k_proj, v_proj, dense, fc1 and fc2.
    """

    rank: int
    alpha: int
    dropout: float


def resolve_lora(options: FinetuneOptions, found: Checkpoint) -> FinetuneOptions:
    """Fill in the LoRA options that were not given.

    They are those of the checkpoint's adapter, which is trained further, or the defaults.

    Raises:
        UsageError: --rank or --alpha differs from that of the adapter.
        InputError: The adapter's settings are damaged.
    """
    if found.adapter is None:
        lora = Lora(64, 16, 0.1)
    else:
        settings = read_json(found.adapter / ADAPTER_CONFIG_FILE)
        try:
            lora = Lora(*(settings[name] for name in ("r", "lora_alpha", "lora_dropout")))
        except (KeyError, TypeError) as error:
            raise InputError(f"the adapter in {found.adapter} is not a LoRA adapter") from error
        for name, requested, existing in (
            ("--rank", options.rank, lora.rank),
            ("--alpha", options.alpha, lora.alpha),
        ):
            if requested not in (None, existing):
                raise UsageError(
                    f"{name} {requested} does not fit: the adapter of this model has {existing}",
                    f"leave {name} out, or start from a model without an adapter, as `mmtrain"
                    " align` writes it",
                )
    dropout = lora.dropout if options.dropout is None else options.dropout
    return replace(
        options, rank=options.rank or lora.rank, alpha=options.alpha or lora.alpha, dropout=dropout
    )


def build(
    components: Components,
    split: Split,
    options: FinetuneOptions,
    accelerator: Accelerator,
    notify: Callable[[str], None],
) -> Stage:
    """Build the finetune stage. The labels are the tokens of the assistant's turns.

    Args:
        components: The model, without the checkpoint's adapter merged in; an adapter is trained
            further.
        split: The training and validation examples.
        options: The options of the run, after `resolve_lora`.
        accelerator: The device and the processes.
        notify: Called with what the user should know about the data.

    Raises:
        InputError: There is nothing to train on, or the adapter does not fit the model.
    """
    vision = require_vision(components.checkpoint)
    train, validation = vision_language.build_datasets(
        components, split, options.max_length, options.views
    )
    trained_projector = _load_projector(components, split, vision, accelerator)
    trained_projector.requires_grad_(True).to(accelerator.device)
    assert options.rank and options.alpha and options.dropout is not None  # filled in
    lora = Lora(options.rank, options.alpha, options.dropout)
    adapted = adapt(components, lora, options.checkpointing)
    module = VisionLanguage(
        components.language.model, trained_projector, options.patch_dropout, options.loss_weights
    )
    spec = components.checkpoint.spec

    def export(folder: Path, state: dict[str, Tensor]) -> None:
        weights = {
            name.removeprefix("projector."): tensor
            for name, tensor in state.items()
            if name.startswith("projector.")
        }
        with TemporaryDirectory() as adapter:
            adapted.save_pretrained(adapter, save_embedding_layers=False)
            (Path(adapter) / "README.md").unlink(missing_ok=True)  # PEFT's empty model card
            _remove_base_path(Path(adapter) / ADAPTER_CONFIG_FILE)
            checkpoint.write(folder, spec, weights, adapter=Path(adapter))

    return Stage(
        "finetune",
        module,
        in_training_mode=True,
        train=train,
        validation=validation,
        export=export,
        count_weight=module.count_weight,
        samples=vision_language.make_sampler(components, trained_projector, validation),
        prepare=vision_language.make_encoder(
            components, train, validation, options.views, accelerator, notify
        ),
    )


def _load_projector(
    components: Components, split: Split, vision: VisionSpec, accelerator: Accelerator
) -> Projector:
    """Load the checkpoint's projector, or initialize one from captions if it has none."""
    if (trained := load_projector(components)) is not None:
        return trained
    with accelerator.main_process_first():
        features, captions = vision_language.collect_features(
            components, split.train, projector_init.RIDGE_IMAGES
        )
    return projector_init.init_projector(
        "ridge", "linear", vision, components.language, features, captions
    )


def adapt(components: Components, lora: Lora, checkpointing: bool) -> Any:
    """Add LoRA to the language model, or load the checkpoint's adapter for training.

    Returns:
        The PEFT model.

    Raises:
        InputError: The checkpoint's adapter does not fit the model.
    """
    from bitsandbytes.nn import Linear4bit
    from peft import PeftModel, prepare_model_for_kbit_training

    model = components.language.model
    settings = {"use_reentrant": False}  # reentrant checkpointing needs inputs with gradients
    if components.language.precision == "nf4":
        for layer in model.modules():
            if isinstance(layer, Linear4bit):
                # On CPUs it would repack its weights in evaluation mode, and could not train after.
                layer.support_avx512bf16_for_cpu = False
        model = prepare_model_for_kbit_training(model, checkpointing, settings)
    elif checkpointing:
        model.gradient_checkpointing_enable(settings)
    if components.checkpoint.adapter is not None:
        try:
            with without_byte_order_marks(components.checkpoint.adapter) as adapter:
                adapted: Any = PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
        except Exception as error:  # PEFT raises errors of any class
            raise InputError(f"the adapter of this checkpoint does not fit: {error}") from error
        _set_dropout(adapted, lora.dropout)
        speed_up_adapters(adapted)
        return adapted
    return add_adapters(model, lora)


def add_adapters(model: Any, lora: Lora) -> Any:
    """Add new LoRA matrices to a language model, and return the PEFT model."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
    )
    adapted = get_peft_model(model, config)
    speed_up_adapters(adapted)
    return adapted


def _set_dropout(adapted: Any, share: float) -> None:
    """Set the dropout of a loaded adapter, which may differ from that of its training."""
    for config in adapted.peft_config.values():
        config.lora_dropout = share
    for module in adapted.modules():
        for name in list(getattr(module, "lora_dropout", {})):
            module.lora_dropout[name] = nn.Dropout(share) if share else nn.Identity()


def _remove_base_path(config: Path) -> None:
    """Remove the local path of the language model, which PEFT writes into the config."""
    settings = json.loads(config.read_bytes())
    config.write_text(json.dumps(settings | {"base_model_name_or_path": None}, indent=2) + "\n")
