"""Plain LoRA adapters (arXiv:2106.09685) of PEFT as NumPy arrays, without PEFT or torch."""

from pathlib import Path

import numpy as np

from mmtui.errors import InputError
from mmtui.files import read_optional_json
from mmtui.pipeline.assets.file_names import ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE
from mmtui.pipeline.gguf import tensors

# Settings of PEFT that a plain LoRA adapter does not use.
_UNSUPPORTED = (
    "alpha_pattern", "rank_pattern", "use_dora", "use_rslora", "fan_in_fan_out", "lora_bias",
    "modules_to_save", "trainable_token_indices",
)  # fmt: skip


def read_scale(folder: Path) -> float | None:
    """Read the scaling factor of an adapter, lora_alpha / r, or None if it is not a plain LoRA.

    Raises:
        InputError: The adapter is damaged.
    """
    settings = read_optional_json(folder / ADAPTER_CONFIG_FILE)
    names = tensors.list_names(folder / ADAPTER_WEIGHTS_FILE)
    lora_a = sorted(name.replace(".lora_A.", ".lora_B.") for name in names if ".lora_A." in name)
    lora_b = sorted(name for name in names if ".lora_B." in name)
    if lora_a != lora_b or 2 * len(lora_a) != len(names):
        return None
    if settings.get("peft_type") != "LORA" or any(settings.get(key) for key in _UNSUPPORTED):
        return None
    try:
        return float(settings["lora_alpha"] / settings["r"])
    except (KeyError, TypeError, ZeroDivisionError):
        return None


class Lora:
    """The weight changes of a plain LoRA adapter."""

    def __init__(self, folder: Path) -> None:
        """Open the adapter in a folder.

        Raises:
            InputError: The adapter is damaged or not a plain LoRA.
        """
        scale = read_scale(folder)
        if scale is None:
            raise InputError(f"the adapter in {folder} is not a plain LoRA")
        stored = tensors.open_tensors(folder / ADAPTER_WEIGHTS_FILE)
        self._lora_a, self._lora_b = (
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
        """The names of the modules that the adapter changes, as in transformers."""
        return set(self._lora_a)

    def compute_delta(self, module: str, shape: tuple[int, ...]) -> np.ndarray:
        """Compute the change of a module's weight, `lora_B @ lora_A * scale`.

        Args:
            module: The name of the module.
            shape: The shape of its weight (out, in).

        Returns:
            The change in fp32 (out, in).

        Raises:
            InputError: The adapter does not fit a weight of this shape.
        """
        lora_a, lora_b = self._lora_a[module].read(), self._lora_b[module].read()
        if (lora_b.shape[0], lora_a.shape[-1]) != shape or lora_b.shape[-1] != lora_a.shape[0]:
            raise InputError(f"the adapter in {self._folder} does not fit: {module} is {shape}")
        product: np.ndarray = lora_b @ lora_a
        return product * np.float32(self._scale)
