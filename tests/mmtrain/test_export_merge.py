"""`mmtrain export merge` sums what models have learned that were trained from the same one."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import Tensor, nn

from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.engines import torch_language

FILE = "adapter_model.safetensors"


def write_model(place: Path, like: Path, projector: float, adapter: Path | None = None) -> Path:
    """Write a checkpoint whose projector has one value."""
    weights = {"weight": torch.full((4, 4), projector)}
    checkpoint.write(place, checkpoint.read(like).spec, weights, adapter)
    return place


@pytest.fixture
def save_lora(tiny_llama: Path, tmp_path: Path):
    """Return a function that saves a LoRA adapter of the tiny Llama, of other weights each time."""

    def save(name: str, rank: int = 2, **settings: object) -> Path:
        torch.manual_seed(len(name))
        config = LoraConfig(
            task_type="CAUSAL_LM", r=rank, lora_alpha=4, target_modules="all-linear", **settings
        )
        model = get_peft_model(torch_language.load(tiny_llama, precision="fp32").model, config)
        for parameter, weight in model.named_parameters():
            if "lora_B" in parameter:
                nn.init.normal_(weight)
        model.save_pretrained(tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def load_weights(tiny_llama: Path):
    """Return a function that loads the weights of the tiny Llama with an adapter merged."""

    def load(adapter: Path | None) -> dict[str, Tensor]:
        return torch_language.load(tiny_llama, precision="fp32", adapter=adapter).model.state_dict()

    return load


def test_what_two_runs_have_learned_is_added(
    mmtrain, save_lora, load_weights, tiny_model, tmp_path
):
    # The second adapter has the rank of the sum of both, so nothing is cut off.
    adapters = {"first": save_lora("first"), "longer": save_lora("longer", rank=6)}
    first = write_model(tmp_path / "a", tiny_model, 3.0, adapters["first"])
    longer = write_model(tmp_path / "b", tiny_model, 4.0, adapters["longer"])
    base = write_model(tmp_path / "base", tiny_model, 2.0)
    out = tmp_path / "out"
    run = mmtrain("export", "merge", f"{first}=1", f"{base}=-0.5", f"{longer}=0.5", out)
    assert run.code == 0, run.err
    assert run.out.strip() == str(out)

    written = checkpoint.read(out)
    assert all((tensor == 4.0).all() for tensor in load_file(written.projector).values())
    plain, one, other, merged = map(load_weights, (None, *adapters.values(), written.adapter))
    changed = {name for name in plain if not torch.equal(plain[name], one[name])}
    assert len(changed) > 10
    for name, weight in plain.items():
        first_change, other_change = one[name] - weight, other[name] - weight
        expected = first_change + 0.5 * other_change
        if name in changed:
            left, values, right = torch.linalg.svd(expected, full_matrices=False)
            expected = left[:, :6] * values[:6] @ right[:6]
        # The adapter is stored in bf16.
        bound = 0.02 * (first_change.abs().max() + other_change.abs().max())
        assert torch.allclose(merged[name], weight + expected, rtol=0, atol=bound)


def test_the_rank_is_cut_to_that_of_the_adapters(
    mmtrain, save_lora, load_weights, tiny_model, tmp_path
):
    adapters = [save_lora("one"), save_lora("other")]
    models = [
        write_model(tmp_path / f"model-{adapter.name}", tiny_model, 1.0, adapter)
        for adapter in adapters
    ]
    out = tmp_path / "out"
    assert mmtrain("export", "merge", f"{models[0]}=0.5", f"{models[1]}=0.5", out).code == 0
    written = checkpoint.read(out).adapter
    shapes = {name: tensor.shape for name, tensor in load_file(written / FILE).items()}
    assert shapes == {n: t.shape for n, t in load_file(adapters[0] / FILE).items()}
    plain, one, other, merged = map(load_weights, (None, *adapters, written))
    name = next(name for name in plain if not torch.equal(plain[name], one[name]))
    mean = (one[name] + other[name]) / 2 - plain[name]
    # No other matrix of rank 2 is nearer to the mean than its largest two singular values.
    nearest = torch.linalg.svdvals(mean)[2:].square().sum().sqrt()
    assert (merged[name] - plain[name] - mean).norm() < 1.05 * nearest


@pytest.mark.parametrize("adapted", [0, 1])
def test_a_model_without_an_adapter_counts_as_one_that_changes_nothing(
    adapted, mmtrain, save_lora, load_weights, tiny_model, tmp_path
):
    lora = save_lora("lora")
    models = [
        write_model(tmp_path / str(at), tiny_model, 1.0, lora if at == adapted else None)
        for at in range(2)
    ]
    shares, out = (0.75, 0.25), tmp_path / "out"
    named = [f"{model}={share}" for model, share in zip(models, shares, strict=True)]
    run = mmtrain("export", "merge", *named, out)
    assert run.code == 0, run.err
    plain, full, part = map(load_weights, (None, lora, checkpoint.read(out).adapter))
    for name, weight in plain.items():
        expected = torch.lerp(weight, full[name], shares[adapted])
        assert torch.allclose(part[name], expected, rtol=0, atol=0.02 * full[name].abs().max())


def test_models_that_do_not_belong_together_are_refused(mmtrain, save_lora, tiny_model, tmp_path):
    model = write_model(tmp_path / "model", tiny_model, 1.0)
    dora = write_model(tmp_path / "d", tiny_model, 1.0, save_lora("dora", use_dora=True))
    out = tmp_path / "out"

    def refuse(*models: str) -> tuple[int, str]:
        run = mmtrain("export", "merge", *models, out)
        assert run.out == "" and not (out / "spec.json").exists()
        return run.code, run.err

    code, error = refuse(f"{model}=0.5", f"{tiny_model}=0.5")
    assert code == 4 and f"{model} and {tiny_model}" in error and "\nhint: merge models" in error
    code, error = refuse(f"{model}=0.5", f"{dora}=0.5")
    assert code == 4 and "is not a plain LoRA" in error
    code, error = refuse(f"{model}=0.5", f"{model}=0.6")
    assert code == 2 and "sum to 1.1" in error
    for wrong in (str(model), f"{model}=", f"{model}=half", "=1"):
        code, error = refuse(wrong)
        assert code == 2 and "MODEL=WEIGHT" in error
