"""Fixtures for the engines: language models and an adapter."""

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM


@pytest.fixture(params=["tiny_llama", "tiny_phi"])
def language_folder(request: pytest.FixtureRequest) -> Path:
    """Return the folder of a Llama, then of a Phi."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def adapter(language_folder: Path, tmp_path: Path) -> Path:
    """Save a LoRA adapter of the language model whose weight changes are not zero."""
    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(language_folder)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])
    adapted = get_peft_model(base, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture
def bf16_folder(language_folder: Path, tmp_path: Path) -> Path:
    """Save the language model in bf16, the precision of most models."""
    model = AutoModelForCausalLM.from_pretrained(language_folder, dtype=torch.bfloat16)
    copy = shutil.copytree(
        language_folder, tmp_path / "bf16", ignore=lambda *_: ["model.safetensors"]
    )
    model.save_pretrained(copy)
    return copy
