"""Estimate the memory of well-known models, and print the tables of docs/which-model.md.

    python tests/bench/fit.py

Nothing is loaded or measured: parameters are counted on torch's meta device, from shapes that were
typed from the config.json of each model, and multiplied by the bits that a format stores. It fails
if a count differs by more than 3 % from the published one.
"""

import math
import sys
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from mmtui.bench.random_weights import LANGUAGE_CONFIGS

GB = 1e9
CONTEXT = 4096  # tokens of a conversation, for the KV cache; Phi-2 reads only 2048
TOLERANCE = 0.03  # of the number of parameters; the projector of a LLaVA is not counted
MEMORY = (8, 16, 24)
SYSTEM_GB = {"CPU": 2, "GPU": 1}  # what other programs and the libraries take
# Bits per weight. Q4_K_M mixes Q4_K (4.5) and Q6_K (6.56); 4.9 is typical for large models.
BITS = {"Q4_K_M": 4.9, "Q8_0": 8.5, "bf16": 16.0, "nf4": 4.127}


def make_config(model_type: str, *shape: int, tied: bool = False) -> dict[str, Any]:
    """Return a config of hidden size, inner size, layers, heads, heads of keys, vocabulary."""
    names = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "vocab_size",
    )  # fmt: skip
    sizes = dict(zip(names, shape, strict=True))
    return {"model_type": model_type, "tie_word_embeddings": tied, **sizes}


def make_tower(model_type: str, *shape: int) -> dict[str, Any]:
    """Return a config of hidden size, inner size, layers, heads, image size, patch size."""
    names = (
        "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "image_size", "patch_size",
    )  # fmt: skip
    return {"model_type": model_type, **dict(zip(names, shape, strict=True))}


CLIP_L = make_tower("clip_vision_model", 1024, 4096, 24, 16, 336, 14)
# The published tower lacks the last of 27 layers, and the head.
SIGLIP = make_tower("siglip_vision_model", 1152, 4304, 26, 16, 384, 14) | {"vision_use_head": False}
TINYCLIP = make_tower("clip_vision_model", 640, 2560, 12, 10, 224, 32)


@dataclass(frozen=True)
class Example:
    """A model, by the shapes of its language model and of its vision tower.

    Attributes:
        name: What the tables call it.
        billions: The number of its parameters as it is published.
        language: The config of the language model.
        tower: The config of the vision tower; None if it can't see.
    """

    name: str
    billions: float
    language: dict[str, Any]
    tower: dict[str, Any] | None = None


EXAMPLES = (
    Example(
        "LLaVA-Interleave Qwen 0.5B",
        0.88,
        make_config("qwen2", 1024, 2816, 24, 16, 16, 152000, tied=True),
        SIGLIP,
    ),
    Example("`phi2`: Phi-2 with TinyCLIP", 2.84, LANGUAGE_CONFIGS["phi2"], TINYCLIP),
    Example("Qwen2.5 3B", 3.09, make_config("qwen2", 2048, 11008, 36, 16, 2, 151936, tied=True)),
    Example("LLaVA 1.5 7B", 7.06, make_config("llama", 4096, 11008, 32, 32, 32, 32064), CLIP_L),
    Example("Qwen2.5 7B", 7.62, make_config("qwen2", 3584, 18944, 28, 28, 4, 152064)),
    Example("Llama 3.1 8B", 8.03, make_config("llama", 4096, 14336, 32, 32, 8, 128256)),
    Example("LLaVA 1.5 13B", 13.35, make_config("llama", 5120, 13824, 40, 40, 40, 32064), CLIP_L),
    Example("Qwen2.5 14B", 14.77, make_config("qwen2", 5120, 13824, 48, 40, 8, 152064)),
)


@dataclass(frozen=True)
class Estimate:
    """The bytes of a model.

    Attributes:
        parameters: Parameters of the language model and of the vision tower.
        weights: Bytes of the weights in each format. The tower has 16 bits in all of them.
        cache: Bytes of the KV cache of `CONTEXT` tokens in 16 bits, or of the model's context.
    """

    parameters: int
    weights: dict[str, float]
    cache: int

    def fits(self, gigabytes: int, device: str, quantization: str) -> bool:
        """Return whether the weights and the KV cache fit."""
        free = (gigabytes - SYSTEM_GB[device]) * GB
        return self.weights[quantization] + self.cache < free


def estimate(example: Example) -> Estimate:
    """Estimate the bytes of a model."""
    config = AutoConfig.for_model(**example.language)
    with torch.device("meta"):
        language = AutoModelForCausalLM.from_config(config)
        tower = (
            AutoModel.from_config(AutoConfig.for_model(**example.tower)) if example.tower else None
        )
    total = sum(weight.numel() for weight in language.parameters())
    head = language.get_output_embeddings()
    # nf4 quantizes linear layers except the output layer; the other weights have 16 bits.
    linear = sum(
        module.weight.numel()
        for module in language.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    seen = sum(weight.numel() for weight in tower.parameters()) if tower else 0
    weights = {name: (total * bits + seen * 16) / 8 for name, bits in BITS.items()}
    weights["nf4"] = (linear * BITS["nf4"] + (total - linear + seen) * 16) / 8
    head_size = config.hidden_size // config.num_attention_heads
    values = 2 * config.num_hidden_layers * config.num_key_value_heads * head_size
    tokens = min(CONTEXT, example.language.get("max_position_embeddings", CONTEXT))
    return Estimate(total + seen, weights, 2 * values * tokens)


def main() -> None:
    """Print both tables."""
    found = [(example, estimate(example)) for example in EXAMPLES]
    for example, size in found:
        if abs(size.parameters / GB / example.billions - 1) > TOLERANCE:
            sys.exit(f"{example.name}: {size.parameters / GB:.2f} B, not {example.billions} B")
    print("| model | parameters | sees |", " | ".join(BITS), "| KV cache |")
    print("|---|---|---|", "---|" * len(BITS), "---|", sep="")
    for example, size in found:
        cells = [f"{size.weights[name] / GB:.1f}" for name in BITS]
        sees = "yes" if example.tower else "no"
        billions = f"{size.parameters / GB:.1f} B"
        print(f"| {example.name} | {billions} | {sees} |", " | ".join(cells), end=" ")
        print(f"| {math.ceil(size.cache / GB * 10) / 10:.1f} |")
    print()
    columns = [(device, gigabytes) for device in SYSTEM_GB for gigabytes in MEMORY]
    print("| model |", " | ".join(f"{device}, {size} GB" for device, size in columns), "|")
    print("|---|", "---|" * len(columns), sep="")
    formats = {"CPU": ("Q8_0", "Q4_K_M"), "GPU": ("bf16", "nf4")}
    for example, size in found:
        cells = [
            next((name for name in formats[device] if size.fits(total, device, name)), "-")
            for device, total in columns
        ]
        print(f"| {example.name} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
