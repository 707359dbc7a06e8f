"""`mmtrain export between` interpolates a model and the run that started from it."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.engines import torch_language


def write_model(
    place: Path, like: Path, projector: float, adapter: dict | None = None, config: str = "{}"
) -> Path:
    """Write a checkpoint whose projector has one value."""
    folder = None
    if adapter is not None:
        folder = place.with_name(f"{place.name}-adapter")
        folder.mkdir()
        (folder / "adapter_config.json").write_text(config)
        save_file(adapter, folder / "adapter_model.safetensors")
    weights = {"weight": torch.full((4, 4), projector)}
    checkpoint.write(place, checkpoint.read(like).spec, weights, folder)
    return place


def test_the_weights_of_both_models_are_interpolated(mmtrain, tiny_model, tmp_path):
    one, other = (
        write_model(tmp_path / name, tiny_model, size, {"a": torch.full((2, 2), size)})
        for name, size in {"one": 1.0, "other": 3.0}.items()
    )
    out = tmp_path / "out"
    assert mmtrain("export", "between", one, other, out, "--share", 0.25).code == 0
    written = checkpoint.read(out)
    for file in (written.projector, written.adapter / "adapter_model.safetensors"):
        assert all((tensor == 1.5).all() for tensor in load_file(file).values())
    run = mmtrain("export", "between", one, tiny_model, tmp_path / "x")
    assert run.code == 4 and "different models" in run.err


@pytest.fixture
def lora(tiny_llama: Path, tmp_path: Path) -> Path:
    """Save a LoRA adapter of the tiny Llama whose weight changes are not zero."""
    torch.manual_seed(0)
    config = LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules="all-linear")
    model = get_peft_model(torch_language.load(tiny_llama, precision="fp32").model, config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight)
    model.save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


@pytest.mark.parametrize("adapted", ["base", "trained"])
def test_a_model_without_an_adapter_counts_as_one_with_a_zero_adapter(
    adapted, lora, mmtrain, tiny_model, tiny_llama, tmp_path
):
    tensors = load_file(lora / "adapter_model.safetensors")
    config = (lora / "adapter_config.json").read_text()
    base, trained = (
        write_model(tmp_path / name, tiny_model, size, tensors if name == adapted else None, config)
        for name, size in {"base": 1.0, "trained": 3.0}.items()
    )
    out = tmp_path / "out"
    run = mmtrain("export", "between", base, trained, out, "--share", 0.25)
    assert run.code == 0, run.err

    share = 0.75 if adapted == "base" else 0.25
    plain, full, part = (
        torch_language.load(tiny_llama, precision="fp32", adapter=adapter).model.state_dict()
        for adapter in (None, lora, checkpoint.read(out).adapter)
    )
    changed = {name for name in plain if not torch.equal(plain[name], full[name])}
    assert len(changed) > 10
    for name, weight in plain.items():
        expected = torch.lerp(weight, full[name], share)
        # The adapter is stored in bf16.
        assert torch.allclose(part[name], expected, rtol=0, atol=0.02 * full[name].abs().max())


def test_an_adapter_that_can_not_be_scaled_is_refused(mmtrain, tiny_model, tmp_path):
    base = write_model(tmp_path / "base", tiny_model, 1.0)
    odd = write_model(tmp_path / "odd", tiny_model, 3.0, {"a": torch.ones(2, 2)})
    run = mmtrain("export", "between", base, odd, tmp_path / "out")
    assert run.code == 4 and run.out == ""
    assert "is no plain LoRA, and the other model has no adapter\nhint: " in run.err
    assert not (tmp_path / "out" / "spec.json").exists()
