"""Tokens per second of several requests that llama.cpp answers together, in all.

`python tests/bench/parallel.py [MODEL] [TOKENS]` prints them for 1, 2, 4 and 8 requests at a time,
and their ratio to one after the other. The defaults are smol and 64 tokens. Rounds alternate, and
the fastest of each counts. Beside the rate by the clock, that by processor time is printed: with
OMP_NUM_THREADS=1, other programs hardly change it.
"""

import sys
import time

from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines.sampling import Sampling
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.reply import Reply

REQUESTS, ROUNDS = 8, 3
WIDTHS = (1, 2, 4, 8)


def measure(assistant: Assistant, tokens: int, seed: int) -> tuple[float, float]:
    """Answer all requests, as many at a time as the assistant can.

    Returns:
        Tokens per second, and per second of processor time.
    """
    turns = [
        [Turn("user", (f"Write story {seed + number}, a long one, about a lighthouse.",))]
        for number in range(REQUESTS)
    ]
    waiting = [
        assistant.reply_in_steps(each, Sampling(0.7, seed=seed), tokens, lambda: False, None)
        for each in turns
    ]
    running, count = [], 0
    start, start_cpu = time.perf_counter(), time.process_time()
    while waiting or running:
        while waiting and len(running) < assistant.parallel:
            running.append(waiting.pop())
        for reply in list(running):
            while (event := next(reply)) is not None:
                if isinstance(event, Reply):
                    count += event.completion_tokens
                    running.remove(reply)
                    break
        assistant.compute()
    return count / (time.perf_counter() - start), count / (time.process_time() - start_cpu)


def main(model: str, tokens: int) -> None:
    found = checkpoint.find(model)
    assistants = {width: Assistant(found, engine="llamacpp", parallel=width) for width in WIDTHS}
    rates: dict[int, list[tuple[float, float]]] = {width: [] for width in WIDTHS}
    for number in range(ROUNDS + 1):
        for width, assistant in assistants.items():
            rate = measure(assistant, tokens, seed=number * REQUESTS)
            if number:  # the first round loads the model
                rates[width].append(rate)
    best = {width: [max(kind) for kind in zip(*rates[width], strict=True)] for width in WIDTHS}
    for width, (rate, cpu_rate) in best.items():
        ratio, cpu_ratio = rate / best[1][0], cpu_rate / best[1][1]
        print(
            f"{width} at a time: {rate:.1f} tokens/s ({ratio:.2f}),"
            f" {cpu_rate:.1f} tokens/s of processor time ({cpu_ratio:.2f})"
        )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "smol", int((sys.argv[2:] or ["64"])[0]))
