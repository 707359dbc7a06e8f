"""Applying a LoRA adapter to a torch model."""

from pathlib import Path
from typing import Any

import torch

from mmtui.errors import InputError
from mmtui.files import without_byte_order_marks
from mmtui.pipeline.assets.file_names import ADAPTER_WEIGHTS_FILE
from mmtui.pipeline.gguf import lora


def apply(model: Any, adapter: Path) -> Any:
    """Apply a LoRA adapter: merged into the weights, or in front of 4-bit weights.

    Args:
        model: A transformers model.
        adapter: Folder of an adapter in PEFT's layout.

    Returns:
        The model; a `peft.PeftModel` if its weights are 4-bit.

    Raises:
        InputError: The adapter is damaged, is not a LoRA or does not fit the model.
    """
    if getattr(model, "is_loaded_in_4bit", False):
        return _apply_with_peft(model, adapter)
    return _merge_lora(model, adapter)


def _merge_lora(model: Any, adapter: Path) -> Any:
    """Add a LoRA adapter to the weights. PEFT is not needed, whose import takes a second.

    Adapters that are not a plain LoRA on linear layers are left to PEFT, and so are errors.
    """
    from safetensors.torch import load_file

    try:
        scale = lora.read_scale(adapter)
        tensors = load_file(adapter / ADAPTER_WEIGHTS_FILE)
        updates = []
        for name in [name for name in tensors if ".lora_A." in name]:
            layer = model.get_submodule(name.removeprefix("base_model.model.").split(".lora_A.")[0])
            lora_a, lora_b = tensors[name], tensors[name.replace(".lora_A.", ".lora_B.")]
            updates.append((layer, lora_a, lora_b))
        fits = all(layer.weight.shape == (b.shape[0], a.shape[1]) for layer, a, b in updates)
    except Exception:  # safetensors and torch raise nearly anything on damaged files
        return _apply_with_peft(model, adapter)  # raises an error that names the cause
    if scale is None or not fits:
        return _apply_with_peft(model, adapter)
    with torch.no_grad():
        for layer, lora_a, lora_b in updates:
            update = (lora_b.float() @ lora_a.float()) * scale
            layer.weight += update.to(layer.weight.device, layer.weight.dtype)
    return model


def _apply_with_peft(model: Any, adapter: Path) -> Any:
    """Apply a LoRA adapter with PEFT; it is merged into the weights if they are not quantized.

    Raises:
        InputError: The adapter is damaged, is not a LoRA or does not fit the model.
    """
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    weights = adapter / ADAPTER_WEIGHTS_FILE
    if not weights.exists():
        raise InputError(f"{adapter} has no {weights.name}")
    try:
        with without_byte_order_marks(adapter) as readable:
            peft_type = PeftConfig.from_pretrained(str(readable)).peft_type
            adapted = PeftModel.from_pretrained(model, str(readable))
        with safe_open(weights, framework="pt") as tensors:
            unmatched = set(tensors.keys()) ^ get_peft_model_state_dict(adapted).keys()
    except Exception as error:  # PEFT raises nearly anything on what does not fit
        raise InputError(f"the adapter in {adapter} does not fit: {error}") from error
    if unmatched:  # PEFT itself ignores such tensors
        raise InputError(f"the adapter in {adapter} does not fit: {min(unmatched)} has no place")
    if peft_type != "LORA":
        raise InputError(f"the adapter in {adapter} does not fit: {peft_type} is no LoRA")
    return adapted if getattr(model, "is_loaded_in_4bit", False) else adapted.merge_and_unload()
