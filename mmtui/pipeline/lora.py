"""What of PEFT's LoRA adapters we add to weights ourselves, without PEFT or torch."""

from pathlib import Path
from typing import Any

import numpy as np

from mmtui.errors import InputError
from mmtui.pipeline import tensors
from mmtui.pipeline.tokenizer import read_json

_ODD = (
    "alpha_pattern", "rank_pattern", "use_dora", "use_rslora", "fan_in_fan_out", "lora_bias",
    "modules_to_save", "trainable_token_indices",
)  # fmt: skip
SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def factor(settings: dict[str, Any]) -> float | None:
    """What the product of the two matrices is multiplied by; None if it is no plain LoRA."""
    if settings.get("peft_type") != "LORA" or any(settings.get(key) for key in _ODD):
        return None
    try:
        return float(settings["lora_alpha"] / settings["r"])
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def is_plain(folder: Path) -> bool:
    """Whether `Lora` takes it. Raises InputError for one that is damaged."""
    names = tensors.names(folder / WEIGHTS)
    pairs = sorted(name.replace(".lora_A.", ".lora_B.") for name in names if ".lora_A." in name)
    highs = sorted(name for name in names if ".lora_B." in name)
    plain = pairs == highs and 2 * len(pairs) == len(names)
    return plain and factor(read_json(folder / SETTINGS)) is not None


class Lora:
    """A plain LoRA's deltas. Raises InputError for one that is damaged or not plain."""

    def __init__(self, folder: Path) -> None:
        scale = factor(read_json(folder / SETTINGS))
        if scale is None or not is_plain(folder):
            raise InputError(f"the adapter in {folder} is no plain LoRA")
        stored = tensors.stored(folder / WEIGHTS)
        self._low, self._high = (
            {
                name.removeprefix("base_model.model.").split(f".{kind}.")[0]: tensor
                for name, tensor in stored.items()
                if f".{kind}." in name
            }
            for kind in ("lora_A", "lora_B")
        )
        self._folder, self._scale = folder, scale

    @property
    def modules(self) -> set[str]:
        return set(self._low)

    def delta(self, module: str, shape: tuple[int, ...]) -> np.ndarray:
        """What is added to the weight (out, in) of a module, in fp32."""
        low, high = self._low[module].read(), self._high[module].read()
        if (high.shape[0], low.shape[-1]) != shape or high.shape[-1] != low.shape[0]:
            raise InputError(f"the adapter in {self._folder} does not fit: {module} is {shape}")
        product: np.ndarray = high @ low
        return product * np.float32(self._scale)
