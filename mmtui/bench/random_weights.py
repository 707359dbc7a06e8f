"""A preset of full size with random weights, to measure its speed and memory without a download."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from mmtui.errors import UsageError
from mmtui.pipeline.assets.checkpoint import (
    GGUF_FILE,
    LANGUAGE_FOLDER,
    OPEN_CLIP_CONFIG_FILE,
    OPEN_CLIP_WEIGHTS_FILE,
    PROJECTOR_FILE,
    Checkpoint,
)
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import Asset, EngineName, LanguageSpec, VisionSpec

# The config.json of each preset's language model.
LANGUAGE_CONFIGS: dict[str, dict[str, Any]] = {
    "phi2": {
        "architectures": ["PhiForCausalLM"], "model_type": "phi", "hidden_act": "gelu_new",
        "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "partial_rotary_factor": 0.4,
        "vocab_size": 51200, "max_position_embeddings": 2048, "layer_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": False, "dtype": "float16",
    },
    "smol": {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": True, "dtype": "float16",
    },
}  # fmt: skip
# The model_cfg of TinyCLIP ViT-61M/32, with the text tower that open_clip loads beside it.
TINYCLIP_CONFIG = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 640, "patch_size": 32},
    "text_cfg": {
        "context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 9,
    },
}  # fmt: skip
_TOWER_BYTES = 300_000_000  # on disk, with the text tower
_BLOCK = 1 << 24  # random numbers that the weights repeat


def estimate_size(preset: Checkpoint, engine: EngineName) -> int:
    """Return an upper limit of the disk space that `checkpoint` uses.

    Raises:
        UsageError: The model is not a preset.
    """
    weights = sum(math.prod(shape) for shape in _shapes(_config(preset)).values())
    if engine == "torch":
        return _TOWER_BYTES + int(2.1 * weights)
    from mmtui.pipeline.gguf import conversion

    size = conversion.SIZES[conversion.QUANTIZATIONS[preset.spec.language.precision]]
    return _TOWER_BYTES + int(2 * weights * size)


def write_checkpoint(
    preset: Checkpoint, engine: EngineName, folder: Path, report: Report = ignore_progress
) -> Checkpoint:
    """Write a preset with random weights.

    A vision tower of another library than open_clip is left out.

    Args:
        preset: The model whose shape is copied.
        engine: "llamacpp" writes a GGUF in the preset's precision, "torch" safetensors in fp16.
        folder: Where to write.
        report: Called as weights are written.

    Raises:
        UsageError: The model is not a preset.
    """
    weights, config, spec = RandomWeights(), _config(preset), preset.spec
    language = folder / LANGUAGE_FOLDER
    language.mkdir()
    (language / "config.json").write_text(json.dumps(config))
    _write_tokenizer(language)
    if engine == "llamacpp":
        from mmtui.pipeline.gguf import conversion, writer

        model, shapes = language / GGUF_FILE, _shapes(config)
        kind = conversion.QUANTIZATIONS[spec.language.precision]
        writer.write_random(language, model, kind, weights.draw, shapes, report)
    else:
        _write_safetensors(language, _shapes(config), weights, report)
    vision = spec.vision if spec.vision and spec.vision.architecture == "open_clip" else None
    if vision is not None:
        vision = _write_tower(folder / "tower", vision, weights)
        hidden = config["hidden_size"]
        projector = {"weight": (hidden, vision.width), "bias": (hidden,)}
        _save(
            {n: weights.draw(n, shape) for n, shape in projector.items()}, folder / PROJECTOR_FILE
        )
    language_spec = LanguageSpec(Asset(str(language)), spec.language.precision)
    return Checkpoint(
        dataclasses.replace(spec, language=language_spec, vision=vision, parts=()),
        projector=folder / PROJECTOR_FILE if vision is not None else None,
    )


def _config(preset: Checkpoint) -> dict[str, Any]:
    name = preset.spec.name
    if name not in LANGUAGE_CONFIGS:
        raise UsageError(
            f"the shape of {name} is not known without its weights",
            f"--random-weights takes --model {' or '.join(LANGUAGE_CONFIGS)}",
        )
    return LANGUAGE_CONFIGS[name]


class RandomWeights:
    """Values like those of a model at the start of its training."""

    def __init__(self) -> None:
        block = np.random.default_rng(0).standard_normal(_BLOCK, dtype=np.float32) * 0.02
        self._block = block.astype(np.float16)

    def draw(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return the values of a tensor in fp16."""
        if name.endswith("bias"):
            return np.zeros(shape, np.float16)
        if len(shape) == 1:  # the scale of a normalization
            return np.ones(shape, np.float16)
        return np.resize(self._block, shape)


