"""Losses are those of transformers, and projectors are initialized as documented."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from transformers import AutoTokenizer

from mmtrain.data.dataset import Example
from mmtrain.data.dialogue_dataset import DialogueDataset
from mmtrain.data.features import FeatureStore
from mmtrain.data.shared_prefix import supports_branches
from mmtrain.model import projector_init, row_attention
from mmtrain.model.modules import (
    VisionLanguage,
    compute_summed_loss,
    count_trained_tokens,
    weigh_answers,
)
from mmtui.errors import InputError
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.engines import torch_language
from mmtui.pipeline.prompt import IGNORE_INDEX, ChatFormat
from mmtui.pipeline.vision import projector
from mmtui.pipeline.vision.tower import VisionTower

FOLDERS = ("tiny_llama", "tiny_phi")


@pytest.fixture
def dialogues(request, cache, tiny_vision, tiny_clip, tmp_path):
    """Return a function that loads a language model and three dialogues of different lengths."""

    def make(folder: Path, limit: int = 400) -> tuple:
        model = torch_language.load(folder, precision="fp32")
        files = [tmp_path / "a.png", tmp_path / "b.png"]
        for number, file in enumerate(files):
            Image.new("RGB", (70, 70), (200 * number, 50, 50)).save(file)
        tower = VisionTower(tiny_vision, tiny_clip)
        store = FeatureStore(tiny_vision, lambda: tower, ignore_progress)
        examples = [
            Example("one", (("user", (files[0], "What is it?")), ("assistant", ("A cat.",)))),
            Example("text", (("user", ("Hello",)), ("assistant", ("Hello to you. " * 5,)))),
            Example(
                "two",
                (
                    ("user", (files[1], "And", files[0])),
                    ("assistant", ("Dogs.",)),
                    ("user", ("Sure?",)),
                    ("assistant", ("A dog is a dog.",)),
                ),
            ),
        ]
        chat = ChatFormat(model.tokenizer)
        return model, DialogueDataset(examples, chat, store, (16, 128), limit)

    return make


@pytest.mark.parametrize("name", FOLDERS)
def test_the_loss_is_that_of_transformers(name, dialogues, request):
    """The reference runs each dialogue alone with all logits; ours pads a batch of three."""
    model, data = dialogues(request.getfixturevalue(name))
    torch.manual_seed(0)
    module = VisionLanguage(model.model, nn.Linear(128, model.hidden_size))
    batch = data.batch([0, 1, 2])
    ours = module(batch)
    expected = torch.zeros(())
    for index in range(3):
        alone = data.batch([index])
        pictures = dict(zip(alone.keys, module.projector(alone.features.float()), strict=True))
        rows = []
        for part in alone.sequences[0]:
            if isinstance(part, int):
                rows.append(model.embedding.weight[part])
            else:
                rows.append(pictures[part[0]][part[1]])
        logits = model.model(inputs_embeds=torch.stack(rows)[None]).logits
        expected = expected + nn.functional.cross_entropy(
            logits[0], alone.labels[0], ignore_index=IGNORE_INDEX, reduction="sum"
        )
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    ours.backward()
    gradient = module.projector.weight.grad.clone()
    module.zero_grad()
    expected.backward()
    assert torch.allclose(gradient, module.projector.weight.grad, atol=1e-4)


@pytest.mark.parametrize("name", FOLDERS)
def test_questions_about_a_picture_share_it_and_the_loss_is_that_of_each_alone(
    name, dialogues, request
):
    model, data = dialogues(request.getfixturevalue(name))
    (picture,) = data.rows[0][0].pictures
    questions = [
        ("What is it?", "A cat."),
        ("What is it?", "Grey."),
        ("And its colour, please?", "A"),
    ]
    examples = [
        Example(question, (("user", (picture, question)), ("assistant", (answer,))))
        for question, answer in questions
    ]

    def loss_and_gradient(*rows: list[Example]) -> tuple[float, torch.Tensor, int]:
        torch.manual_seed(0)
        module = VisionLanguage(model.model, nn.Linear(128, model.hidden_size))
        batches = [
            DialogueDataset(row, data._chat, data._store, (16, 128), 400, pack_examples=True).batch(
                [0]
            )
            for row in rows
        ]
        loss = sum(module(batch) for batch in batches)
        loss.backward()
        size = sum(batch.labels.numel() for batch in batches)
        return loss.item(), module.projector.weight.grad, size

    packed, packed_gradient, packed_size = loss_and_gradient(examples)
    separate, gradient, separate_size = loss_and_gradient(*([example] for example in examples))
    assert packed_size < 0.7 * separate_size
    assert packed == pytest.approx(separate, rel=1e-5)
    assert torch.allclose(packed_gradient, gradient, atol=1e-4)


def test_packed_examples_fit_into_a_row(dialogues, tiny_llama):
    """This holds for any script and any position of the pictures."""
    _, data = dialogues(tiny_llama)
    (picture,) = data.rows[0][0].pictures

    def rows(*contents: tuple, limit: int = 400, pack_examples: bool = True) -> list[int]:
        examples = [
            Example(str(n), (("user", content), ("assistant", ("Yes.",))))
            for n, content in enumerate(contents)
        ]
        dataset = DialogueDataset(
            examples, data._chat, data._store, (16, 128), limit, pack_examples=pack_examples
        )
        for index, row in enumerate(dataset.rows):
            batch = dataset.batch([index])
            answers = (batch.labels[0] != IGNORE_INDEX).sum() / len(row)
            assert answers == answers.round() > 1, "an answer was cut"
        return [len(row) for row in dataset.rows]

    contents = [(picture, f"Is it {n}?") for n in range(10)]
    assert rows(*contents) == [5, 5]
    assert rows(*contents, pack_examples=False) == [1] * 10
    assert rows(*contents, limit=60) == [1] * 10
    assert rows(*((picture, "Что это такое, скажи? " * 2) for _ in range(4)), limit=600) == [3, 1]
    assert rows(*((f"Is it {n}?", picture) for n in range(3))) == [1] * 3


def test_left_and_right_are_swapped_in_the_text_of_a_mirrored_picture(dialogues, tiny_llama):
    model, data = dialogues(tiny_llama)
    (picture,) = data.rows[0][0].pictures
    question = "What is left of it? Left or right, upright, right next to it?"

    def encode_and_decode(*content: object) -> str:
        example = Example("one", (("user", content), ("assistant", ("The leftmost, all right.",))))
        dataset = DialogueDataset(
            [example], data._chat, data._store, (16, 128), 400, views=["mirrored"]
        )
        (sequence,) = dataset.batch([0]).sequences
        return model.tokenizer.decode([part for part in sequence if isinstance(part, int)])

    mirrored = encode_and_decode(picture, question)
    assert "What is right of it? Right or left, upright, right next to it?" in mirrored
    assert "The rightmost, all right." in mirrored
    assert question in encode_and_decode(question)  # there is no picture


def test_patch_features_are_dropped_only_while_it_trains(dialogues, tiny_llama):
    model, data = dialogues(tiny_llama)
    torch.manual_seed(0)
    module = VisionLanguage(model.model, nn.Linear(128, model.hidden_size), dropout=0.5)
    batch = data.batch([0, 2])
    with torch.no_grad():
        assert module.train()(batch) != module(batch)
        without_dropout = VisionLanguage(model.model, module.projector)
        assert module.eval()(batch) == without_dropout(batch)


@pytest.mark.parametrize("is_flat", [True, False])
@pytest.mark.parametrize(("loss_weights", "power"), [("square", 0.5), ("answer", 1)])
def test_tokens_of_long_answers_weigh_less_while_it_trains(
    loss_weights, power, is_flat, dialogues, tiny_llama
):
    model, data = dialogues(tiny_llama)
    if is_flat:
        row_attention.enable(model.model)
    torch.manual_seed(0)
    module = VisionLanguage(
        model.model, nn.Linear(128, model.hidden_size), loss_weights=loss_weights
    )
    with torch.no_grad():
        losses = [module.eval()(data.batch([index])).item() for index in (0, 1)]
        sizes = [count_trained_tokens(data.batch([index])) for index in (0, 1)]
        found = module.train()(data.batch([0, 1])).item()
    weights = [size**-power for size in sizes]
    expected = sum(loss * w for loss, w in zip(losses, weights, strict=True))
    assert found == pytest.approx(expected, rel=1e-5)
    total = sum(size * w for size, w in zip(sizes, weights, strict=True))
    assert module.count_weight(data.batch([0, 1])) == pytest.approx(total)


def test_each_answer_of_a_dialogue_has_its_own_weight():
    slots = torch.tensor([3, 4, 5, 9])
    weights = weigh_answers(slots, "answer")
    assert weights.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    assert weigh_answers(slots, "token") is None


@pytest.mark.parametrize("name", FOLDERS)
def test_support_for_attention_over_branches_is_detected(name, request):
    model = torch_language.load(request.getfixturevalue(name), precision="fp32").model
    assert supports_branches(model)
    model.set_attn_implementation("eager")  # adds the mask to its scores: True is 1
    assert not supports_branches(model)


@pytest.mark.parametrize("name", FOLDERS)
def test_text_has_the_loss_that_transformers_gives_with_labels(name, request):
    model = torch_language.load(request.getfixturevalue(name), precision="fp32").model
    ids = torch.arange(3, 43).reshape(2, 20)
    expected = model(input_ids=ids, labels=ids).loss * 38
    found = compute_summed_loss(model, ids[:, 1:], input_ids=ids[:, :-1])
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_text_only_batch_does_not_change_the_projector(dialogues, tiny_llama):
    model, data = dialogues(tiny_llama)
    module = VisionLanguage(model.model, nn.Linear(128, model.hidden_size))
    module(data.batch([1])).backward()
    assert module.projector.weight.grad.abs().max() == 0


def test_a_dialogue_that_is_too_long_loses_its_last_turns_never_its_question(dialogues, tiny_llama):
    _, data = dialogues(tiny_llama)
    full = data.batch([2])
    _, short = dialogues(tiny_llama, limit=full.labels.shape[1] - 1)
    cut = short.batch([2])
    assert 0 < count_trained_tokens(cut) < count_trained_tokens(full)
    assert cut.sequences[0] == full.sequences[0][: len(cut.sequences[0])]
    _, shorter = dialogues(tiny_llama, limit=20)
    with pytest.raises(InputError, match="two has no trained token within 20"):
        shorter.batch([2])


@pytest.mark.parametrize("initialization", ["random", "ridge"])
def test_every_initialization_has_the_norm_of_the_model_s_embeddings(
    initialization, tiny_vision, tiny_llama
):
    model = torch_language.load(tiny_llama, precision="fp32")
    features = torch.randn(30, 16, 128) + 2
    captions = [f"A cat and {n} dogs" for n in range(30)]
    torch.manual_seed(0)
    projection = projector_init.init_projector(
        initialization, "linear", tiny_vision, model, features, captions
    )
    table = model.embedding.weight.detach()
    centered = projection(features).detach().flatten(0, 1) - table.mean(0)
    assert centered.norm(dim=1).mean() == pytest.approx(table.norm(dim=1).mean().item(), rel=0.01)


def test_an_mlp_is_initialized_as_the_linear_map(tiny_vision, tiny_llama):
    model = torch_language.load(tiny_llama, precision="fp32")
    features = torch.randn(8, 16, 128)
    projections = []
    for kind in ("linear", "mlp"):
        torch.manual_seed(0)
        projections.append(
            projector_init.init_projector("random", kind, tiny_vision, model, features, ["x"] * 8)
        )
    assert torch.allclose(projections[0](features), projections[1](features), atol=1e-4)


def test_ridge_regression_finds_an_existing_map(tiny_vision, tiny_llama):
    model = torch_language.load(tiny_llama, precision="fp32")
    words = ["cat", "dog", "picture", "a", "in", "this", "What", "and"] * 8
    torch.manual_seed(1)
    patches = dict(zip(words, torch.randn(len(words), 128), strict=True))
    features = torch.stack([patches[word].expand(16, 128) for word in words])
    projection = projector_init.init_projector(
        "ridge", "linear", tiny_vision, model, features, words
    )
    ids = [model.tokenizer(f" {word}").input_ids for word in words]
    embeddings = torch.stack([model.embedding.weight[row].mean(0) for row in ids])
    projected = projection(features[:, 0]) - projection(features[:, 0]).mean(0)
    similarity = nn.functional.cosine_similarity(projected, embeddings - embeddings.mean(0))
    assert similarity.min() > 0.95


def test_concepts_are_close_to_the_classes_of_the_classifier(smol, shared):
    """The mean output of a photo is mostly closest to the name of its class."""
    from mmtrain.data import coco
    from mmtrain.model import loading

    loaded = loading.load_components(smol, "fp32", torch.device("cpu"), ignore_progress)
    items = coco.load_captioned_images(shared / "labels/annotations/captions_train2017.json", [])[
        :60
    ]
    loaded.store.ensure([item.image for item in items])
    features = torch.stack([loaded.store[loaded.store.get_key(item.image)] for item in items])
    projection = projector_init.init_projector(
        "concepts", "linear", smol.spec.vision, loaded.language, features, []
    )
    names = [item.captions[0].removesuffix(".").removeprefix("A photo of ") for item in items]
    ids = [loaded.language.tokenizer(f" {name}").input_ids for name in names]
    embeddings = torch.stack([loaded.language.embedding.weight[row].mean(0) for row in ids]).float()
    projected = projection(features.float()).mean(1)
    projected, embeddings = projected - projected.mean(0), embeddings - embeddings.mean(0)
    similarity = (
        nn.functional.normalize(projected, dim=1) @ nn.functional.normalize(embeddings, dim=1).T
    )
    accuracy = (similarity.argmax(1) == torch.arange(60)).float().mean()
    print(f"closest to the name of its class: {accuracy:.0%}")
    assert accuracy > 0.3


def test_projectors_are_read_as_they_were_written(tmp_path):
    from mmtui.pipeline.assets.fetch import save_tensors

    for kind in ("linear", "mlp"):
        written = projector.build(kind, 12, 6)
        save_tensors(written.state_dict(), tmp_path / kind)
        loaded = projector.load(tmp_path / kind, 12, 6)
        features = torch.randn(2, 3, 12)
        assert torch.equal(loaded(features), written(features))
        with pytest.raises(InputError) as raised:
            projector.load(tmp_path / kind, 13, 6)
        assert "another model" in raised.value.hint


def test_a_tokenizer_without_a_template_trains_on_its_end_token(tiny_phi):
    tokenizer = AutoTokenizer.from_pretrained(tiny_phi)
    from mmtui.pipeline.prompt import Turn

    turns = [Turn("user", ("Q",)), Turn("assistant", ("A",))]
    _, targets = ChatFormat(tokenizer).encode_dialogue(turns)
    assert targets[-1] == tokenizer.eos_token_id


def test_the_hint_for_phi2_names_the_memory_that_is_planned():
    """The order is that of the hint: align, finetune with checkpointing, finetune with 4 rows."""
    from mmtrain.options import AlignOptions, FinetuneOptions
    from mmtrain.run import plan
    from mmtui.pipeline.assets import checkpoint

    common = {"optimizer": "adam8bit", "precision": "bf16"}
    lora = {"rank": 64, "alpha": 16, "dropout": 0.1}
    planned = [
        (AlignOptions(**common), 49 + 40),
        (FinetuneOptions(**common, **lora, checkpointing=True), 1024),
        (FinetuneOptions(**common, **lora, batch=4, accumulation=4), 1024),
    ]
    hint = checkpoint.find("phi2").spec.projector_training
    named = [int(size) for size in re.findall(r"(\d+) GiB", hint)]
    for (options, length), size in zip(planned, named, strict=True):
        phi2 = checkpoint.find("phi2")
        _, weights, needed = plan.measure_footprint(options, phi2, length, torch.device("cpu"))
        assert 0 <= size - (weights + needed.total) / 2**30 < 1
