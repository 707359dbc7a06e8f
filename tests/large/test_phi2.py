"""Phi-2 at its full size, weights random, in the hub's layout: what it takes to load and stream.

Needs 6 GB of disk, 7 GB of memory and 3 minutes: `pytest -m large -s`.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import PhiConfig, PhiForCausalLM

pytestmark = pytest.mark.large
GIB = 2**30

STREAM = """
import json, re, sys, time
from pathlib import Path
from mmtui.pipeline import language
from mmtui.pipeline.engines.torch_engine import TorchEngine
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
began = time.perf_counter()
model = language.load(Path(sys.argv[1]), precision=sys.argv[2])
loaded = time.perf_counter()
stream = TorchEngine(model).stream(list(range(5, 69)), {}, Sampler(GREEDY))
next(stream)
first = time.perf_counter()
tokens = [next(stream) for _ in range(16)]
print(json.dumps({
    "load_s": loaded - began,
    "decode_tokens_per_s": 16 / (time.perf_counter() - first),
    # Not ru_maxrss: it begins with what the parent took before it became us.
    "peak": int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024,
    "tokens": tokens,
}))
"""


@pytest.fixture(scope="module")
def phi2(tmp_path_factory: pytest.TempPathFactory, tiny_phi: Path) -> Path:
    """Two shards of fp16, as microsoft/phi-2 has them."""
    folder = tmp_path_factory.mktemp("phi-2")
    if shutil.disk_usage(folder).free < 6e9:
        pytest.skip(f"needs 6 GB of disk at {folder}")
    config = PhiConfig(
        vocab_size=51200,
        hidden_size=2560,
        intermediate_size=10240,
        num_hidden_layers=32,
        num_attention_heads=32,
        partial_rotary_factor=0.4,
        hidden_act="gelu_new",
        eos_token_id=50256,
        dtype="float16",
    )
    config.save_pretrained(folder)
    for file in tiny_phi.glob("*token*"):
        shutil.copy(file, folder)
    with torch.device("meta"):
        shapes = {name: p.shape for name, p in PhiForCausalLM(config).named_parameters()}
    first = {
        name
        for name in shapes
        if not name.startswith(("model.layers.31", "model.final", "lm_head"))
    }
    where = {}
    for number, names in enumerate((first, shapes.keys() - first), 1):
        shard = f"model-{number:05}-of-00002.safetensors"
        tensors = {
            name: torch.empty(shapes[name], dtype=torch.float16).normal_(std=0.02) for name in names
        }
        save_file(tensors, folder / shard, metadata={"format": "pt"})
        where |= dict.fromkeys(names, shard)
    index = {"metadata": {}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(("precision", "limit"), [("bf16", 8 * GIB), ("nf4", 4 * GIB)])
def test_it_loads_and_streams_within_its_memory(phi2, precision, limit):
    run = subprocess.run(
        [sys.executable, "-c", STREAM, phi2, precision], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout.splitlines()[-1])
    print(
        f"\nphi2 {precision}: peak {told['peak'] / GIB:.2f} GiB, load {told['load_s']:.0f} s,"
        f" {told['decode_tokens_per_s']:.1f} tokens/s"
    )
    assert told["peak"] < limit
    assert len(told["tokens"]) == 16
