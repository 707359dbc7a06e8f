"""The memory of a training step is estimated from one row, two rows and meta tensors."""

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmtrain.model.modules import CausalText
from mmtrain.options import AlignOptions, FinetuneOptions, PretrainOptions
from mmtrain.run import footprint, plan, preflight
from mmtrain.stages import pretrain
from mmtui.errors import MmtuiError
from mmtui.pipeline.assets import checkpoint

GIB = 2**30
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def module() -> nn.Module:
    from transformers import PhiConfig, PhiForCausalLM

    config = PhiConfig(
        hidden_size=64, intermediate_size=256, num_hidden_layers=6, num_attention_heads=4,
        partial_rotary_factor=0.5, vocab_size=97, max_position_embeddings=512,
    )  # fmt: skip
    return CausalText(PhiForCausalLM(config)).train()


def measure(module: nn.Module, batch: int, precision: str = "fp32") -> footprint.Footprint:
    def forward(rows: int) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            return module(torch.zeros(rows, 301, dtype=torch.long))

    return footprint.measure(module, forward, batch, moment_bytes=8, accumulates=False)


def measure_saved_tensors(module: nn.Module, rows: int) -> int:
    """Return the bytes of all tensors that autograd saves, each storage counted once."""
    storages = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in module.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = module(torch.zeros(rows, 301, dtype=torch.long))
    assert loss > 0
    return sum(storage.nbytes() for place, storage in storages.items() if place not in weights)


def test_the_activations_of_a_batch_are_extrapolated_from_two_rows(module):
    assert measure(module, 9).activations == pytest.approx(
        measure_saved_tensors(module, 9), rel=0.02
    )


def test_gradients_and_moments_are_counted_for_trained_parameters(module):
    count = sum(p.numel() for p in module.parameters())
    found = measure(module, 1)
    assert (found.gradients, found.moments) == (4 * count, 8 * count)
    single = footprint.Footprint(1, 10, 100, accumulates=False)
    assert single.total == 101  # gradients are allocated as activations are freed
    assert footprint.Footprint(1, 10, 100, accumulates=True).total == 111


def test_autocast_and_checkpointing_need_less_memory(module):
    plain = measure(module, 4).activations
    assert 0.3 * plain < measure(module, 4, "bf16").activations < 0.75 * plain
    module.language.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        checkpointed = measure(module, 4).activations
        assert module.language.is_gradient_checkpointing
    finally:
        module.language.gradient_checkpointing_disable()
    assert 0.1 * plain < checkpointed < 0.4 * plain


def test_phi2_from_scratch_fits_a_card_of_40_gb(monkeypatch):
    """Batch 1, block 2048, 8-bit Adam and bf16 need about 32 GiB, computed by hand."""
    options = PretrainOptions(
        size="phi-2", batch=1, block=2048, optimizer="adam8bit", precision="bf16"
    )
    accelerator = Accelerator(cpu=True)
    shape = pretrain.make_config("phi-2")
    monkeypatch.setattr(plan.memory, "measure_free", lambda _: 37 * GIB)
    plan.check_pretrain_memory(options, shape, accelerator, force=False)
    monkeypatch.setattr(plan.memory, "measure_free", lambda _: 24 * GIB)
    with pytest.raises(MmtuiError, match=r"needs about 3\d\.\d+ GiB") as raised:
        plan.check_pretrain_memory(options, shape, accelerator, force=False)
    assert "--checkpointing" in raised.value.hint and "--force" in raised.value.hint
    plan.check_pretrain_memory(options, shape, accelerator, force=True)


def test_a_dry_run_downloads_no_weights(train, shapes_data, monkeypatch, capsys, tmp_path):
    """The shapes of the presets are known; the plan names the files that a run would download."""
    monkeypatch.setattr(plan.fetch, "locate", lambda _: None)
    monkeypatch.setattr("mmtui.pipeline.assets.fetch.fetch", None)
    monkeypatch.setattr(plan.memory, "measure_free", lambda _: 100 * GIB)
    monkeypatch.setattr(checkpoint, "get_user_models_folder", lambda: tmp_path / "none")
    for options in (
        AlignOptions(model="phi2", data=[shapes_data]),
        FinetuneOptions(model="phi2", data=[shapes_data / "llava_instruct.json"],
                        images=shapes_data / "train2017", checkpointing=True),
    ):  # fmt: skip
        train(options, tmp_path / "out", dry_run=True)
        output = capsys.readouterr().err
        assert "language: hf:microsoft/phi-2, 5.56 GB; a run would download it" in output
        assert "vision: hf:timm/vit_betwixt" in output
        assert "parameters" in output and "epochs" in output
        assert "including weights" in output
    assert not (tmp_path / "out").exists()


@pytest.fixture
def align(tiny_model, shapes_data) -> AlignOptions:
    return AlignOptions(
        model=str(tiny_model), data=[shapes_data], init="random", steps=1, batch=2, val_limit=0
    )


def test_a_run_that_does_not_fit_starts_only_with_force(align, train, monkeypatch, tmp_path):
    monkeypatch.setattr(preflight.memory, "measure_free", lambda _: 1)
    with pytest.raises(MmtuiError, match="needs about"):
        train(align, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    train(align, tmp_path / "forced", force=True)
    assert checkpoint.read(tmp_path / "forced").can_see


def test_freed_memory_is_returned_when_memory_is_scarce(
    align, train, monkeypatch, capsys, tmp_path
):
    returned = []
    monkeypatch.setattr(preflight.memory, "return_freed_memory", lambda: returned.append(True))
    train(align, tmp_path / "out", dry_run=True)
    assert not returned
    monkeypatch.setattr(preflight.memory, "HEAP_FACTOR", 1e9)
    train(align, tmp_path / "out", dry_run=True)
    assert returned and "memory is scarce" in capsys.readouterr().err


def test_the_estimated_time_includes_validation_and_saves():
    options = AlignOptions(steps=100, eval_every=50, save_every=50, save_minutes=0, accumulation=3)
    found = preflight.estimate_seconds(options, 10, 1.0, 3.0, 7.0, int(preflight.SAVE_SPEED))
    assert found == {"steps": 900, "validation": 3 * 17, "saves": 3}
    often = AlignOptions(steps=100, eval_every=50, save_every=50, save_minutes=1, accumulation=3)
    assert preflight.estimate_seconds(often, 10, 1.0, 3.0, 7.0, 0) == {**found, "saves": 0}


def test_the_time_of_a_step_is_the_median_without_the_first_batch(monkeypatch):
    """The first batch is slow because it allocates memory, and another one is an outlier."""
    now, takes = [0.0], iter([90.0, 2.0, 2.0, 50.0, 2.0])

    class Slow(nn.Module):
        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            now[0] += next(takes)
            return torch.ones((), requires_grad=True) * batch.numel()

    monkeypatch.setattr(preflight.time, "perf_counter", lambda: now[0])
    stage = type("Stage", (), {"name": "pretrain", "samples": None})
    batches = [torch.zeros(1, 3)] * 5
    forward, whole, _ = preflight._time_batches(stage, Slow(), batches, Accelerator(cpu=True))
    assert forward == whole == 2.0
