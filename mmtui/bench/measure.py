"""Benchmarks of a model: time, speed, memory, and the fraction of the possible speed.

Decoding a token reads every weight once, so the bandwidth of the memory limits the speed.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from mmtui.errors import MmtuiError
from mmtui.machine import describe, get_cores
from mmtui.memory import measure_peak
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assets.spec import EngineChoice

if TYPE_CHECKING:
    from mmtui.pipeline.assets.checkpoint import Checkpoint
    from mmtui.pipeline.assistant import Assistant, Reply
    from mmtui.pipeline.prompt import Turn
    from mmtui.pipeline.vision.images import Picture

REPEATS = 3  # a figure is the median of this many runs
ANSWER_TOKENS = 48
LONG_TOKENS = 512  # of the prompt that prefill is measured with
SCANNED_BYTES = 1 << 30  # more than any processor's cache


@dataclass(frozen=True)
class BenchmarkResult:
    """The results of a benchmark. Times are in seconds.

    `first_token_cold_s` is the time to the first token of the first question after loading,
    `first_token_warm_s` of later questions, `first_token_second_turn_s` of a question after a long
    question and its answer. `image_s` is None for a model without vision. `limit_tokens_per_s` is
    `read_bytes_per_s` divided by `bytes_per_token`.
    """

    model: str
    engine: str
    weights: str
    load_s: float
    first_token_cold_s: float
    first_token_warm_s: float
    first_token_second_turn_s: float
    second_turn_cached_tokens: int
    prefill_tokens: int
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    image_s: float | None
    peak_bytes: int
    bytes_per_token: int
    read_bytes_per_s: float
    limit_tokens_per_s: float
    fraction_of_limit: float


def measure(
    checkpoint: "Checkpoint",
    engine: EngineChoice,
    picture: "Picture | None",
    report: Report,
) -> BenchmarkResult:
    """Load a model and measure it.

    Args:
        checkpoint: The model.
        engine: The engine to measure.
        picture: The picture to encode if the model has vision; a gradient by default.
        report: Called as the model is loaded and measured.
    """
    report("starting", 0, 0)
    start = time.perf_counter()
    from mmtui.pipeline.assistant import Assistant

    assistant = Assistant(checkpoint, report, engine, prompt_lookup=False)
    assistant.load(pictures=checkpoint.can_see)
    load_s = time.perf_counter() - start

    steps = iter(range(5 + 2 * REPEATS))

    def answered(turns: "Sequence[Turn]", limit: int = 2) -> "Reply":
        report("measuring", next(steps), 5 + 2 * REPEATS)
        return answer(assistant, turns, limit)

    cold = answered(_asked(0))
    warm = [answered(_asked(number + 1)) for number in range(REPEATS)]
    decoded = [answered(_asked(0), ANSWER_TOKENS) for _ in range(REPEATS)]
    text = _text(LONG_TOKENS * len(_QUESTION) // cold.prompt_tokens)
    long = answered([_turn("user", text)], ANSWER_TOKENS)
    talk = [_turn("user", text), _turn("assistant", long.text or "."), _turn("user", "And then?")]
    second = answered(talk)
    report("measuring", next(steps), 5 + 2 * REPEATS)
    image_s = _image_s(assistant, picture) if checkpoint.can_see else None
    peak_bytes = measure_peak()
    read = measure_memory_bandwidth(on_gpu=assistant.language.device_name == "cuda")
    report("measuring", 1, 1)
    decode = median(reply.decode_tokens_per_s or 0.0 for reply in decoded)
    limit = read / assistant.language.bytes_per_token
    return BenchmarkResult(
        model=checkpoint.spec.name,
        engine=assistant.engine,
        weights=assistant.language.weight_type,
        load_s=load_s,
        first_token_cold_s=cold.first_token_s or 0.0,
        first_token_warm_s=median(reply.first_token_s or 0.0 for reply in warm),
        first_token_second_turn_s=second.first_token_s or 0.0,
        second_turn_cached_tokens=second.cached_tokens,
        prefill_tokens=long.prompt_tokens - long.cached_tokens,
        prefill_tokens_per_s=(long.prompt_tokens - long.cached_tokens)
        / (long.first_token_s or 0.0),
        decode_tokens_per_s=decode,
        image_s=image_s,
        peak_bytes=peak_bytes,
        bytes_per_token=assistant.language.bytes_per_token,
        read_bytes_per_s=read,
        limit_tokens_per_s=limit,
        fraction_of_limit=decode / limit,
    )


def describe_machine() -> dict[str, str | int]:
    """Describe the machine, the software and the date of a benchmark."""
    return describe() | {"date": time.strftime("%Y-%m-%d")}


def measure_memory_bandwidth(*, on_gpu: bool = False) -> float:
    """Measure the memory bandwidth of all cores, or of the GPU, as the best of several runs."""
    scan = _gpu_scan() if on_gpu else _cpu_scan()
    return SCANNED_BYTES / min(took for took, _ in zip(scan, range(2 * REPEATS), strict=False))


def _cpu_scan() -> Iterator[float]:
    """Yield the seconds that reading SCANNED_BYTES takes."""
    import numpy as np

    threads = len(get_cores())
    parts = np.array_split(np.ones(SCANNED_BYTES // 8, np.uint64), threads)
    with ThreadPoolExecutor(threads) as pool:
        while True:
            start = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, parts))  # NumPy computes without the GIL
            yield time.perf_counter() - start


def _gpu_scan() -> Iterator[float]:
    import torch

    block = torch.ones(SCANNED_BYTES // 4, device="cuda")
    while True:
        torch.cuda.synchronize()
        start = time.perf_counter()
        block.sum().item()
        yield time.perf_counter() - start


def answer(assistant: "Assistant", turns: "Sequence[Turn]", limit: int) -> "Reply":
    """Answer a conversation with at most `limit` tokens.

    Raises:
        MmtuiError: The model gave no token.
    """
    from mmtui.pipeline.assistant import Reply

    for event in assistant.reply(turns, max_tokens=limit):
        if isinstance(event, Reply):
            if event.first_token_s is None:
                break
            return event
    raise MmtuiError("the model gave no token")


def _image_s(assistant: "Assistant", picture: "Picture | None") -> float:
    from mmtui.pipeline.vision.images import Picture

    if picture is None:
        from PIL import Image

        picture = Picture("", Image.linear_gradient("L").resize((1024, 768)).convert("RGB"))
    times = []
    for number in range(REPEATS + 1):
        copy = Picture(f"bench {number}", picture.image)  # not encoded yet
        start = time.perf_counter()
        assistant.encode_pictures([copy])
        times.append(time.perf_counter() - start)
    return median(times[1:])


_QUESTION = (
    "A traveller who came through the mountains in autumn told us that the lighthouse at the end"
    " of the bay had burnt all night, though nobody lives there any more. Question {number}:"
    " what may have happened? Tell it as a long story."
)


def _asked(number: int) -> "list[Turn]":
    """Return a question that starts with its number, so that the KV cache has no prefix of it."""
    return [_turn("user", f"{number}. {_QUESTION.format(number=number)}")]


def _text(characters: int) -> str:
    things = ("river", "harbour", "winter", "market", "garden", "window", "teacher", "engine")
    sentences = (
        f"On day {day} the {things[day % 8]} was {day * 7 % 31} steps from the"
        f" {things[day * 3 % 7]}, and nobody but the {things[day * 5 % 8]} knew why."
        for day in range(1, characters)
    )
    text = ""
    for sentence in sentences:
        if len(text) + len(sentence) > characters:
            break
        text += f"{sentence} "
    return text


def _turn(role: str, text: str) -> "Turn":
    from mmtui.pipeline.prompt import Turn

    return Turn(role, (text,))  # type: ignore[arg-type]
