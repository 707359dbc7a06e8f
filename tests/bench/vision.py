"""Compare answers about pictures with llama.cpp's own path, that of `llama-mtmd-cli`.

    PYTHONPATH=tests python tests/bench/vision.py [--rounds N] [--model FILE --mmproj FILE]

Both sides get the same files, picture, prompt and llama.cpp, and as many threads as there are
cores: the number of ours, which otherwise follows the load of the machine, is fixed. By default a
model is generated: random weights with the shapes of SmolLM2-135M in Q8_0 and of SigLIP base in 16
bits. The sides take turns, each round with a new picture, and the best of all rounds counts,
because other load on the machine only makes a round slower; the median of the ratios of all rounds
is printed beside it. Prints one JSON document, and exits with 1 if a ratio is below its bar.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants
from gguf_models import CHATML, Tower, add_bpe, finish, write_mmproj
from mtmd_helper import MtmdHelper
from PIL import Image

from mmtui.bench.busy import FixedThreadCount
from mmtui.bench.measure import describe_machine
from mmtui.machine import count_cores
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assistant import Assistant, Reply
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.vision.images import Picture

TOKENS, CONTEXT = 48, 2048
QUESTION, SECOND = "What is in this picture? Answer in one sentence.", "What is in front of it?"
BARS = {"first token": 0.95, "decoding": 0.95, "second question": 10.0}
WIDTH, INNER, LAYERS, HEADS, KV_HEADS, VOCABULARY = 576, 1536, 30, 9, 3, 49152  # SmolLM2-135M
SIGLIP_BASE, SIDE = Tower(hidden=768, inner=3072, layers=12, heads=12, patch=16), 224

Weights = Iterator[tuple[str, tuple[int, ...]]]


def list_language_weights() -> Weights:
    yield from (("token_embd", (VOCABULARY, WIDTH)), ("output", (VOCABULARY, WIDTH)))
    small = WIDTH * KV_HEADS // HEADS
    for number in range(LAYERS):
        block = f"blk.{number}"
        yield from ((f"{block}.attn_q", (WIDTH, WIDTH)), (f"{block}.attn_output", (WIDTH, WIDTH)))
        yield from ((f"{block}.attn_k", (small, WIDTH)), (f"{block}.attn_v", (small, WIDTH)))
        yield from ((f"{block}.ffn_gate", (INNER, WIDTH)), (f"{block}.ffn_up", (INNER, WIDTH)))
        yield f"{block}.ffn_down", (WIDTH, INNER)


def write_language(path: Path) -> Path:
    """Write a Llama with random weights in Q8_0."""
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    add_bpe(writer, VOCABULARY)
    writer.add_chat_template(CHATML)
    draw = np.random.default_rng(0)
    kind = GGMLQuantizationType.Q8_0
    for name, shape in list_language_weights():
        weight = draw.standard_normal(shape, np.float32) / np.sqrt(shape[1])
        if name == "output":
            weight[VOCABULARY - 3 :] = 0  # special tokens, which would end an answer
        writer.add_tensor(f"{name}.weight", quants.quantize(weight, kind), raw_dtype=kind)
    for number in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{number}.{name}.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    finish(writer)
    return path


def render(language: LlamaLanguage) -> str:
    """Return the prompt of the first question, with mtmd's marker for the picture."""
    text: str = language.tokenizer.apply_chat_template(
        [{"role": "user", "content": f"<__media__>\n{QUESTION}"}],
        chat_template=language.tokenizer.chat_template,
        tokenize=False,
        add_generation_prompt=True,
    )
    return text.removeprefix("<s>")


def draw_picture(seed: int) -> Picture:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return Picture(f"{seed}", Image.fromarray(pixels).resize((640, 480)))


def ask(assistant: Assistant, turns: list[Turn]) -> Reply:
    reply = list(assistant.reply(turns, max_tokens=TOKENS))[-1]
    assert isinstance(reply, Reply)
    return reply


def measure_ours(assistant: Assistant, picture: Picture) -> dict[str, float]:
    """Return the seconds to the first tokens of two questions, and for each further token."""
    first = ask(assistant, [Turn("user", (picture, QUESTION))])
    # Without the first answer: random weights answer with letters that are read as other tokens
    # than those that were generated, so it would be computed again, which is rare otherwise.
    second = ask(assistant, [Turn("user", (picture, SECOND))])
    assert first.first_token_s and first.decode_tokens_per_s and second.first_token_s
    return {
        "first token": first.first_token_s,
        "decoding": 1 / first.decode_tokens_per_s,
        "second question": second.first_token_s,
    }


def measure_theirs(helper: MtmdHelper, text: str, picture: Picture) -> dict[str, float]:
    """Return the same, where a second question reads everything again."""
    start = time.perf_counter()
    token = helper.read(text, [picture])
    first = time.perf_counter()
    for _ in range(TOKENS - 1):
        token = helper.decode(token)
    decoding = (time.perf_counter() - first) / (TOKENS - 1)
    return {"first token": first - start, "decoding": decoding, "second question": first - start}


def compare(model: Path, mmproj: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Return the best seconds of both sides, and how many times as fast ours is."""
    # Prompt lookup is off because what it saves depends on the answer.
    assistant = Assistant(checkpoint.find(f"{model} --mmproj {mmproj}"), prompt_lookup=False)
    assistant.load(pictures=True)
    # The baseline has a fixed number, so ours must not follow the load of the machine.
    assistant._engine.threads = FixedThreadCount(count_cores())
    language = assistant.language
    assert isinstance(language, LlamaLanguage)
    helper, text = MtmdHelper(language, mmproj, CONTEXT, count_cores()), render(language)
    sides: dict[str, list[dict[str, float]]] = {"ours": [], "llama.cpp": []}
    for number in range(rounds + 1):  # the first one warms up
        ours = measure_ours(assistant, draw_picture(number))
        theirs = measure_theirs(helper, text, draw_picture(number))
        if number:
            sides["ours"].append(ours)
            sides["llama.cpp"].append(theirs)
    found: dict[str, dict[str, float]] = {}
    for name in BARS:
        best = {side: min(figures[name] for figures in found) for side, found in sides.items()}
        pairs = zip(sides["ours"], sides["llama.cpp"], strict=True)
        middle = median(theirs[name] / ours[name] for ours, theirs in pairs)
        found[name] = best | {"ratio": best["llama.cpp"] / best["ours"], "median ratio": middle}
    return found


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--model", type=Path)
    options.add_argument("--mmproj", type=Path)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = arguments.model or write_language(folder / "model.gguf")
        mmproj = arguments.mmproj or write_mmproj(
            folder / "mmproj.gguf", WIDTH, side=SIDE, tower=SIGLIP_BASE, dtype=np.float16
        )
        seconds = compare(model, mmproj, arguments.rounds)
    found: dict[str, Any] = {"machine": describe_machine(), "seconds": seconds, "bars": BARS}
    print(json.dumps(found, indent=2))
    if missed := [name for name, bar in BARS.items() if seconds[name]["ratio"] < bar]:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
