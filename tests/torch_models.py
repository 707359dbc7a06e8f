"""Logits of torch models, and models that transformers quantizes."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

IDS = torch.arange(3, 60, 2)[None]


def compute_logits(model) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits.float()


def quantize_with_transformers(folder: Path):
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, quantization_config=settings, device_map={"": "cpu"}
    ).eval()