def _shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of a language model, by its name in transformers."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    key = hidden * config["num_key_value_heads"] // config["num_attention_heads"]
    norms: tuple[str, ...]
    end = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    if config["model_type"] == "phi":
        linear = {
            "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (key, hidden),
            "self_attn.v_proj": (key, hidden), "self_attn.dense": (hidden, hidden),
            "mlp.fc1": (inner, hidden), "mlp.fc2": (hidden, inner),
        }  # fmt: skip
        norms, last = ("input_layernorm",), "final_layernorm"
        head = {"lm_head": (config["vocab_size"], hidden)}
    else:
        linear = {
            "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (key, hidden),
            "self_attn.v_proj": (key, hidden), "self_attn.o_proj": (hidden, hidden),
            "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }  # fmt: skip
        norms, last, head = ("input_layernorm", "post_attention_layernorm"), "norm", {}
    modules: dict[str, tuple[int, ...]] = {f"model.{last}": (hidden,), **head}
    for layer in range(config["num_hidden_layers"]):
        named = linear | dict.fromkeys(norms, (hidden,))
        modules |= {f"model.layers.{layer}.{name}": shape for name, shape in named.items()}
    weights = {f"{name}.weight": shape for name, shape in modules.items()}
    biases = {f"{name}.bias": shape[:1] for name, shape in modules.items()}
    return end | weights | (biases if config["model_type"] == "phi" else {})


def _write_safetensors(
    folder: Path, shapes: dict[str, tuple[int, ...]], weights: RandomWeights, report: Report
) -> None:
    """Write the tensors of a language model, each to a file, so that one at a time is in memory."""
    for number, (name, shape) in enumerate(shapes.items()):
        report("writing random weights", number, len(shapes))
        _save({name: weights.draw(name, shape)}, folder / f"model-{number:05}.safetensors")
    report("writing random weights", 1, 1)


def _write_tower(folder: Path, spec: VisionSpec, weights: RandomWeights) -> VisionSpec:
    """Write a vision tower in the layout of open_clip's repositories on the hub."""
    import open_clip
    import torch

    folder.mkdir()
    with torch.device("meta"):
        state = open_clip.CLIP(**TINYCLIP_CONFIG).state_dict()
    tensors = {name: weights.draw(name, tuple(value.shape)) for name, value in state.items()}
    _save(tensors, folder / OPEN_CLIP_WEIGHTS_FILE)
    preprocess = {"mean": spec.mean, "std": spec.std}
    settings = {"model_cfg": TINYCLIP_CONFIG, "preprocess_cfg": preprocess}
    (folder / OPEN_CLIP_CONFIG_FILE).write_text(json.dumps(settings))
    return dataclasses.replace(spec, weights=Asset(str(folder)))


def _write_tokenizer(folder: Path) -> None:
    """Write a tokenizer with a token for each byte, so that any output is text.

    It has one merge, because llama.cpp refuses a vocabulary without merges.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, "th"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("t", "h")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def _save(tensors: dict[str, np.ndarray], path: Path) -> None:
    from safetensors.numpy import save_file

    save_file(tensors, path, metadata={"format": "pt"})
