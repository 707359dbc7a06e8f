"""The spec of a LLaVA checkpoint in Hugging Face's layout (arXiv:2304.08485).

This is the only module that knows such checkpoints: it reads the JSON files beside the weights, and
what it returns is a spec like that of any other model.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from mmtui.errors import InputError
from mmtui.files import read_optional_json
from mmtui.pipeline.assets.spec import (
    Asset,
    LanguageSpec,
    ModelSpec,
    Part,
    ProjectorSpec,
    PromptSpec,
    Resampling,
    VisionSpec,
)

# The names of tensors, as transformers has saved them before version 5 and since.
_LANGUAGE = Part(
    "text_config",
    (
        ("language_model.model.", "model."),
        ("language_model.lm_head.", "lm_head."),
        ("model.language_model.", "model."),
        ("lm_head.", "lm_head."),
    ),
    zeros=("lm_head.bias",),  # of Phi, which has no place in LlavaForConditionalGeneration
)
_TOWER = Part("vision_config", (("vision_tower.", ""), ("model.vision_tower.", "")))
_PROJECTOR = Part(
    "",
    (
        ("multi_modal_projector.linear_1.", "0."),
        ("multi_modal_projector.linear_2.", "2."),
        ("model.multi_modal_projector.linear_1.", "0."),
        ("model.multi_modal_projector.linear_2.", "2."),
    ),
)
_CLIP, _SIGLIP = "clip_vision_model", "siglip_vision_model"
# The defaults of transformers for what a config.json leaves out.
_TOWER_DEFAULTS: dict[str, dict[str, int]] = {
    _CLIP: {"hidden_size": 768, "image_size": 224, "patch_size": 32, "num_hidden_layers": 12},
    _SIGLIP: {"hidden_size": 768, "image_size": 224, "patch_size": 16, "num_hidden_layers": 12},
}
_MEANS = {_CLIP: [0.48145466, 0.4578275, 0.40821073], _SIGLIP: [0.5, 0.5, 0.5]}
_MAX_RESIZE = 4  # times the side that a tower reads; pictures are resized to it before they are cut
_STDS = {_CLIP: [0.26862954, 0.26130258, 0.27577711], _SIGLIP: [0.5, 0.5, 0.5]}


def read_spec(name: str, folder: Path, weights: Asset) -> ModelSpec:
    """Return the spec of a LLaVA checkpoint.

    Args:
        name: The name that the app shows.
        folder: The folder with config.json and the settings of the processor.
        weights: The asset of the whole checkpoint.

    Raises:
        InputError: A file is missing or malformed, or the checkpoint is of a shape that is not
            supported.
    """
    config = read_optional_json(folder / "config.json")
    try:
        return ModelSpec(
            name,
            LanguageSpec(
                dataclasses.replace(weights, part=_LANGUAGE),
                prompt=PromptSpec(picture_token=_find_picture_token(folder, config)),
            ),
            _read_vision(folder, config, dataclasses.replace(weights, part=_TOWER)),
            projector=ProjectorSpec(
                str(config.get("projector_hidden_act", "gelu")),
                dataclasses.replace(weights, part=_PROJECTOR),
            ),
        )
    except (LookupError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise InputError(
            f"config.json or preprocessor_config.json of {name} is malformed: {error!r}",
            "fetch the checkpoint again",
        ) from error


def _read_vision(folder: Path, config: Mapping[str, Any], weights: Asset) -> VisionSpec:
    given = config.get("vision_config") or {}
    kind = given.get("model_type", _CLIP)
    if kind not in _TOWER_DEFAULTS:
        raise InputError(
            f"its vision tower is a {kind}; LLaVA with CLIP or SigLIP is supported",
            "a GGUF of this model and its mmproj may run: --model FILE.gguf",
        )
    tower = _TOWER_DEFAULTS[kind] | given
    side, patch = int(tower["image_size"]), int(tower["patch_size"])
    layers = config.get("vision_feature_layer", -2)
    layers = tuple(int(layer) for layer in (layers if isinstance(layers, list) else [layers]))
    select: Literal["default", "full"] = config.get("vision_feature_select_strategy", "default")
    if select not in ("default", "full"):
        raise InputError(f"its vision_feature_select_strategy is {select!r}, not default or full")
    tokens = (side // patch) ** 2 + (kind == _CLIP)  # the class token of CLIP
    return VisionSpec(
        weights=weights,
        architecture="transformers",
        image_size=side,
        patches=tokens - (select == "default"),
        width=int(tower["hidden_size"]) * len(layers),
        layers=layers,
        final_norm=False,
        select=select,
        processor="transformers",
        **_read_processor(folder, kind, side),
    )


def _read_processor(folder: Path, kind: str, side: int) -> dict[str, Any]:
    """Return how the checkpoint's processor prepares a picture, as fields of VisionSpec."""
    settings = read_optional_json(folder / "preprocessor_config.json") or (
        read_optional_json(folder / "processor_config.json").get("image_processor") or {}
    )
    if not settings:
        raise InputError(
            f"{folder} has no preprocessor_config.json, which says how pictures are prepared",
            "fetch the checkpoint again",
        )
    # The rescaling is made part of the normalization, where pixels are 0 to 1.
    factor = 255 * float(settings.get("rescale_factor", 1 / 255))
    factor = factor if settings.get("do_rescale", True) else 255.0
    mean, std = settings.get("image_mean") or _MEANS[kind], settings.get("image_std") or _STDS[kind]
    if not settings.get("do_normalize", True):
        mean, std = [0.0] * 3, [1.0] * 3
    if len(mean) != 3 or len(std) != 3 or not all(std):
        raise ValueError(f"image_mean {mean} and image_std {std}")
    fields: dict[str, Any] = {
        "mean": tuple(float(value) / factor for value in mean),
        "std": tuple(float(value) / factor for value in std),
        "resample": get_args(Resampling)[int(settings.get("resample", 3))],
    }
    return fields | _read_resize(settings, kind, side)


