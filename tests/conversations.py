"""Conversations with random image features, for the parity tests of the engines."""

import numpy as np
import torch
from PIL import Image

from mmtui.pipeline.engines.engine import Language
from mmtui.pipeline.prompt import ChatFormat, Turn
from mmtui.pipeline.sequence import Position, to_positions
from mmtui.pipeline.vision.images import Picture

PATCHES, NEW = 5, 12


def encode_conversations(model: Language, pictures: int) -> list[list[Position]]:
    """Return the positions of 20 conversations of different lengths, with pictures in two turns."""
    chat = ChatFormat(model.tokenizer)
    sequences = []
    for n in range(20):
        images = [Picture(f"{n}-{i}", Image.new("RGB", (1, 1))) for i in range(pictures)]
        turns = [
            Turn("user", (*images[:1], "What is this? " * (n % 4 + 1))),
            Turn("assistant", (f"Number {n}.",)),
            Turn("user", (f"And {n * 7}", *images[1:], "?")),
        ]
        sequences.append(to_positions(chat.encode(turns), PATCHES))
    return sequences


def random_features(sequences: list[list[Position]], hidden: int) -> dict[str, np.ndarray]:
    """Return random features of shape (PATCHES, hidden) for each picture in the sequences."""
    names = sorted({p[0] for s in sequences for p in s if not isinstance(p, int)})
    generator = torch.Generator().manual_seed(0)
    return {
        name: (torch.randn(PATCHES, hidden, generator=generator) * 0.2).numpy() for name in names
    }


def to_tensors(features: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """Return the features as the tensors of the batched functions."""
    return {name: torch.from_numpy(array) for name, array in features.items()}
