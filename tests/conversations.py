"""What the tests of both engines decode: conversations, with features of chance."""

import torch
from PIL import Image

from mmtui.pipeline.engines.llamacpp_engine import LlamaModel
from mmtui.pipeline.engines.torch_language import LanguageModel
from mmtui.pipeline.prompt import ChatFormat, Turn
from mmtui.pipeline.sequence import Position, positions
from mmtui.pipeline.vision.images import Picture

PATCHES, NEW = 5, 12


def prompts(model: LanguageModel | LlamaModel, pictures: int) -> list[list[Position]]:
    """20 conversations of different lengths with so many pictures, in several turns."""
    chat = ChatFormat(model.tokenizer)
    made = []
    for n in range(20):
        seen = [Picture(f"{n}-{i}", Image.new("RGB", (1, 1))) for i in range(pictures)]
        turns = [
            Turn("user", (*seen[:1], "What is this? " * (n % 4 + 1))),
            Turn("assistant", (f"Number {n}.",)),
            Turn("user", (f"And {n * 7}", *seen[1:], "?")),
        ]
        made.append(positions(chat.encode(turns), PATCHES))
    return made


def features_of(sequences: list[list[Position]], hidden: int) -> dict[str, torch.Tensor]:
    names = sorted({p[0] for s in sequences for p in s if not isinstance(p, int)})
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(PATCHES, hidden, generator=generator) * 0.2 for name in names}
