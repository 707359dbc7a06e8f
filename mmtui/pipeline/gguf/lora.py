"""What of PEFT's LoRA adapters we add to weights ourselves, without PEFT or torch."""

from pathlib import Path

import numpy as np

from mmtui.errors import InputError
from mmtui.pipeline.gguf import tensors
from mmtui.pipeline.tokenizer import read_json

_ODD = (
    "alpha_pattern", "rank_pattern", "use_dora", "use_rslora", "fan_in_fan_out", "lora_bias",
    "modules_to_save", "trainable_token_indices",
)  # fmt: skip
SETTINGS, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def scale(folder: Path) -> float | None:
    """What the product of an adapter's two matrices is multiplied by; None if it is no plain LoRA.

    Raises InputError for one that is damaged.
    """
    settings, names = read_json(folder / SETTINGS), tensors.names(folder / WEIGHTS)
    low = sorted(name.replace(".lora_A.", ".lora_B.") for name in names if ".lora_A." in name)
    high = sorted(name for name in names if ".lora_B." in name)
    if low != high or 2 * len(low) != len(names):
        return None
    if settings.get("peft_type") != "LORA" or any(settings.get(key) for key in _ODD):
        return None
    try:
        return float(settings["lora_alpha"] / settings["r"])
    except (KeyError, TypeError, ZeroDivisionError):
        return None


class Lora:
    """A plain LoRA's deltas. Raises InputError for one that is damaged or not plain."""

    def __init__(self, folder: Path) -> None:
        found = scale(folder)
        if found is None:
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
        self._folder, self._scale = folder, found

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
