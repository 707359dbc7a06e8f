"""Checkpoints of full size with random weights, to benchmark a preset without fetching it."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from mmtui.errors import UsageError
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.file_names import (
    GGUF_FILE,
    LANGUAGE_FOLDER,
    OPEN_CLIP_CONFIG_FILE,
    OPEN_CLIP_WEIGHTS_FILE,
    PROJECTOR_FILE,
)
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
# The model_cfg of TinyCLIP ViT-61M/32; open_clip also loads the text tower.
TINYCLIP_CONFIG = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 640, "patch_size": 32},
    "text_cfg": {
        "context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 9,
    },
}  # fmt: skip
_TOWER_BYTES = 300_000_000  # size on disk, with the text tower
_BLOCK_SIZE = 1 << 24  # number of random values, which the weights repeat


def estimate_size(preset: Checkpoint, engine: EngineName) -> int:
    """Return an upper limit of the size that `write_checkpoint` writes, in bytes.

    Raises:
        UsageError: The model is not a preset.
    """
    weights = sum(math.prod(shape) for shape in _compute_shapes(_get_config(preset)).values())
    if engine == "torch":
        return _TOWER_BYTES + int(2.1 * weights)
    from mmtui.pipeline.gguf import conversion

    size = conversion.RELATIVE_SIZES[conversion.QUANTIZATIONS[preset.spec.language.precision]]
    return _TOWER_BYTES + int(2 * weights * size)


def write_checkpoint(
    preset: Checkpoint, engine: EngineName, folder: Path, report: Report = ignore_progress
) -> Checkpoint:
    """Write a checkpoint with the shape of a preset and random weights.

    Only vision towers of open_clip are written; others are left out.

    Args:
        preset: The preset.
        engine: "llamacpp" writes a GGUF in the preset's precision, "torch" safetensors in fp16.
        folder: The empty folder to write to.
        report: Receives the progress.

    Raises:
        UsageError: The model is not a preset.
    """
    weights, config, spec = RandomWeights(), _get_config(preset), preset.spec
    language = folder / LANGUAGE_FOLDER
    language.mkdir()
    (language / "config.json").write_text(json.dumps(config))
    _write_tokenizer(language)
    if engine == "llamacpp":
        from mmtui.pipeline.gguf import conversion, writer

        model, shapes = language / GGUF_FILE, _compute_shapes(config)
        kind = conversion.QUANTIZATIONS[spec.language.precision]
        writer.write_random(language, model, kind, weights.draw, shapes, report)
    else:
        _write_safetensors(language, _compute_shapes(config), weights, report)
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


def _get_config(preset: Checkpoint) -> dict[str, Any]:
    """Return the config.json of a preset's language model."""
    name = preset.spec.name
    if name not in LANGUAGE_CONFIGS:
        raise UsageError(
            f"the shape of {name} is not known without its weights",
            f"with --random-weights, pass --model {' or '.join(LANGUAGE_CONFIGS)}",
        )
    return LANGUAGE_CONFIGS[name]


class RandomWeights:
    """Random values with the standard deviation 0.02 of an untrained model."""

    def __init__(self) -> None:
        block = np.random.default_rng(0).standard_normal(_BLOCK_SIZE, dtype=np.float32) * 0.02
        self._block = block.astype(np.float16)

    def draw(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return values for a tensor in fp16: zeros for biases, ones for normalization layers."""
        if name.endswith("bias"):
            return np.zeros(shape, np.float16)
        if len(shape) == 1:
            return np.ones(shape, np.float16)
        return np.resize(self._block, shape)


def _compute_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a language model, by their names in transformers."""
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
    """Write each tensor of a language model to its own file, so that memory holds only one."""
    for number, (name, shape) in enumerate(shapes.items()):
        report("writing random weights", number, len(shapes))
        _save({name: weights.draw(name, shape)}, folder / f"model-{number:05}.safetensors")
    report("writing random weights", 1, 1)


def _write_tower(folder: Path, spec: VisionSpec, weights: RandomWeights) -> VisionSpec:
    """Write a vision tower in open_clip's layout, and return the spec with its path."""
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
    """Write a byte-level tokenizer, so that any sequence of tokens is text.

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
