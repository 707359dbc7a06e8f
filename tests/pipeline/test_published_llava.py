"""Each layout in which LLaVA checkpoints are published is read as transformers reads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from llava_answers import Ours, assert_equal, encode_with_text_template, make_pictures
from llava_checkpoints import save_interleave, save_llava
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.prompt import Turn

QUESTION = "What is in this picture?"
PHI3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>\\n'"
    " + message['content'] + '<|im_end|>\\n' }}{% endfor %}{{ '<|assistant|>\\n' }}"
)
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|im_start|>' + message['role'] + '\\n\\n' + message['content'] | trim"
    " + '<|im_end|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}"
    "{{ content }}{% endfor %}{{ '<|im_start|>assistant\\n\\n' }}"
)
# Normalizer of Llama's and Phi-3's tokenizers: each text between special tokens gets a prefix.
PREPEND = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
    ],
}


def change(file: Path, drop: tuple[str, ...] = (), **fields: Any) -> None:
    """Change fields of a JSON file."""
    settings = json.loads(file.read_text()) | fields
    file.write_text(json.dumps({name: settings[name] for name in settings if name not in drop}))


def change_text(folder: Path, keep: str, **fields: Any) -> None:
    """Write a config.json whose text_config has few fields, as those of LLaVA 1.5 have."""
    config = json.loads((folder / "config.json").read_text())
    shape = "hidden_size intermediate_size num_hidden_layers num_attention_heads"
    names = f"architectures max_position_embeddings model_type vocab_size {shape} {keep}".split()
    text = {name: value for name, value in config["text_config"].items() if name in names}
    text |= {"_name_or_path": "lmsys/vicuna-7b-v1.5", "torch_dtype": "float16"}
    change(
        folder / "config.json",
        drop=("image_seq_length", "multimodal_projector_bias", "dtype"),
        text_config=text,
        **{"ignore_index": -100, "pad_token_id": 0, "torch_dtype": "float16", **fields},
    )


def shard(folder: Path, dtype: torch.dtype, **renamed: str) -> None:
    """Store the weights in 16 bits in two files with an index, as large models are."""
    weights = {
        name.replace(
            "language_model.model", renamed.get("language", "language_model.model")
        ): tensor.to(dtype)
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    (folder / "model.safetensors").unlink()
    files = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    weight_map = {name: files[number % 2] for number, name in enumerate(sorted(weights))}
    for file in files:
        part = {name: tensor for name, tensor in weights.items() if weight_map[name] == file}
        save_file(part, folder / file, {"format": "pt"})
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def use_text_template(folder: Path, template: str) -> None:
    """Leave only the tokenizer's template for text, as xtuner's checkpoints have it."""
    (folder / "chat_template.jinja").unlink()
    (folder / "processor_config.json").unlink()
    change(folder / "preprocessor_config.json", drop=("processor_class",))
    change(folder / "tokenizer_config.json", drop=("processor_class",), chat_template=template)


def save_llava_1_5(folder: Path) -> None:
    """Save the layout of llava-hf/llava-1.5-7b-hf."""
    save_llava(folder, "clip", "llama")
    # The published models have as many heads of keys as of queries, and Llama's defaults.
    change_text(folder, "rms_norm_eps num_key_value_heads", tie_word_embeddings=False)
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    change(folder / "tokenizer.json", normalizer=PREPEND)
    change(folder / "preprocessor_config.json", drop=("do_pad",))
    shard(folder, torch.float16)


def save_bakllava(folder: Path) -> None:
    """Save the layout of llava-hf/bakLlava-v1-hf, whose prompt is longer than the window here."""
    save_llava(folder, "clip", "mistral")
    change_text(folder, "num_key_value_heads rms_norm_eps")
    config = json.loads((folder / "config.json").read_text())
    change(folder / "config.json", text_config=config["text_config"] | {"sliding_window": 20})
    change(
        folder / "preprocessor_config.json",
        size=56, crop_size=56, feature_extractor_type="CLIPFeatureExtractor",
    )  # fmt: skip
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    change(folder / "processor_config.json", chat_template=template)
    shard(folder, torch.bfloat16)


def save_llava_phi_3(folder: Path) -> None:
    """Save the layout of xtuner/llava-phi-3-mini-hf."""
    save_llava(folder, "clip", "phi3")
    change_text(folder, "num_key_value_heads pad_token_id rms_norm_eps")
    change(folder / "tokenizer.json", normalizer=PREPEND)
    use_text_template(folder, PHI3)
    shard(folder, torch.float16)


def save_llava_llama_3(folder: Path) -> None:
    """Save the layout of xtuner/llava-llama-3-8b-v1_1-transformers."""
    save_llava(folder, "clip", "llama")
    change_text(folder, "num_key_value_heads rms_norm_eps")
    config = json.loads((folder / "config.json").read_text())
    change(folder / "config.json", text_config=config["text_config"] | {"rope_theta": 500000.0})
    use_text_template(folder, LLAMA3)
    shard(folder, torch.bfloat16)


def save_transformers_5(folder: Path) -> None:
    """Save what transformers 5 writes: other names of tensors and of settings."""
    save_llava(folder, "clip", "llama")
    config = json.loads((folder / "config.json").read_text())
    change(
        folder / "config.json", drop=("image_token_index",),
        image_token_id=config["image_token_index"], dtype="bfloat16",
    )  # fmt: skip
    images = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    change(folder / "processor_config.json", image_processor=images)
    change(folder / "tokenizer_config.json", drop=("added_tokens_decoder",))


PUBLISHED: dict[str, tuple[Callable[[Path], object], bool]] = {
    "llava-1.5": (save_llava_1_5, False),
    "bakllava": (save_bakllava, False),
    "llava-phi-3": (save_llava_phi_3, True),
    "llava-llama-3": (save_llava_llama_3, True),
    "interleave": (save_interleave, False),
    "transformers 5": (save_transformers_5, False),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_layout_answers_as_in_transformers(tmp_path, name):
    save, is_text = PUBLISHED[name]
    save(tmp_path)
    pictures = make_pictures()
    turns = [
        Turn("user", (pictures[0], QUESTION)),
        Turn("assistant", ("A dog.",)),
        Turn("user", (pictures[1], "And this?")),
    ]
    encode = {"encode": encode_with_text_template} if is_text else {}
    assert_equal(tmp_path, Ours(tmp_path), turns, **encode)


CLIP_L = {
    "hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
    "model_type": "clip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 24,
    "patch_size": 14, "projection_dim": 768, "vocab_size": 32000,
}  # fmt: skip
SO400M = {
    "hidden_size": 1152, "image_size": 384, "intermediate_size": 4304,
    "model_type": "siglip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 26,
    "patch_size": 14, "vision_use_head": False,
}  # fmt: skip
LLAVA_1_5 = {
    "model_type": "llava", "image_token_index": 32000, "vision_config": CLIP_L,
    "text_config": {"max_position_embeddings": 4096, "model_type": "llama", "vocab_size": 32064},
    "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
}  # fmt: skip
INTERLEAVE = {
    "model_type": "llava", "image_token_index": 151646, "vision_config": SO400M,
    "text_config": {
        "hidden_size": 1024, "intermediate_size": 2816, "model_type": "qwen2",
        "num_attention_heads": 16, "num_hidden_layers": 24, "num_key_value_heads": 16,
        "tie_word_embeddings": True, "vocab_size": 152000,
    },
    "vision_feature_layer": -1, "vision_feature_select_strategy": "full",
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "processor", "side", "patches", "width", "billions"),
    [
        (LLAVA_1_5, {"size": {"shortest_edge": 336}}, 336, 576, 1024, 6.74),
        (INTERLEAVE, {"size": {"height": 384, "width": 384}}, 384, 729, 1152, 0.464),
    ],
)
def test_published_settings_are_read(tmp_path, config, processor, side, patches, width, billions):
    kind = "CLIPImageProcessor" if config is LLAVA_1_5 else "SiglipImageProcessor"
    settings = {"image_processor_type": kind, **processor}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    (tmp_path / "model.safetensors").touch()
    vision = checkpoint.find(str(tmp_path)).spec.vision
    assert (vision.image_size, vision.patches, vision.width) == (side, patches, width)
    with torch.device("meta"):
        text = AutoConfig.from_pretrained(tmp_path).text_config
        language = AutoModelForCausalLM.from_config(text)
    assert language.num_parameters() / 1e9 == pytest.approx(billions, rel=0.01)
