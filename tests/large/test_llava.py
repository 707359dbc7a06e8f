"""A LLaVA of Phi-2's shape with CLIP ViT-L/14, weights random: what memory it takes to load.

Needs 7 GB of disk, 9 GB of memory and some minutes: `pytest -m large -s tests/large/test_llava.py`.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from llava_checkpoints import save_llava
from safetensors.numpy import save_file
from transformers import AutoConfig, CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration

from mmtui.bench.random_weights import LANGUAGE_CONFIGS, RandomWeights

pytestmark = pytest.mark.large
GIB = 2**30
SHARD = 500_000_000  # bytes

ANSWER = """
import hashlib, json, sys
from itertools import islice
from PIL import Image
from mmtui.memory import measure_peak
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.vision.images import Picture
assistant = Assistant(checkpoint.find(sys.argv[1]).with_precision(sys.argv[2]), engine="torch")
picture = Picture("a" * 64, Image.new("RGB", (336, 336), "red"))
turns = [Turn("user", (picture, "What is it?"))]
features = {k: v.features for k, v in assistant.encode_pictures([picture]).items()}
stream = assistant._engine.stream(assistant._to_positions(turns), features, Sampler(GREEDY))
tokens = list(islice((token for token in stream if token is not None), 4))
print(json.dumps({"peak": measure_peak(), "tokens": tokens}))
"""


def pack(shapes: dict[str, torch.Size]) -> Iterator[list[str]]:
    """Distribute tensors to shards."""
    names: list[str] = []
    size = 0
    for name, shape in shapes.items():
        if names and size + 2 * shape.numel() > SHARD:
            yield names
            names, size = [], 0
        names.append(name)
        size += 2 * shape.numel()
    yield names


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the checkpoint in fp16, shard by shard."""
    folder = tmp_path_factory.mktemp("llava-phi-2")
    if shutil.disk_usage(folder).free < 7e9:
        pytest.skip(f"needs 7 GB of disk at {folder}")
    save_llava(folder, "clip", "phi", side=336)  # for its tokenizer and processor
    (folder / "model.safetensors").unlink()
    vision = CLIPVisionConfig(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16,
        image_size=336, patch_size=14,
    )  # fmt: skip
    token = json.loads((folder / "config.json").read_text())["image_token_index"]
    text = AutoConfig.for_model(**LANGUAGE_CONFIGS["phi2"])
    config = LlavaConfig(vision, text, image_token_index=token, dtype="float16")
    config.save_pretrained(folder)
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(config)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    weights, files = RandomWeights(), {}
    for number, names in enumerate(pack(shapes)):
        file = f"model-{number:05}.safetensors"
        tensors = {name: weights.draw(name, tuple(shapes[name])) for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        files |= dict.fromkeys(names, file)
    index = {"metadata": {}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("precision", ["bf16", "nf4"])
def test_loading_holds_one_copy(llava: Path, precision: str) -> None:
    stored = sum(file.stat().st_size for file in llava.glob("*.safetensors"))
    run = subprocess.run(
        [sys.executable, "-c", ANSWER, llava, precision],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout.splitlines()[-1])
    peak = report["peak"] / GIB
    print(f"\nLLaVA of Phi-2 {precision}: {stored / GIB:.2f} GiB stored, peak {peak:.2f} GiB")
    assert len(report["tokens"]) == 4
    # Beside the weights there are the libraries, a KV cache, and one tensor as it is stored.
    # In 4 bits, the embeddings, the output layer and the tower keep 16.
    kept = stored if precision == "bf16" else 0.45 * stored
    assert report["peak"] < kept + 2 * GIB
