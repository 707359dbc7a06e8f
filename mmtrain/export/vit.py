"""Vision transformers in the form of transformers' CLIP and SigLIP."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmtui.errors import InputError
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.assets.weight_files import WeightFiles
from mmtui.pipeline.vision import tower, transformers_tower

# A factor for the outputs of the layer that `append_norm` adds. What is added to them is smaller by
# this factor, and then below the precision of fp32. The range of bf16 is that of fp32.
NORM_SCALE = 2.0**30


@dataclass(frozen=True)
class Vit:
    """A CLIP or SigLIP vision tower.

    Attributes:
        config: A `CLIPVisionConfig` or `SiglipVisionConfig` of transformers.
        state: The tensors in fp32, by their names in transformers' class.
        layers: The hidden states that are its features, -1 for the last.
        final_norm: Whether the features pass through its final layer norm.
    """

    config: Any
    state: dict[str, Tensor]
    layers: tuple[int, ...]
    final_norm: bool

    @property
    def has_class_token(self) -> bool:
        """Whether the first token is no patch."""
        return bool(self.config.model_type == "clip_vision_model")


def load_vit(spec: VisionSpec, weights: Path) -> Vit:
    """Load the tower of a spec.

    Args:
        spec: The vision tower.
        weights: The file or folder of its weights.

    Raises:
        InputError: The tower is no plain vision transformer, or its grid is averaged.
        MissingError: A file of its weights is missing.
    """
    if spec.architecture == "open_clip":
        vit = _convert_open_clip(spec, weights)
    elif spec.architecture == "transformers":
        config, part = transformers_tower.load_config(weights, spec.weights.part)
        files = WeightFiles(weights, part)
        names = [name for name in sorted(files.names) if ".head." not in name]
        config.vision_use_head = False
        width = config.hidden_size
        state = {  # some files leave out the norm that LLaVA does not use
            "vision_model.post_layernorm.weight": torch.ones(width),
            "vision_model.post_layernorm.bias": torch.zeros(width),
        }
        state |= {name: files.read(name).float() for name in names}
        vit = Vit(config, state, spec.layers, spec.final_norm)
    else:
        raise InputError(
            f"the vision tower {spec.architecture} can't be exported: only vision transformers"
            " (CLIP, SigLIP) have a place in LLaVA and llama.cpp",
            "train with a CLIP tower, such as that of phi2",
        )
    grid = (vit.config.image_size // vit.config.patch_size) ** 2
    tokens = grid + vit.has_class_token - (spec.select == "default")
    if spec.patches != tokens:
        raise InputError(
            f"the vision tower gives {tokens} patches, which the spec averages to {spec.patches};"
            " that has no place in LLaVA and llama.cpp",
            f'set "patches" in spec.json to {tokens}, and align the projector again',
        )
    return vit


def append_norm(vit: Vit) -> Vit:
    """Return a tower whose last hidden state already is what `vit` gives after its final norm.

    LLaVA takes hidden states before the norm. A layer is added that computes x + K * norm(x), for
    which the projector must divide by K = NORM_SCALE. Its attention is zero; its MLP computes the
    identity, because f(x) - f(-x) = x for all kinds of GELU.

    Raises:
        InputError: The features are not the last layer's, or the MLP is too narrow.
    """
    width, inner = vit.config.hidden_size, vit.config.intermediate_size
    if vit.layers != (-1,) or inner < 2 * width:
        raise InputError("the final norm of this vision tower has no place in LLaVA")
    depth = vit.config.num_hidden_layers
    layer = f"vision_model.encoder.layers.{depth}."
    identity = NORM_SCALE * torch.eye(width)
    fc1, fc2 = torch.zeros(inner, width), torch.zeros(width, inner)
    fc1[: 2 * width] = torch.cat([torch.eye(width), -torch.eye(width)])
    fc2[:, : 2 * width] = torch.cat([identity, -identity], dim=1)
    added = {
        "layer_norm1.weight": torch.ones(width),
        "layer_norm1.bias": torch.zeros(width),
        "layer_norm2.weight": vit.state["vision_model.post_layernorm.weight"].clone(),
        "layer_norm2.bias": vit.state["vision_model.post_layernorm.bias"].clone(),
        "mlp.fc1.weight": fc1,
        "mlp.fc1.bias": torch.zeros(inner),
        "mlp.fc2.weight": fc2,
        "mlp.fc2.bias": torch.zeros(width),
    }
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        added[f"self_attn.{name}.weight"] = torch.zeros(width, width)
        added[f"self_attn.{name}.bias"] = torch.zeros(width)
    config = type(vit.config).from_dict(vit.config.to_dict() | {"num_hidden_layers": depth + 1})
    state = vit.state | {layer + name: tensor for name, tensor in added.items()}
    return Vit(config, state, (-1,), final_norm=False)


def _convert_open_clip(spec: VisionSpec, weights: Path) -> Vit:
    """Convert open_clip's own vision transformer to the names of transformers' CLIP."""
    from transformers import CLIPVisionConfig

    visual: Any = tower.VisionTower(spec, weights).visual
    blocks: Any = getattr(getattr(visual, "transformer", None), "resblocks", [])
    is_plain = len(blocks) > 0 and all(
        isinstance(block.ls_1, nn.Identity) and isinstance(block.attn, nn.MultiheadAttention)
        for block in blocks
    )
    if not is_plain or visual.attn_pool is not None or isinstance(visual.ln_pre, nn.Identity):
        raise InputError(
            "this tower of open_clip can't be exported: it is not built like CLIP's",
            "train with a tower of CLIP's architecture, such as that of phi2",
        )
    mlp = blocks[0].mlp
    config = CLIPVisionConfig(
        hidden_size=visual.conv1.out_channels,
        intermediate_size=mlp.c_fc.out_features,
        num_hidden_layers=len(blocks),
        num_attention_heads=blocks[0].attn.num_heads,
        image_size=spec.image_size,
        patch_size=visual.conv1.kernel_size[0],
        hidden_act="gelu" if isinstance(mlp.gelu, nn.GELU) else "quick_gelu",
        layer_norm_eps=visual.ln_post.eps,
    )
    state = {}
    for name, tensor in visual.state_dict().items():
        for new, value in _rename(name, tensor).items():
            state[f"vision_model.{new}"] = value.float().contiguous()
    return Vit(config, state, (-1,), final_norm=True)


_ENDS = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
_MODULES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def _rename(name: str, tensor: Tensor) -> dict[str, Tensor]:
    """Return a tensor of open_clip under its names in transformers; none for other heads."""
    if name in _ENDS:
        return {_ENDS[name]: tensor}
    if not name.startswith("transformer.resblocks."):
        return {}  # the projection into the space of texts
    number, _, rest = name.removeprefix("transformer.resblocks.").partition(".")
    layer = f"encoder.layers.{number}"
    if rest.startswith("attn.in_proj_"):
        leaf = rest.removeprefix("attn.in_proj_")
        parts = zip("qkv", tensor.chunk(3), strict=True)
        return {f"{layer}.self_attn.{each}_proj.{leaf}": value for each, value in parts}
    module, _, leaf = rest.rpartition(".")
    return {f"{layer}.{_MODULES[module]}.{leaf}": tensor}