def _read_resize(settings: Mapping[str, Any], kind: str, side: int) -> dict[str, Any]:
    """Return how pictures become squares, as fields of VisionSpec.

    Raises:
        InputError: They do not become squares of the size that the tower reads.
    """
    type_name = str(settings.get("image_processor_type", ""))
    size = settings.get("size") or ({"shortest_edge": side} if kind == _CLIP else side)
    if isinstance(size, int):
        size = {"shortest_edge": size} if kind == _CLIP else {"height": size, "width": size}
    crop = settings.get("crop_size") or side
    crop = crop if isinstance(crop, int) else int(crop["height"])
    does_crop = settings.get("do_center_crop", True) and "Siglip" not in type_name
    fields: dict[str, Any]
    if settings.get("do_pad", False) and type_name.startswith("LlavaImageProcessor"):
        fields = {"resize": "pad"}
        is_right = size.get("shortest_edge", size.get("height")) == side
    elif (shorter := size.get("shortest_edge")) is not None:
        fields = {"resize": "shorter side", "resize_to": None if shorter == side else int(shorter)}
        is_right = does_crop and side <= shorter <= _MAX_RESIZE * side
    else:
        fields = {"resize": "stretch"}
        is_right = size["height"] == size["width"] == side
    if does_crop and crop != side:
        is_right = False
    if not is_right or not settings.get("do_resize", True):
        raise InputError(
            f"its processor does not make pictures of {side} x {side} pixels, which its vision"
            " tower reads",
            "preprocessor_config.json and config.json belong to different models",
        )
    return fields


def _find_picture_token(folder: Path, config: Mapping[str, Any]) -> str:
    """Return the token that a chat template writes for a picture."""
    processor = read_optional_json(folder / "processor_config.json")
    if isinstance(token := processor.get("image_token"), str):
        return token
    number = config.get("image_token_index", config.get("image_token_id"))
    added = read_optional_json(folder / "tokenizer_config.json").get("added_tokens_decoder")
    if added is None:  # transformers 5 leaves it to tokenizer.json
        tokens = read_optional_json(folder / "tokenizer.json").get("added_tokens") or []
        added = {str(token["id"]): token for token in tokens}
    return str((added.get(str(number)) or {}).get("content", "<image>"))
