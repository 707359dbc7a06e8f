"""`mmtrain export merge` sums what models have learned that were trained from the same one."""

import json
import shutil
import zlib
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
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
    """Return a function that saves a LoRA adapter of the tiny Llama with weights of its own."""

    def save(name: str, rank: int = 2, layers: object = "all-linear", **settings: object) -> Path:
        torch.manual_seed(zlib.crc32(name.encode()))
        config = LoraConfig(
            task_type="CAUSAL_LM", r=rank, lora_alpha=4, target_modules=layers, **settings
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
    # The sum has rank 8, and is cut to that of the second adapter.
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


@pytest.mark.parametrize("sides", [(4, 16), (16, 4), (4, 4), (16, 16)])
def test_a_weight_may_be_smaller_than_the_rank(sides, mmtrain, tiny_model, tmp_path):
    into, out_of = sides
    torch.manual_seed(0)
    changes, models = [], []
    for name in ("one", "other"):
        factors = {
            "m.lora_A.weight": torch.randn(6, into),
            "m.lora_B.weight": torch.randn(out_of, 6),
        }
        adapter = tmp_path / name
        adapter.mkdir()
        (adapter / "adapter_config.json").write_text(
            '{"peft_type": "LORA", "r": 6, "lora_alpha": 12}'
        )
        save_file(factors, adapter / FILE)
        changes.append(2 * factors["m.lora_B.weight"] @ factors["m.lora_A.weight"])
        models.append(write_model(tmp_path / f"model-{name}", tiny_model, 1.0, adapter))
    run = mmtrain("export", "merge", f"{models[0]}=2", f"{models[1]}=-1", tmp_path / "out")
    assert run.code == 0, run.err
    written = checkpoint.read(tmp_path / "out").adapter
    config = json.loads((written / "adapter_config.json").read_text())
    merged = {name: tensor.float() for name, tensor in load_file(written / FILE).items()}
    assert merged["m.lora_A.weight"].shape == (config["r"], into) == (6, into)
    change = merged["m.lora_B.weight"] @ merged["m.lora_A.weight"]
    change *= config["lora_alpha"] / config["r"]
    left, values, right = torch.linalg.svd(2 * changes[0] - changes[1], full_matrices=False)
    expected = left[:, :6] * values[:6] @ right[:6]
    assert torch.allclose(change, expected, rtol=0, atol=0.02 * expected.abs().max())


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


def test_models_that_can_not_be_merged_are_refused(mmtrain, save_lora, tiny_model, tmp_path):
    model = write_model(tmp_path / "model", tiny_model, 1.0, save_lora("lora"))
    out = tmp_path / "out"

    def refuse(*models: object, folder: Path = out) -> tuple[int, str]:
        run = mmtrain("export", "merge", *models, folder)
        assert run.out == "" and not out.exists()
        return run.code, run.err

    def pair(other: Path) -> tuple[int, str]:
        return refuse(f"{model}=0.5", f"{other}=0.5")

    other = tmp_path / "other"
    checkpoint.write(other, checkpoint.read(tiny_model).spec, {"weight": torch.ones(4, 3)})
    code, error = pair(other)
    assert code == 4 and f"{model} and {other} are different models\nhint: merge" in error
    blind = tmp_path / "blind"
    checkpoint.write(blind, checkpoint.read(tiny_model).spec)
    code, error = pair(blind)
    assert code == 4 and f"{blind} has no trained projector" in error
    dora = write_model(tmp_path / "d", tiny_model, 1.0, save_lora("dora", use_dora=True))
    code, error = pair(dora)
    assert code == 4 and f"the adapter of {dora} is not a plain LoRA" in error
    fewer = write_model(tmp_path / "f", tiny_model, 1.0, save_lora("fewer", layers=["q_proj"]))
    code, error = pair(fewer)
    assert code == 4 and f"the adapters of {model} and {fewer} change different layers" in error
    damaged = write_model(tmp_path / "nan", tiny_model, float("nan"))
    code, error = pair(damaged)
    assert code == 4 and f"the weights of {damaged} are damaged" in error

    code, error = refuse(f"{model}=0.5", f"{model}=0.6")
    assert code == 2 and "sum to 1.1" in error
    for wrong in (model, f"{model}=", f"{model}=half", f"{model}=nan", "=1"):
        code, error = refuse(wrong)
        assert code == 2 and "MODEL=WEIGHT" in error
    code, error = refuse(f"{model}=1", folder=model)
    assert code == 2 and f"{model} is one of the models" in error
    assert checkpoint.read(model).adapter


def test_a_language_model_beside_the_projector_is_copied(mmtrain, tiny_model, tiny_llama, tmp_path):
    model, out = tmp_path / "model", tmp_path / "out"
    language = Path(shutil.copytree(tiny_llama, tmp_path / "copy"))
    weights = {"weight": torch.ones(4, 4)}
    checkpoint.write(model, checkpoint.read(tiny_model).spec, weights, language=language)
    assert mmtrain("export", "merge", f"{model}=1", out).code == 0
    shutil.rmtree(model)
    copy = Path(checkpoint.read(out).spec.language.weights.uri)
    assert torch_language.load(copy, precision="fp32")
