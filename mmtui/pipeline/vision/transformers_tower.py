"""Vision towers of transformers: CLIP and SigLIP, alone or inside of a larger model."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmtui.compat.transformers_hooks import import_transformers
from mmtui.errors import InputError
from mmtui.files import without_byte_order_marks
from mmtui.pipeline.assets.spec import Part, VisionSpec
from mmtui.pipeline.assets.weight_files import WeightFiles

_KINDS = ("clip_vision_model", "siglip_vision_model")
# Where towers are in the files of a whole CLIP or SigLIP.
_WHOLE = Part("vision_config", (("vision_model.", "vision_model."),))


class SelectedLayers(nn.Module):
    """A tower whose output is the hidden states that a spec selects."""

    def __init__(self, tower: nn.Module, layers: tuple[int, ...], spec: VisionSpec) -> None:
        """Wrap a CLIPVisionModel or SiglipVisionModel; `layers` are indices from 0."""
        super().__init__()
        self.tower: Any = tower
        self._layers, self._spec = layers, spec

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (batch, 3, side, side) -> features (batch, patches, width)."""
        states = self.tower(pixel_values=pixels, output_hidden_states=True).hidden_states
        selected = [states[layer] for layer in self._layers]
        if self._spec.final_norm:
            selected = [self.tower.vision_model.post_layernorm(state) for state in selected]
        if self._spec.select == "default":
            selected = [state[:, 1:] for state in selected]
        return torch.cat(selected, dim=-1)


def load(folder: Path, spec: VisionSpec) -> SelectedLayers:
    """Load a tower in fp32, up to the last layer that is needed.

    Args:
        folder: A folder in Hugging Face's layout: a tower, a CLIP or SigLIP, or the model that
            `spec.weights.part` is about.
        spec: The layers to select.

    Raises:
        InputError: The folder has no such tower, or tensors do not fit its configuration.
        MissingError: A file that the weights' index names is missing.
    """
    config, part = load_config(folder, spec.weights.part)
    depth = config.num_hidden_layers
    layers = tuple(layer if layer >= 0 else depth + 1 + layer for layer in spec.layers)
    if not layers or not all(0 <= layer <= depth for layer in layers):
        raise InputError(f"the tower in {folder} has {depth} layers, and not {list(spec.layers)}")
    config.num_hidden_layers = max(layers)
    config.vision_use_head = False  # of SigLIP, which pools the patches
    files = WeightFiles(folder, part)
    return SelectedLayers(_fill(_build(folder, config, spec.final_norm), files), layers, spec)


def load_config(folder: Path, part: Part | None) -> tuple[Any, Part | None]:
    """Return the configuration of the tower, and where its tensors are."""
    auto = import_transformers().AutoConfig
    try:
        with without_byte_order_marks(folder) as readable:
            config = auto.from_pretrained(readable, local_files_only=True, trust_remote_code=False)
        if part is None and config.model_type not in _KINDS:
            part = _WHOLE
        config = getattr(config, part.config) if part else config
    except Exception as error:  # transformers raises nearly anything on damaged files
        raise InputError(f"{folder} has no vision tower that transformers knows") from error
    if config.model_type not in _KINDS:
        raise InputError(f"the tower in {folder} is a {config.model_type}, not CLIP or SigLIP")
    return config, part


def _build(folder: Path, config: Any, final_norm: bool) -> nn.Module:
    """Build the tower without memory for its parameters; buffers (position ids) are real."""
    from transformers.integrations.accelerate import init_empty_weights

    config.dtype = torch.float32
    try:
        with init_empty_weights():
            tower: Any = import_transformers().AutoModel.from_config(config)
    except Exception as error:  # a config may hold any nonsense
        raise InputError(f"the tower in {folder} can't be built: {error}") from error
    if not final_norm:
        tower.vision_model.post_layernorm = nn.Identity()
    module: nn.Module = tower
    return module


def _fill(tower: nn.Module, files: WeightFiles) -> nn.Module:
    for name, empty in list(tower.named_parameters()):
        if name not in files.names:
            raise InputError(f"the vision tower lacks the weights {name}")
        tensor = files.read(name, empty.shape).float().clone()
        parent, _, leaf = name.rpartition(".")
        setattr(tower.get_submodule(parent), leaf, nn.Parameter(tensor, requires_grad=False))
    return tower
