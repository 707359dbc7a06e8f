"""finetune: the projector, and LoRA over the frozen language model, 4-bit or not."""

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
from mmtrain.model.loading import Components, require_vision
from mmtrain.model.modules import VisionLanguage
from mmtrain.options import FinetuneOptions
from mmtrain.stages import vision_language
from mmtrain.stages.stage import Stage
from mmtui.errors import InputError, UsageError
from mmtui.files import read_json
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.vision import projector
from mmtui.pipeline.vision.projector import Projector


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters (arXiv:2106.09685) on every linear layer but the head.

    For Phi these are q_proj, k_proj, v_proj, dense, fc1 and fc2.
    """

    rank: int
    alpha: int
    dropout: float


def fill_in(options: FinetuneOptions, found: Checkpoint) -> FinetuneOptions:
    """The options with the settings of the adapters that will be trained.

    An adapter of the checkpoint learns on: its rank and scale are those of its weights.

    Raises:
        UsageError: The options ask for another rank or scale.
        InputError: The adapter's settings are damaged.
    """
    if found.adapter is None:
        lora = Lora(64, 16, 0.1)
    else:
        settings = read_json(found.adapter / "adapter_config.json")
        try:
            lora = Lora(*(settings[name] for name in ("r", "lora_alpha", "lora_dropout")))
        except (KeyError, TypeError) as error:
            raise InputError(f"the adapter in {found.adapter} is no LoRA") from error
        for name, wanted, there in (
            ("--rank", options.rank, lora.rank),
            ("--alpha", options.alpha, lora.alpha),
        ):
            if wanted not in (None, there):
                raise UsageError(
                    f"{name} {wanted} does not fit: the adapter of this model has {there}",
                    f"leave {name} out, or begin from a model without an adapter, as `mmtrain"
                    " align` writes",
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
    say: Callable[[str], None],
) -> Stage:
    """`components` are loaded without the checkpoint's adapter; if it has one, that learns on.

    The loss is on the assistant's tokens only.
    """
    vision = require_vision(components.checkpoint)
    train, validation = vision_language.datasets(
        components, split, options.max_length, options.views
    )
    seeing = _projector(components, split, vision, accelerator)
    seeing.requires_grad_(True).to(accelerator.device)
    assert options.rank and options.alpha and options.dropout is not None  # filled in
    lora = Lora(options.rank, options.alpha, options.dropout)
    adapted = adapt(components, lora, options.checkpointing)
    module = VisionLanguage(components.language.model, seeing, options.patch_dropout)
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
            _forget_path(Path(adapter) / "adapter_config.json")
            checkpoint.write(folder, spec, weights, adapter=Path(adapter))

    return Stage(
        "finetune",
        module,
        in_training_mode=True,
        train=train,
        validation=validation,
        export=export,
        samples=vision_language.sampler(components, seeing, validation),
        prepare=vision_language.encoder(
            components, train, validation, options.views, accelerator, say
        ),
    )


def _projector(
    components: Components, split: Split, vision: VisionSpec, accelerator: Accelerator
) -> Projector:
    """The checkpoint's; of a model that was never aligned, one that only begins well."""
    if components.checkpoint.projector is not None:
        return projector.load(
            components.checkpoint.projector, vision.width, components.language.hidden
        )
    with accelerator.main_process_first():
        features, captions = vision_language.sample_features(
            components, split.train, projector_init.RIDGE_IMAGES
        )
    return projector_init.init_projector(
        "ridge", "linear", vision, components.language, features, captions
    )


def adapt(components: Components, lora: Lora, checkpointing: bool) -> Any:
    """Puts trainable adapters into the language model; returns PEFT's view of it."""
    from bitsandbytes.nn import Linear4bit
    from peft import PeftModel, prepare_model_for_kbit_training

    model = components.language.model
    settings = {"use_reentrant": False}  # the other kind needs inputs that have gradients
    if components.language.precision == "nf4":
        for layer in model.modules():
            if isinstance(layer, Linear4bit):
                # On CPUs it would pack its weights when it validates; then nothing trains any more.
                layer.support_avx512bf16_for_cpu = False
        model = prepare_model_for_kbit_training(model, checkpointing, settings)
    elif checkpointing:
        model.gradient_checkpointing_enable(settings)
    if components.checkpoint.adapter is not None:
        try:
            adapted: Any = PeftModel.from_pretrained(
                model, str(components.checkpoint.adapter), is_trainable=True
            )
        except Exception as error:  # PEFT raises nearly anything on what does not fit
            raise InputError(f"the adapter of this checkpoint does not fit: {error}") from error
        _set_dropout(adapted, lora.dropout)
        return adapted
    return add_adapters(model, lora)


def add_adapters(model: Any, lora: Lora) -> Any:
    """Puts new adapters into a language model; returns PEFT's view of it."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
    )
    return get_peft_model(model, config)


def _set_dropout(adapted: Any, share: float) -> None:
    """Dropout has no weights: it may differ from what the adapter was trained with."""
    for config in adapted.peft_config.values():
        config.lora_dropout = share
    for module in adapted.modules():
        for name in list(getattr(module, "lora_dropout", {})):
            module.lora_dropout[name] = nn.Dropout(share) if share else nn.Identity()


def _forget_path(config: Path) -> None:
    """PEFT writes down where the language model lies on this machine."""
    settings = json.loads(config.read_bytes())
    config.write_text(json.dumps(settings | {"base_model_name_or_path": None}, indent=2) + "\n")
