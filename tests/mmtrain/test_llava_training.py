"""A LLaVA checkpoint is trained further, and exported again."""

from pathlib import Path

import pytest
from llava_checkpoints import save_interleave, save_llava
from transformers import LlavaForConditionalGeneration

from mmtui.pipeline.assets import checkpoint


def save_vicuna(folder: Path) -> None:
    """Save a checkpoint with the chat template of LLaVA 1.5."""
    save_llava(folder, "clip", "qwen2")


@pytest.mark.parametrize("save", [save_vicuna, save_interleave])
def test_a_llava_checkpoint_is_finetuned_and_exported(
    mmtrain, session_cache, shapes_data, tmp_path, save
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
    exported = mmtrain("export", "hf", tmp_path / "run", tmp_path / "out", env=session_cache)
    assert exported.code == 0, exported.err
    LlavaForConditionalGeneration.from_pretrained(tmp_path / "out")
