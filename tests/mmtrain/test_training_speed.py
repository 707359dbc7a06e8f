"""The faster forms of layers and batches compute what the plain ones do."""

from itertools import pairwise

import pytest
import torch
from PIL import Image
from torch import nn

from mmtrain.data.dataset import Example
from mmtrain.data.dialogue_dataset import DialogueDataset
from mmtrain.data.features import FeatureStore
from mmtrain.model import lora_linear, row_attention
from mmtrain.model.modules import VisionLanguage
from mmtrain.stages.finetune import Lora, add_adapters
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.engines import torch_language
from mmtui.pipeline.prompt import ChatFormat
from mmtui.pipeline.vision.tower import VisionTower

FOLDERS = ("tiny_llama", "tiny_phi")


@pytest.fixture
def make_data(cache, tiny_vision, tiny_clip, tmp_path):
    """Makes a data set of three rows: two with branches about a picture, and one of text."""
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for number, file in enumerate(files):
        Image.new("RGB", (70, 70), (200 * number, 50, 50)).save(file)
    tower = VisionTower(tiny_vision, tiny_clip)
    store = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
    asked = [(files[0], "What is it?"), (files[0], "Which colour?"), (files[1], "And this one?")]
    examples = [
        Example(question, (("user", (file, question)), ("assistant", (f"It is {number}.",))))
        for number, (file, question) in enumerate(asked)
    ]
    examples.append(Example("text", (("user", ("Hello",)), ("assistant", ("Hello to you.",)))))

    def make(model) -> DialogueDataset:
        chat = ChatFormat(model.tokenizer)
        return DialogueDataset(examples, chat, store, (16, 128), 400, pack_examples=True)

    return make


def compute_gradients(module, batch) -> tuple[float, torch.Tensor]:
    module.zero_grad()
    loss = module(batch)
    loss.backward()
    return loss.item(), torch.cat(
        [p.grad.flatten() for p in module.parameters() if p.grad is not None]
    )


@pytest.mark.parametrize("longest", [512, 0])
@pytest.mark.parametrize("name", FOLDERS)
def test_flat_rows_have_the_loss_and_gradients_of_padded_rows(
    name, longest, make_data, request, monkeypatch
):
    monkeypatch.setattr(row_attention, "MAX_UNFUSED_LENGTH", longest)
    model = torch_language.load(request.getfixturevalue(name), precision="fp32")
    data = make_data(model)
    assert [len(row) for row in data.rows] == [2, 1, 1]
    torch.manual_seed(0)
    module = VisionLanguage(model.model, nn.Linear(128, model.hidden_size))
    batches = [data.batch([0, 1, 2]), data.batch([1, 2]), data.batch([2])]
    padded = [compute_gradients(module, batch) for batch in batches]
    row_attention.enable(model.model)
    assert row_attention.is_enabled(model.model)
    for batch, (loss, gradient) in zip(batches, padded, strict=True):
        flat_loss, flat_gradient = compute_gradients(module, batch)
        assert flat_loss == pytest.approx(loss, rel=1e-5)
        assert torch.allclose(flat_gradient, gradient, atol=1e-4)


def test_a_common_prefix_is_computed_once(make_data, tiny_llama):
    data = make_data(torch_language.load(tiny_llama, precision="fp32"))
    together = data.batch([0, 1])
    alone = [data.batch([index]) for index in (0, 1)]
    shared = together.flat.common
    assert shared > 0
    assert together.sequences[0][:shared] == together.sequences[1][:shared]
    assert len(together.flat.tokens) == sum(len(b.flat.tokens) for b in alone) - shared
    assert torch.equal(together.flat.labels, torch.cat([b.flat.labels for b in alone]))
    assert [b.flat.common for b in alone] == [0, 0]


def test_a_model_that_can_not_attend_over_rows_keeps_its_attention(tiny_llama):
    model = torch_language.load(tiny_llama, precision="fp32").model
    for attention in ("eager", "sdpa"):
        model.set_attn_implementation(attention)
        model.config.sliding_window = 8
        row_attention.enable(model)
        assert model.config._attn_implementation == attention


def add_trained_adapter(folder, speeds_up: bool, monkeypatch):
    """Return a model in whose adapter no matrix is zero."""
    with monkeypatch.context() as patch:
        if not speeds_up:
            patch.setattr("mmtrain.stages.finetune.speed_up_adapters", lambda _: None)
        torch.manual_seed(0)
        language = torch_language.load(folder, precision="fp32").model
        add_adapters(language, Lora(4, 8, 0.0))
    for name, parameter in language.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return language.train()


@pytest.mark.parametrize("name", FOLDERS)
def test_adapters_compute_what_peft_computes(name, request, monkeypatch):
    ids = torch.arange(3, 43).reshape(2, 20)
    found = []
    for speeds_up in (False, True):
        language = add_trained_adapter(request.getfixturevalue(name), speeds_up, monkeypatch)
        language(input_ids=ids, labels=ids).loss.backward()
        found.append({n: p.grad for n, p in language.named_parameters() if p.grad is not None})
    plain, fast = found
    assert plain.keys() == fast.keys() and len(plain) > 10
    for parameter in plain:
        assert torch.allclose(plain[parameter], fast[parameter], atol=1e-5), parameter


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_keeps_its_share_and_the_mean(probability, dtype):
    torch.manual_seed(0)
    ones = torch.ones(501, 401, dtype=dtype)
    masks = [lora_linear.draw_mask(ones, probability) for _ in range(2)]
    dropped = [lora_linear.drop(ones, mask, probability).double() for mask in masks]
    for values in dropped:
        assert (values == 0).double().mean().item() == pytest.approx(probability, abs=0.005)
        assert values.mean().item() == pytest.approx(1, abs=0.03)
        shifted = [values.flatten().roll(shift) for shift in range(4)]
        for one, other in pairwise(shifted):  # neighbours are drawn from one random number
            both = ((one == 0) & (other == 0)).double().mean().item()
            assert both == pytest.approx(probability**2, abs=0.01)
    assert not torch.equal(*dropped)
