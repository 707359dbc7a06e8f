"""Import the release of the project that mmtui continues: its projector and its QLoRA adapter."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from mmtrain.export import destination
from mmtui.errors import InputError
from mmtui.files import read_optional_json
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.file_names import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    SPEC_FILE,
)
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec, PromptSpec, VisionSpec

PROJECTOR_FILE, ADAPTER_FOLDER = "ft_projection.pth", "qlora_adaptor"
# [picture][the token " comment"][question][answer], without a template.
_PROMPT = PromptSpec(
    template=(
        "{% for message in messages %}"
        "{% if not loop.first and message.role == 'user' %}{{ '\n' }}{% endif %}"
        "{% if message.content is string %}{{ message.content }}{% else %}"
        "{% for part in message.content %}"
        "{{ '<image>' if part.type == 'image' else part.text }}"
        "{% endfor %}{% endif %}"
        "{% if message.role == 'system' %}{{ '\n' }}{% endif %}"
        "{% endfor %}"
    ),
    picture_token="<image>",
    after_picture=" comment",
)


def import_release(release: Path, place: Path, language: str, vision: str) -> Path:
    """Write the checkpoint of a release.

    Args:
        release: The folder with `ft_projection.pth`, and `qlora_adaptor/` if there is one.
        place: The folder to write.
        language: The URI of Phi-2.
        vision: The URI of TinyCLIP in Hugging Face's layout.

    Raises:
        InputError: The release is incomplete or damaged.
        UsageError: The folder holds other files.
    """
    destination.check(place, marker=SPEC_FILE)
    projector = _load_projector(release / PROJECTOR_FILE)
    spec = ModelSpec(
        release.name,
        LanguageSpec(Asset(language), prompt=_PROMPT),
        _make_vision(vision, width=projector["weight"].shape[1]),
        checkpoint.find("smol").spec.speech,
    )
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".new-") as name:
        adapter = None
        if (release / ADAPTER_FOLDER).is_dir():
            adapter = Path(name) / ADAPTER_FOLDER
            _convert_adapter(release / ADAPTER_FOLDER, adapter)
        checkpoint.write(place, spec, projector, adapter)
    return place


def _make_vision(uri: str, width: int) -> VisionSpec:
    """Return the spec of TinyCLIP, whose features are taken before the post layer norm."""
    base = checkpoint.read(checkpoint.SHIPPED / "phi2").spec.vision
    assert base is not None
    config = fetch.locate(Asset(uri))
    tower: dict[str, Any] = {}
    if config is not None:
        whole = read_optional_json(config / "config.json")
        tower = whole.get("vision_config") or whole
    side, patch = int(tower.get("image_size", 224)), int(tower.get("patch_size", 32))
    return VisionSpec(
        Asset(uri, only=("config.json", "model*.safetensors") if uri.startswith("hf:") else ()),
        "transformers",
        side,
        base.mean,
        base.std,
        patches=(side // patch) ** 2,
        width=width,
        final_norm=False,
        processor="transformers",
    )


def _load_projector(file: Path) -> dict[str, Tensor]:
    """Load the state of the linear projector, which is a pickle of tensors."""
    state = _load_pickle(file)
    found = {name.rpartition(".")[2]: tensor.float() for name, tensor in state.items()}
    shapes = {name: tensor.ndim for name, tensor in found.items()}
    if len(found) != len(state) or shapes != {"weight": 2, "bias": 1}:
        raise InputError(f"{file} is not the state of a linear projector: it has {sorted(state)}")
    return found


def _convert_adapter(source: Path, target: Path) -> None:
    """Copy a PEFT adapter; a pickle of its weights, as old versions wrote it, is converted."""
    settings = read_optional_json(source / ADAPTER_CONFIG_FILE)
    weights, pickled = source / ADAPTER_WEIGHTS_FILE, source / "adapter_model.bin"
    if not settings or not (weights.exists() or pickled.exists()):
        raise InputError(f"{source} is not an adapter of PEFT")
    target.mkdir()
    settings["base_model_name_or_path"] = None
    (target / ADAPTER_CONFIG_FILE).write_text(json.dumps(settings, indent=2) + "\n")
    if weights.exists():
        shutil.copyfile(weights, target / ADAPTER_WEIGHTS_FILE)
    else:
        fetch.save_tensors(_load_pickle(pickled), target / ADAPTER_WEIGHTS_FILE)


def _load_pickle(file: Path) -> dict[str, Tensor]:
    """Load tensors by name from a pickle, of which nothing but tensors is unpickled."""
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{file} is missing", "pass the folder of the release") from error
    except Exception as error:  # torch raises errors of many classes
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} is damaged, or holds more than tensors: {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise InputError(f"{file} does not hold tensors by name")
    return {name: tensor.contiguous() for name, tensor in state.items()}
