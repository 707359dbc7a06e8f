"""A LLaVA checkpoint is trained further, exported again, and answers the same everywhere."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from llava_checkpoints import save_interleave, save_llava

from mmtui.pipeline.assets import checkpoint

TOKENS = 24
QUESTION = "What is in this picture?"
# Answers a question about a picture with transformers alone.
TRANSFORMERS = f"""
import json, sys
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration
folder, picture, question = sys.argv[1:]
processor = AutoProcessor.from_pretrained(folder)
model = LlavaForConditionalGeneration.from_pretrained(folder, dtype="auto").eval()
content = [
    {{"type": "image", "image": Image.open(picture).convert("RGB")}},
    {{"type": "text", "text": question}},
]
inputs = processor.apply_chat_template(
    [{{"role": "user", "content": content}}],
    add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
)
inputs.pop("token_type_ids", None)
output = model.generate(**inputs, do_sample=False, max_new_tokens={TOKENS})
tokens = output[0, inputs["input_ids"].shape[1]:]
assert not [name for name in sys.modules if name.partition(".")[0] in ("mmtui", "mmtrain")]
print(json.dumps([len(tokens), processor.decode(tokens, skip_special_tokens=True)]))
"""


def save_vicuna(folder: Path) -> None:
    """Save a checkpoint with the chat template of LLaVA 1.5."""
    save_llava(folder, "clip", "qwen2")


@pytest.mark.parametrize("save", [save_vicuna, save_interleave])
def test_a_llava_checkpoint_is_finetuned_and_exported(
    mmtrain, mmtui, session_cache, shapes_data, tmp_path, save
):
    save(tmp_path / "llava")
    run = mmtrain(
        "finetune", "--from", tmp_path / "llava", "--data", shapes_data / "llava_instruct.json",
        "--steps", 2, "--batch", 2, "--accumulation", 1, "--quantize", "none",
        "--precision", "fp32", "--rank", 4, "--val-limit", 2, "--out", tmp_path / "run",
        env=session_cache,
    )  # fmt: skip
    assert run.code == 0, run.err
    trained = checkpoint.read(tmp_path / "run")
    assert trained.can_see
    assert trained.projector is not None
    assert trained.spec.language.prompt.picture_token == "<image>"
    out = tmp_path / "out"
    exported = mmtrain("export", "hf", tmp_path / "run", out, "--dtype", "fp32", env=session_cache)
    assert exported.code == 0, exported.err
    picture = next(shapes_data.rglob("*.png"), None) or next(shapes_data.rglob("*.jpg"))
    count, text = answer_with_transformers(out, picture)
    asked = mmtui(
        "ask", "--model", out, "--image", picture, "--max-tokens", TOKENS, "--json", QUESTION,
        env=session_cache,
    )  # fmt: skip
    assert asked.code == 0, asked.err
    assert asked.json["answer"].strip() == text.strip() and count > 3
    assert abs(asked.json["usage"]["completion_tokens"] - count) <= 1  # with the end of the turn


def answer_with_transformers(folder: Path, picture: Path) -> tuple[int, str]:
    """Return the number of greedy tokens, and their text."""
    command = [sys.executable, "-P", "-c", TRANSFORMERS, folder, picture, QUESTION]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    count, text = json.loads(run.stdout)
    return count, text
