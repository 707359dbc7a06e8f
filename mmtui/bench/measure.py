"""Benchmarks of a model: loading, time to first token, prefill, decoding and memory.

Decoding a token reads every weight once, so the memory bandwidth limits the speed of decoding.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING

from mmtui.errors import MmtuiError
from mmtui.machine import describe, get_cores
from mmtui.memory import measure_peak
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assets.spec import EngineChoice

if TYPE_CHECKING:
    from mmtui.pipeline.assets.checkpoint import Checkpoint
    from mmtui.pipeline.assistant import Assistant
    from mmtui.pipeline.prompt import Turn
    from mmtui.pipeline.reply import Reply
    from mmtui.pipeline.vision.images import Picture

REPEATS = 3  # each result is the median of this many runs
ANSWER_TOKENS = 48
LONG_PROMPT_TOKENS = 512  # length of the prompt to measure prefill with
SCANNED_BYTES = 1 << 30  # more than the cache of any processor


@dataclass(frozen=True)
class BenchmarkResult:
    """The results of a benchmark. Times are in seconds.

    Attributes:
        model: Name of the model.
        engine: The engine that was measured.
        weights: Number format of the weights.
        load_s: Time to load the model.
        first_token_cold_s: Time to first token of the first question after loading.
        first_token_warm_s: Time to first token of later questions.
        first_token_second_turn_s: Time to first token of a question that follows a long question
            and its answer.
        second_turn_cached_tokens: Tokens of this conversation that were in the KV cache.
        prefill_tokens: Length of the prompt that prefill was measured with.
        prefill_tokens_per_s: Speed of prefill.
        decode_tokens_per_s: Speed of decoding.
        image_s: Time to encode a picture; None for a model without vision.
        peak_bytes: Peak memory of the process, or of the GPU.
        bytes_per_token: Bytes of weights that are read to decode a token.
        read_bytes_per_s: Memory bandwidth.
        limit_tokens_per_s: Upper limit of the speed of decoding: `read_bytes_per_s` divided by
            `bytes_per_token`.
        fraction_of_limit: `decode_tokens_per_s` divided by `limit_tokens_per_s`.
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
    """Load a model and measure its speed and memory.

    Args:
        checkpoint: The model.
        engine: The engine to measure.
        picture: The picture to encode if the model has vision; None encodes a gradient.
        report: Receives the progress.

    Raises:
        MmtuiError: The model ends an answer without a token.
    """
    report("starting", 0, 0)
    start = time.perf_counter()
    from mmtui.pipeline.assistant import Assistant

    assistant = Assistant(checkpoint, report, engine, prompt_lookup=False)
    assistant.load(pictures=checkpoint.can_see)
    load_s = time.perf_counter() - start

    steps = iter(range(5 + 2 * REPEATS))

    def answer(turns: "Sequence[Turn]", max_tokens: int = 2) -> "Reply":
        report("measuring", next(steps), 5 + 2 * REPEATS)
        return generate_answer(assistant, turns, max_tokens)

    cold = answer(_make_question(0))
    warm = [answer(_make_question(number + 1)) for number in range(REPEATS)]
    decoded = [answer(_make_question(0), ANSWER_TOKENS) for _ in range(REPEATS)]
    text = _make_text(LONG_PROMPT_TOKENS * len(_QUESTION) // cold.prompt_tokens)
    long = answer([_make_turn("user", text)], ANSWER_TOKENS)
    conversation = [
        _make_turn("user", text),
        _make_turn("assistant", long.text or "."),
        _make_turn("user", "And then?"),
    ]
    second = answer(conversation)
    report("measuring", next(steps), 5 + 2 * REPEATS)
    image_s = _measure_encoding(assistant, picture) if checkpoint.can_see else None
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
    """Describe the machine, the installed versions and the date of a benchmark."""
    return describe() | {"date": time.strftime("%Y-%m-%d")}


def measure_memory_bandwidth(*, on_gpu: bool = False) -> float:
    """Measure the memory bandwidth in bytes per second, the best of several runs.

    Args:
        on_gpu: Measure the memory of the GPU instead of that of all cores.
    """
    scans = _scan_gpu_memory() if on_gpu else _scan_memory()
    return SCANNED_BYTES / min(islice(scans, 2 * REPEATS))


def _scan_memory() -> Iterator[float]:
    """Yield the seconds that reading SCANNED_BYTES with all cores takes, without end."""
    import numpy as np

    threads = len(get_cores())
    parts = np.array_split(np.ones(SCANNED_BYTES // 8, np.uint64), threads)
    with ThreadPoolExecutor(threads) as pool:
        while True:
            start = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, parts))  # NumPy releases the GIL
            yield time.perf_counter() - start


def _scan_gpu_memory() -> Iterator[float]:
    """Yield the seconds that reading SCANNED_BYTES of the GPU takes, without end."""
    import torch

    block = torch.ones(SCANNED_BYTES // 4, device="cuda")
    while True:
        torch.cuda.synchronize()
        start = time.perf_counter()
        block.sum().item()
        yield time.perf_counter() - start


def generate_answer(assistant: "Assistant", turns: "Sequence[Turn]", max_tokens: int) -> "Reply":
    """Generate an answer and return its statistics.

    Raises:
        MmtuiError: The model ends the answer without a token.
    """
    from mmtui.pipeline.reply import Reply

    for event in assistant.reply(turns, max_tokens=max_tokens):
        if isinstance(event, Reply):
            if event.first_token_s is None:
                break
            return event
    raise MmtuiError("the model generated no token")


def _measure_encoding(assistant: "Assistant", picture: "Picture | None") -> float:
    """Return the median of the seconds that encoding a picture takes, after a warmup."""
    from mmtui.pipeline.vision.images import Picture

    if picture is None:
        from PIL import Image

        picture = Picture("", Image.linear_gradient("L").resize((1024, 768)).convert("RGB"))
    times = []
    for number in range(REPEATS + 1):
        copy = Picture(f"bench {number}", picture.image)  # a new name, so that it is encoded again
        start = time.perf_counter()
        assistant.encode_pictures([copy])
        times.append(time.perf_counter() - start)
    return median(times[1:])


_QUESTION = (
    "A traveller who came through the mountains in autumn told us that the lighthouse at the end"
    " of the bay had burnt all night, though nobody lives there any more. Question {number}:"
    " what may have happened? Tell it as a long story."
)


def _make_question(number: int) -> "list[Turn]":
    """Return a question that shares no prefix with other questions in the KV cache."""
    return [_make_turn("user", f"{number}. {_QUESTION.format(number=number)}")]


def _make_text(characters: int) -> str:
    """Return sentences that do not repeat, with at most this number of characters."""
    nouns = ("river", "harbour", "winter", "market", "garden", "window", "teacher", "engine")
    sentences = (
        f"On day {day} the {nouns[day % 8]} was {day * 7 % 31} steps from the"
        f" {nouns[day * 3 % 7]}, and nobody but the {nouns[day * 5 % 8]} knew why."
        for day in range(1, characters)
    )
    text = ""
    for sentence in sentences:
        if len(text) + len(sentence) > characters:
            break
        text += f"{sentence} "
    return text


def _make_turn(role: str, text: str) -> "Turn":
    from mmtui.pipeline.prompt import Turn

    return Turn(role, (text,))  # type: ignore[arg-type]
