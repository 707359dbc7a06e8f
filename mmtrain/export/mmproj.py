"""Write an mmproj: a vision tower and its projector, as llama.cpp's mtmd loads them.

The layout is that of `clip.cpp` in llama.cpp for the projector type "mlp".
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmtrain.export import projector_layers
from mmtrain.export.class_token import PIXEL_SCALE, shift_class_token
from mmtrain.export.projector_layers import TwoLayers
from mmtrain.export.vit import Vit, load_vit
from mmtui.errors import InputError
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.vision.projector import Projector

_ENDS = {
    "embeddings.patch_embedding": "v.patch_embd",
    "embeddings.position_embedding": "v.position_embd",
    "post_layernorm": "v.post_ln",
}
_MODULES = {
    "layer_norm1": "ln1",
    "layer_norm2": "ln2",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.out_proj": "attn_out",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}


def write_mmproj(
    path: Path,
    spec: VisionSpec,
    weights: Path,
    projector: Projector,
    activation: str,
    *,
    in_fp32: bool = False,
) -> None:
    """Write the vision tower of a spec and its projector.

    Args:
        path: The file to write.
        spec: The vision tower.
        weights: The file or folder of its weights.
        projector: The projector.
        activation: Its activation, by transformers' name.
        in_fp32: Whether matrices are stored in fp32; else they are in fp16.

    Raises:
        InputError: llama.cpp can't compute this tower or this projector.
    """
    from gguf import GGUFWriter

    vit = load_vit(spec, weights)
    layers = projector_layers.to_llama_cpp(projector, activation)
    _check(vit, spec)
    std = list(spec.std)
    if vit.has_class_token:
        shifted = shift_class_token(vit, spec)
        std = [each / PIXEL_SCALE for each in std]
        vit, layers = shifted.vit, replace(layers, first=shifted.widen(layers.first))
    depth = vit.config.num_hidden_layers
    selected = [layer if layer >= 0 else depth + 1 + layer for layer in vit.layers]
    if not min(selected):
        raise InputError("llama.cpp has no features before the first layer")
    writer = GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", vit.config.hidden_act != "quick_gelu")
    writer.add_uint32("clip.vision.image_size", vit.config.image_size)
    writer.add_uint32("clip.vision.patch_size", vit.config.patch_size)
    writer.add_uint32("clip.vision.embedding_length", vit.config.hidden_size)
    writer.add_uint32("clip.vision.feed_forward_length", vit.config.intermediate_size)
    writer.add_uint32("clip.vision.projection_dim", layers.second.out_features)
    writer.add_uint32("clip.vision.block_count", max(selected))
    writer.add_uint32("clip.vision.attention.head_count", vit.config.num_attention_heads)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", vit.config.layer_norm_eps)
    writer.add_array("clip.vision.feature_layer", selected)
    writer.add_array("clip.vision.image_mean", list(spec.mean))
    writer.add_array("clip.vision.image_std", std)
    fp32_names = {"v.position_embd.weight"}
    if vit.has_class_token:
        # The layer that moves the class token copies the embeddings with this matrix. Rounding it
        # would change them; the other matrices of the layer are exact or only tell rows apart.
        fp32_names.add("v.blk.0.attn_out.weight")
    for name, tensor in _list_tensors(vit, layers, max(selected)).items():
        is_halved = tensor.ndim > 1 and name not in fp32_names and not in_fp32
        dtype = np.float16 if is_halved else np.float32
        writer.add_tensor(name, tensor.detach().numpy().astype(dtype))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _check(vit: Vit, spec: VisionSpec) -> None:
    is_last = vit.layers in ((-1,), (vit.config.num_hidden_layers,))
    if vit.has_class_token and spec.select == "full":
        raise InputError("llama.cpp leaves out the class token of CLIP towers")
    if not vit.has_class_token and spec.select == "default":
        raise InputError("llama.cpp does not leave out a patch of a tower without a class token")
    if vit.final_norm and not is_last:
        raise InputError("llama.cpp applies the final norm of a tower to its last layer only")


def _list_tensors(vit: Vit, layers: TwoLayers, depth: int) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, tensor in vit.state.items():
        module, _, leaf = name.removeprefix("vision_model.").rpartition(".")
        if leaf == "class_embedding":
            tensors["v.class_embd"] = tensor
        elif module.startswith("encoder.layers."):
            number, _, part = module.removeprefix("encoder.layers.").partition(".")
            if int(number) < depth:
                tensors[f"v.blk.{number}.{_MODULES[part]}.{leaf}"] = tensor
        elif vit.final_norm or module != "post_layernorm":
            tensors[f"{_ENDS[module]}.{leaf}"] = tensor
    for index, layer in ((0, layers.first), (2, layers.second)):
        tensors[f"mm.{index}.weight"], tensors[f"mm.{index}.bias"] = layer.weight, layer.bias
    return {name: tensor.to(torch.float32) for name, tensor in tensors.items()}
