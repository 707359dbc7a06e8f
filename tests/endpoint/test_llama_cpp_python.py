"""The client against the server of llama-cpp-python, with a model and an mmproj of mmtrain."""

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from siglip_run import write_run

from mmtrain.export.gguf import export_gguf
from mmtui.pipeline.engines import probe

PARTS = (
    "llama_cpp",
    "fastapi",
    "pydantic_settings",
    "sse_starlette",
    "starlette_context",
    "uvicorn",
)
MISSING = [part for part in PARTS if find_spec(part) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING), reason=f"llama-cpp-python[server] is not installed: {', '.join(MISSING)}"
)


@pytest.fixture(scope="module")
def url(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve an exported model, and return the address of the server."""
    if (outcome := probe.find_outcome("llama-cpp-python")) != "works":
        pytest.skip(f"llama-cpp-python on this processor: {outcome or 'no outcome'}")
    folder = tmp_path_factory.mktemp("served")
    write_run(tiny_llama, folder)
    files = export_gguf(str(folder / "run"), folder / "out", "f16") / "language"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "llama_cpp.server", "--model", files / "model.gguf",
            "--clip_model_path", files / "mmproj.gguf", "--chat_format", "llava-1-5",
            "--model_alias", "exported", "--host", "127.0.0.1", "--port", "0",
            "--n_ctx", "1024", "--n_threads", "1",
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        errors="replace",
    )  # fmt: skip
    log = []
    try:
        assert process.stderr
        for line in process.stderr:
            log.append(line)
            if found := re.search(r"http://127\.0\.0\.1:[1-9]\d*", line):
                yield found[0]
                return
        raise AssertionError("".join(log))
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Two different pictures."""
    files = []
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        files.append(tmp_path / f"{seed}.png")
        Image.fromarray(pixels).resize((90, 70)).save(files[-1])
    return files


def test_it_lists_its_model(mmtui, url):
    [model] = mmtui("models", "--endpoint", url, "--json").json
    assert model["name"] == "exported"


def test_it_gets_pictures_and_streams_a_reply(mmtui, url, pictures):
    def ask(*options: object) -> str:
        run = mmtui("ask", "--endpoint", url, "--json", "--max-tokens", 8, *options, "What is it?")
        assert run.code == 0, run.err
        assert run.json["stop_reason"] in ("length", "stop")
        return run.json["answer"]

    one, other = pictures
    first = ask("--image", one)
    assert first == ask("--image", one)
    assert len({first, ask("--image", other), ask("--image", one, "--image", other)}) > 1


def test_a_chat_with_a_picture_goes_on(mmtui, url, pictures, tmp_path):
    (tmp_path / "mmtui").mkdir()
    (tmp_path / "mmtui" / "config.toml").write_text("max_tokens = 6\n")
    home = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    lines = f"/image {pictures[0]}\nWhat is it?\nAnd now?\n"
    run = mmtui("--plain", "--endpoint", url, stdin=lines.encode(), env=home)
    assert run.code == 0 and "error" not in run.err, run.err
    assert len(run.out.splitlines()) == 2
