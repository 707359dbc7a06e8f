"""Stage pretrain: train a Phi language model from random weights on packed text."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from mmtrain.data.packing import BlockDataset, PackedTokens
from mmtrain.model.modules import CausalText
from mmtrain.options import PretrainOptions
from mmtrain.stages.stage import Stage
from mmtui.compat.torch_hooks import fake_tensors
from mmtui.errors import InputError, UsageError
from mmtui.files import read_json
from mmtui.paths import resolve
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.file_names import LANGUAGE_FOLDER
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec

# phi-2 has the numbers of microsoft/phi-2's config.json; the others are smaller versions of it.
SIZES: dict[str, dict[str, Any]] = {
    "phi-2": {
        "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32,
        "num_attention_heads": 32, "partial_rotary_factor": 0.4, "vocab_size": 51200,
    },
    "170m": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "partial_rotary_factor": 0.5, "vocab_size": 51200,
    },
    "nano": {
        "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4,
        "num_attention_heads": 4, "partial_rotary_factor": 0.5, "vocab_size": 4096,
    },
}  # fmt: skip
CONTEXT = 2048


def make_config(size: str) -> Any:
    """Return the PhiConfig of a size, or of a config.json in the format of transformers.

    Raises:
        InputError: The file can't be read, or describes no Phi that can be built.
    """
    from transformers import PhiConfig

    if size in SIZES:
        return PhiConfig(**SIZES[size], max_position_embeddings=CONTEXT)
    hint = f"pass --size {', '.join(SIZES)} or the config.json of a Phi"
    file = resolve(size)
    if not file.exists():
        raise InputError(f"{size} is neither a size nor a file", hint)
    settings = read_json(file)
    if not isinstance(settings, dict):
        raise InputError(f"{file} is not a JSON object", hint)
    model_type = settings.get("model_type", "phi")
    if model_type != "phi":
        raise InputError(f"the model_type in {file} is {model_type!r}, not 'phi'", hint)
    try:
        shape = PhiConfig(**settings)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is not the config of a Phi: {error}", hint) from error
    _check_shape(shape, size)
    return shape


def _check_shape(shape: Any, size: str) -> None:
    """Build the model on fake tensors and run it on two tokens.

    Raises:
        InputError: The numbers in the config contradict each other.
    """
    from transformers import PhiForCausalLM

    try:
        width = shape.hidden_size // shape.num_attention_heads
        rotary = int(width * shape.partial_rotary_factor)
        if rotary % 2:
            raise ValueError(
                f"a head's {width} x {shape.partial_rotary_factor} = {rotary} rotary dimensions"
                " must be an even number"
            )
        with fake_tensors():
            PhiForCausalLM(shape)(input_ids=torch.zeros(1, 2, dtype=torch.long))
    except Exception as error:  # nonsense in a config raises nearly anything
        raise InputError(
            f"{size} describes no Phi that can be built: {error}", "correct its numbers"
        ) from error


def build(
    shape: Any,
    tokenizer: Any,
    packed: PackedTokens,
    options: PretrainOptions,
    base: ModelSpec,
    accelerator: Accelerator,
) -> Stage:
    """Build the pretrain stage.

    Args:
        shape: The PhiConfig of the model.
        tokenizer: The tokenizer of the model.
        packed: The token ids of the training and validation text.
        options: The options of the run.
        base: The model whose vision tower and speech model the new checkpoint refers to.
        accelerator: The device and the processes.

    Raises:
        UsageError: --block is longer than the context of the model.
        InputError: There is less text than one block.
    """
    from transformers import PhiForCausalLM

    block = options.block
    shape.vocab_size = max(len(tokenizer), shape.vocab_size)
    shape.bos_token_id = shape.eos_token_id = tokenizer.eos_token_id
    if block > shape.max_position_embeddings:
        context = shape.max_position_embeddings
        raise UsageError(
            f"--block {block} is longer than the context of this model, {context} tokens",
            f"pass --block {context}",
        )
    shape.max_position_embeddings = block  # later positions would not be trained
    train, validation = BlockDataset(packed.train, block), BlockDataset(packed.validation, block)
    if not train.lengths:
        raise InputError(
            f"{len(packed.train):,} tokens are less than a block of {block}", "lower --block"
        )
    language: Any = PhiForCausalLM(shape)
    if options.checkpointing:
        language.gradient_checkpointing_enable({"use_reentrant": False})
    spec = ModelSpec("pretrained", LanguageSpec(Asset(LANGUAGE_FOLDER)), base.vision, base.speech)

    def export(folder: Path, state: dict[str, Tensor]) -> None:
        weights = {name.removeprefix("language."): tensor for name, tensor in state.items()}
        with TemporaryDirectory(dir=folder, prefix=".language-") as place:
            language.save_pretrained(place, state_dict=weights)
            tokenizer.save_pretrained(place)
            checkpoint.write(folder, spec, language=Path(place))

    return Stage(
        "pretrain",
        CausalText(language).to(accelerator.device),
        in_training_mode=True,
        train=train,
        validation=validation,
        export=export,
    )
