"""Models in Hugging Face's layout that have no spec.json: their spec follows from config.json."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmtui.errors import InputError
from mmtui.files import read_optional_json
from mmtui.pipeline.assets import llava
from mmtui.pipeline.assets.file_names import WEIGHTS_PATTERN
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec

CONFIG_FILE = "config.json"
# Files of a repository that are read: not pickled weights, or the same weights for other programs.
FILES = (
    CONFIG_FILE, "tokenizer.json", WEIGHTS_PATTERN, "*.json", "*.jinja", "*.txt",
)  # fmt: skip
_LANGUAGE_CLASSES = ("ForCausalLM", "LMHeadModel")
_MAX_LAYERS = 1000  # the largest models have about 150


def make_spec(name: str, folder: Path, weights: Asset) -> ModelSpec:
    """Return the spec of a language model or of a LLaVA checkpoint.

    Args:
        name: The name that the app shows.
        folder: The folder with config.json; the weights may be missing.
        weights: The asset of the model.

    Raises:
        InputError: A file is damaged, or the model is of another kind.
    """
    config = read_optional_json(folder / CONFIG_FILE)
    _check_depth(name, config)
    if config.get("model_type") == "llava":
        return llava.read_spec(name, folder, weights)
    architectures = config.get("architectures") or ["ForCausalLM"]
    is_language_model = str(architectures[0]).endswith(_LANGUAGE_CLASSES)
    if "vision_config" in config or not is_language_model:
        raise InputError(
            f"{name} is a {config.get('model_type')}; mmtui runs language models, and LLaVA with a"
            " CLIP or SigLIP tower (model_type llava)",
            "a GGUF of this model may run: --model FILE.gguf, with its mmproj beside it",
        )
    return ModelSpec(name, LanguageSpec(weights))


def _check_depth(name: str, config: Mapping[str, Any]) -> None:
    """Check the number of layers, because transformers builds any number of them.

    Raises:
        InputError: There are none, or far more than models have.
    """
    for part in (config, *config.values()):
        layers = part.get("num_hidden_layers") if isinstance(part, Mapping) else None
        if isinstance(layers, int) and not 0 < layers <= _MAX_LAYERS:
            raise InputError(
                f"the config.json of {name} is damaged: a model with {layers} layers",
                "download it again",
            )
