"""A trial run of llama.cpp in a separate process, because it can crash.

Some builds crash at the first decode in kernels for some processors, such as those with AMX. These
kernels need weights that are repacked into extra buffers when a model is loaded. Without extra
buffers, other kernels are used.

The trial decodes a small generated model that has matrices of every quantization type, because
llama.cpp chooses kernels by type. The user's model has only two or three of these types, and can
be gigabytes large.
"""

import hashlib
import json
import platform
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast, get_args

from platformdirs import user_state_path

from mmtui import machine
from mmtui.errors import InputError, MissingError
from mmtui.files import replacing
from mmtui.pipeline.engines.llama_library import (
    XLLAMACPP_VERSIONS,
    LlamaLibrary,
    Package,
    find_files,
    find_packages,
    load_library,
)

Outcome = Literal["works", "works without extra buffers", "crashes", "can't be loaded"]
TIMEOUT_S = 30  # a trial takes less than a second unless it hangs
MAX_OUTCOMES = 8  # stored outcomes, for several environments and processors
TYPES = (
    "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL",
    "IQ4_XS",
)  # fmt: skip
WIDTH, INNER, VOCABULARY = 256, 512, 512  # multiples of all block and tile sizes
PROMPT_TOKENS, NEW_TOKENS = 64, 3
_NOT_LOADED = 3  # exit code of a trial: the package can't be loaded


def choose_library() -> tuple[LlamaLibrary, Outcome]:
    """Load the llama.cpp that works best on this machine.

    Raises:
        MissingError: No package with llama.cpp is installed, or none works.
    """
    chosen = choose_package()
    if chosen is None:
        raise MissingError(
            "the engine llamacpp crashes on this machine",
            "pass --engine torch",
        )
    package, outcome = chosen
    return load_library(package), outcome


def choose_package() -> tuple[Package, Outcome] | None:
    """Return the installed package whose llama.cpp works best, and the outcome of its trial.

    A package whose trial was interrupted is assumed to work.

    Returns:
        None if every package crashes or can't be loaded, and at least one crashes. If none can be
        loaded, one of them is returned: the error is raised when it is loaded.

    Raises:
        MissingError: No package with llama.cpp is installed.
    """
    packages = find_packages()
    if not packages:
        raise MissingError(
            "the engine llamacpp is not installed",
            f"pip install xllamacpp=={max(XLLAMACPP_VERSIONS)}",
        )
    outcomes: list[tuple[Outcome, Package]] = []
    for package in packages:
        outcome = find_outcome(package) or "works"
        if outcome == "works":
            return package, outcome
        outcomes.append((outcome, package))
    outcome, package = min(outcomes, key=lambda pair: get_args(Outcome).index(pair[0]))
    return None if outcome == "crashes" else (package, outcome)


def find_outcome(package: Package) -> Outcome | None:
    """Return the outcome of the trial, which is run once for each build and processor.

    Returns:
        None if the trial was interrupted.
    """
    key = _compute_key(package)
    outcomes = _read_outcomes()
    if key not in outcomes:
        outcome = _run_trial(package)
        if outcome is None:
            return None
        outcomes[key] = outcome
        _write_outcomes(dict(list(outcomes.items())[-MAX_OUTCOMES:]))
    return outcomes[key]


def get_path() -> Path:
    """Return the file with the outcomes. If it is deleted, the trials are repeated."""
    return user_state_path("mmtui") / "llamacpp.json"


def _compute_key(package: Package) -> str:
    """Hash what the outcome depends on: the build of llama.cpp and the processor's features."""
    files = find_files(package)
    stats = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    version = machine.get_version(package)
    facts = (package, version, stats, platform.machine(), machine.get_processor_flags())
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _read_outcomes() -> dict[str, Outcome]:
    try:
        outcomes = json.loads(get_path().read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(outcomes, dict):
        return {}
    return {key: outcome for key, outcome in outcomes.items() if outcome in get_args(Outcome)}


def _write_outcomes(outcomes: dict[str, Outcome]) -> None:
    with suppress(OSError, InputError):  # without the file, the trial is repeated each time
        get_path().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(get_path()) as temporary:
            temporary.write_text(json.dumps(outcomes, indent=2))


def _run_trial(package: Package) -> Outcome | None:
    """Decode with extra buffers, then without; return None if a trial was interrupted."""
    trials: dict[str, Outcome] = {"extra": "works", "none": "works without extra buffers"}
    for buffers, outcome in trials.items():
        command = [sys.executable, "-P", "-m", "mmtui.pipeline.engines.probe", package, buffers]
        try:
            # In a separate session: Ctrl-C reaches only this process, which then ends the trial.
            trial = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=TIMEOUT_S,
                start_new_session=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            continue
        if trial.returncode == 0:
            return outcome
        if trial.returncode == _NOT_LOADED:
            return "can't be loaded"
        if trial.returncode in {-9, -15}:  # SIGKILL and SIGTERM
            return None
    return "crashes"


def main() -> None:
    """Run the trial in this process, which exits with 0 or crashes.

    The arguments of the process are the package, and "extra" or "none" for its extra buffers.
    """
    if hasattr(signal, "alarm"):
        signal.alarm(TIMEOUT_S)  # in case the parent process is killed before it ends the trial
    from mmtui.pipeline.engines import llama_language
    from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine
    from mmtui.pipeline.engines.sampling import GREEDY, Sampler

    package, buffers = sys.argv[1:]
    try:
        library = load_library(cast(Package, package))
    except MissingError:
        sys.exit(_NOT_LOADED)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.gguf"
        _make_model(file)
        try:
            handle = llama_language.open_model(library, file, extra_buffers=buffers == "extra")
        except InputError:  # llama.cpp refuses the model without a crash
            return
        no_tokenizer: Any = None
        stop_ids: frozenset[int] = frozenset()
        files = (file,)
        model = llama_language.LlamaLanguage(library, handle, no_tokenizer, "auto", stop_ids, files)
        engine = LlamaEngine(model)
        tokens = engine.stream(range(PROMPT_TOKENS), {}, Sampler(GREEDY))
        list(islice(tokens, NEW_TOKENS))


def _make_model(file: Path) -> None:
    """Write a Llama with a layer of each type. All weights are zero: zero bytes in every type."""
    import numpy as np
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter

    writer = GGUFWriter(file, "llama")
    writer.add_context_length(2 * PROMPT_TOKENS)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(len(TYPES))
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // 4)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("none")

    def add(name: str, rows: int, columns: int, kind: str) -> None:
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
        data = np.zeros((rows, columns // block * size), np.uint8)
        writer.add_tensor(name, data, raw_dtype=GGMLQuantizationType[kind])

    add("token_embd.weight", VOCABULARY, WIDTH, "Q8_0")
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for number, kind in enumerate(TYPES):
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{number}.{name}.weight", np.ones(WIDTH, np.float32))
        for name, rows, columns in (
            ("attn_q", WIDTH, WIDTH),
            ("attn_k", WIDTH // 2, WIDTH),
            ("attn_v", WIDTH // 2, WIDTH),
            ("attn_output", WIDTH, WIDTH),
            ("ffn_gate", INNER, WIDTH),
            ("ffn_up", INNER, WIDTH),
            ("ffn_down", WIDTH, INNER),
        ):
            add(f"blk.{number}.{name}.weight", rows, columns, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
