"""Answers to a prompt by mmtui and by transformers, for tests that compare them."""

import hashlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.engines.loading import load_engine
from mmtui.pipeline.prompt import ChatFormat, Turn, find_pictures
from mmtui.pipeline.sequence import to_positions
from mmtui.pipeline.vision.images import Picture
from mmtui.pipeline.vision.loading import load_encoder

TOKENS = 40
SIZES = [(97, 61), (61, 131), (200, 57)]


class Recorder:
    """A greedy sampler that remembers the logits."""

    def __init__(self) -> None:
        self.logits: list[np.ndarray] = []

    def __call__(self, logits: np.ndarray) -> np.ndarray:
        self.logits.append(logits[0].copy())
        return logits.argmax(-1)


def make_pictures() -> list[Picture]:
    """Return smooth pictures of odd sizes, on which each detail of resizing shows."""
    generator = np.random.default_rng(0)
    pictures = []
    for size in SIZES:
        coarse = Image.fromarray(generator.integers(0, 256, (9, 7, 3), dtype=np.uint8))
        image = coarse.resize(size, Image.Resampling.BICUBIC)
        pictures.append(Picture(hashlib.sha256(image.tobytes()).hexdigest(), image))
    return pictures


class Ours:
    """A checkpoint as mmtui opens it."""

    def __init__(self, folder: Path, precision: str = "fp32") -> None:
        self.found = checkpoint.find(str(folder)).with_precision(precision)
        spec, weights = self.found.spec, self.found.projector_weights
        self.engine: Any = load_engine(
            "torch", folder, part=spec.language.weights.part, precision=precision
        )
        language = self.engine.language
        self.encoder = load_encoder(
            spec.vision,
            fetch.fetch(weights),
            language.hidden_size,
            activation=spec.projector.activation,
            part=weights.part,
        )
        self.chat = ChatFormat(language.tokenizer, spec.language.prompt)

    def answer(self, turns: list[Turn]) -> tuple[list[int], np.ndarray]:
        """Return greedy tokens, and the logits of each."""
        prompt = self.chat.encode(turns)
        features = {
            part.sha256: self.encoder.encode(part).features
            for part in prompt
            if isinstance(part, Picture)
        }
        sequence = to_positions(prompt, self.found.spec.vision.patches)
        sampler = Recorder()
        stream = self.engine.stream(sequence, features, sampler)
        tokens = list(islice((token for token in stream if token is not None), TOKENS))
        return tokens, np.stack(sampler.logits)


def encode_with_processor(folder: Path, turns: list[Turn]) -> Any:
    """Return the inputs of transformers' model, by the processor and its chat template."""
    messages = [
        {
            "role": turn.role,
            "content": [
                {"type": "image", "image": part.image}
                if isinstance(part, Picture)
                else {"type": "text", "text": part}
                for part in turn.content
            ],
        }
        for turn in turns
    ]
    return AutoProcessor.from_pretrained(folder).apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )


def encode_with_text_template(folder: Path, turns: list[Turn]) -> Any:
    """Return the same for a CLIP tower and a template for text, as pages of models describe it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = LlavaProcessor(
        AutoImageProcessor.from_pretrained(folder),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    messages = [
        {
            "role": turn.role,
            "content": "\n".join(
                "<image>" if isinstance(part, Picture) else str(part) for part in turn.content
            ),
        }
        for turn in turns
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    images = [picture.image for picture in find_pictures(turns)]
    return processor(images=images, text=text, return_tensors="pt", add_special_tokens=False)


def answer_with_transformers(folder: Path, inputs: Any) -> tuple[list[int], np.ndarray]:
    """Return the greedy tokens of transformers alone, and the logits of each."""
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    inputs.pop("token_type_ids", None)
    output = model.generate(
        **inputs,
        do_sample=False,
        max_new_tokens=TOKENS,
        eos_token_id=None,
        output_logits=True,
        return_dict_in_generate=True,
    )
    tokens = output.sequences[0, inputs["input_ids"].shape[1] :].tolist()
    return tokens, torch.cat(output.logits).numpy()


def assert_equal(
    folder: Path,
    ours: Ours,
    turns: list[Turn],
    encode: Callable[[Path, list[Turn]], Any] = encode_with_processor,
) -> None:
    """Assert that mmtui and transformers compute the same logits and tokens."""
    tokens, logits = ours.answer(turns)
    expected_tokens, expected_logits = answer_with_transformers(folder, encode(folder, turns))
    assert len(expected_tokens) == TOKENS
    np.testing.assert_allclose(logits, expected_logits, atol=1e-4)
    assert tokens == expected_tokens
