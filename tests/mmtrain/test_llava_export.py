"""Trained models are exported as LLaVA checkpoints that transformers loads without mmtui."""

import dataclasses
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from llava_checkpoints import save_llava
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration

from mmtrain.export.llava import export_llava
from mmtui.errors import InputError
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec, VisionSpec
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.vision.images import Picture

TOKENS = 40
SIZES = [(64, 64), (97, 61), (90, 120)]


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    generator = np.random.default_rng(3)
    small = [generator.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in SIZES]
    images = [Image.fromarray(s).resize(size) for s, size in zip(small, SIZES, strict=True)]
    return [Picture(f"{number}" * 64, image) for number, image in enumerate(images)]


def save_run(
    folder: Path, language: Path, vision: VisionSpec, *, projector: torch.nn.Module
) -> checkpoint.Checkpoint:
    """Write a checkpoint with a projector and an adapter, as `finetune` does."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(language), settings)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(folder / "new")
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(language)), "fp32"), vision)
    checkpoint.write(folder / "run", spec, projector.state_dict(), folder / "new")
    return checkpoint.read(folder / "run")


def answer(found: checkpoint.Checkpoint, turns: list[Turn]) -> list[int]:
    """Return the greedy tokens of mmtui's torch engine, without regard to stop tokens."""
    assistant = Assistant(found.with_precision("fp32"), engine="torch")
    assistant.load(pictures=True)
    pictures = [part for turn in turns for part in turn.content if isinstance(part, Picture)]
    features = {k: v.features for k, v in assistant.encode_pictures(pictures).items()}
    sequence = assistant._to_positions(turns)
    stream = assistant._engine.stream(sequence, features, Sampler(GREEDY))
    return list(islice((token for token in stream if token is not None), TOKENS))


def answer_with_transformers(folder: Path, turns: list[Turn]) -> list[int]:
    processor = AutoProcessor.from_pretrained(folder)
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype="auto").eval()
    messages = [
        {
            "role": turn.role,
            "content": [
                {"type": "image", "image": part.image}
                if isinstance(part, Picture)
                else {"type": "text", "text": part}
                for part in turn.content
            ],
        }
        for turn in turns
    ]
    inputs = processor.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    inputs.pop("token_type_ids", None)
    output = model.generate(
        **inputs, do_sample=False, max_new_tokens=TOKENS, min_new_tokens=TOKENS, eos_token_id=None
    )
    return output[0, inputs["input_ids"].shape[1] :].tolist()


@pytest.fixture(scope="module")
def biased_phi(tiny_phi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a Phi whose biases are random, that of the output layer as well."""
    from transformers import AutoTokenizer, PhiForCausalLM

    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("biased")
    model = PhiForCausalLM.from_pretrained(tiny_phi)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, mean=float(parameter.mean()), std=0.3)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_phi).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def narrow_vision(save_clip: Callable[..., Path], tmp_path_factory) -> VisionSpec:
    """Save a CLIP tower whose features are half as wide as the embeddings of the language model."""
    cfg = {"image_size": 64, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16}
    folder = save_clip(tmp_path_factory.mktemp("narrow"), vision_cfg=cfg)
    half = (0.5, 0.5, 0.5)
    return VisionSpec(Asset(str(folder)), "open_clip", 64, half, half, 16, 32)


def assert_same_answers(
    found: checkpoint.Checkpoint, out: Path, pictures: list[Picture], *, system: bool = True
) -> None:
    """Compare transformers on an exported folder, and mmtui on it, with mmtui on the original."""
    conversations = [[Turn("user", (picture, "What is in this picture?"))] for picture in pictures]
    later = [
        Turn("user", (pictures[0], "What is it?")),
        Turn("assistant", ("A dog.",)),
        Turn("user", ("And", pictures[1], "?")),
    ]
    conversations.append([Turn("system", ("Be brief.",)), *later] if system else later)
    for turns in conversations:
        expected = answer(found, turns)
        assert len(set(expected)) > 5
        assert answer_with_transformers(out, turns) == expected
        assert answer(checkpoint.find(str(out)), turns) == expected


@pytest.mark.parametrize(
    ("language", "tower", "activation"),
    [
        ("tiny_llama", "tiny_vision", "linear"),
        ("tiny_phi", "narrow_vision", "relu"),
        ("biased_phi", "narrow_vision", "relu"),
    ],
)
def test_transformers_alone_gives_the_same_tokens(
    request, language, tower, activation, pictures, tmp_path
):
    base, vision = request.getfixturevalue(language), request.getfixturevalue(tower)
    projector = torch.nn.Linear(vision.width, 64)
    found = save_run(tmp_path, base, vision, projector=projector)
    out = export_llava(str(tmp_path / "run"), tmp_path / "out", "fp32")
    assert_same_answers(found, out, pictures)
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["LlavaForConditionalGeneration"]
    assert config["projector_hidden_act"] == activation
    assert "export hf" in (out / "README.md").read_text()


@pytest.mark.parametrize(("tower", "layer"), [("clip", [1, -1]), ("siglip", -2)])
def test_a_llava_checkpoint_is_exported_again(tower, layer, pictures, tmp_path):
    save_llava(tmp_path / "in", tower, "qwen2", vision_feature_layer=layer)
    found = checkpoint.find(str(tmp_path / "in"))
    out = export_llava(str(tmp_path / "in"), tmp_path / "out", "fp32")
    assert_same_answers(found, out, pictures)


def test_the_command_writes_bf16(
    mmtrain, installed_mmtrain, tiny_phi, tiny_vision, pictures, tmp_path
):
    save_run(tmp_path, tiny_phi, tiny_vision, projector=torch.nn.Linear(128, 64))
    run = installed_mmtrain("export", "hf", tmp_path / "run", tmp_path / "out")
    assert (run.code, run.out.strip()) == (0, str(tmp_path / "out"))
    turns = [Turn("user", (pictures[0], "What is it?"))]
    assert len(answer_with_transformers(tmp_path / "out", turns)) == TOKENS
    again = mmtrain("export", "hf", tmp_path / "run", tmp_path / "out")
    assert (again.code, again.err.count("\n")) == (2, 2)


def test_a_tower_that_llava_can_not_express_is_refused(tiny_llama, tmp_path):
    (tmp_path / "lite0.pth").touch()
    half = (0.5, 0.5, 0.5)
    weights = Asset(str(tmp_path / "lite0.pth"))
    vision = VisionSpec(weights, "tf_efficientnet_lite0", 64, half, half, 4, 32)
    spec = ModelSpec("tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32"), vision)
    checkpoint.write(tmp_path / "run", spec, torch.nn.Linear(32, 64).state_dict())
    with pytest.raises(InputError, match="tf_efficientnet_lite0 can't be exported: only vision"):
        export_llava(str(tmp_path / "run"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_averaged_patches_and_wide_projectors_are_refused(tiny_llama, tiny_vision, tmp_path):
    from mmtui.pipeline.vision.projector import build

    averaged = dataclasses.replace(tiny_vision, patches=4)
    save_run(tmp_path / "a", tiny_llama, averaged, projector=torch.nn.Linear(128, 64))
    with pytest.raises(InputError, match="gives 16 patches, which the spec averages to 4"):
        export_llava(str(tmp_path / "a" / "run"), tmp_path / "out")
    save_run(tmp_path / "b", tiny_llama, tiny_vision, projector=build("mlp", 128, 64))
    with pytest.raises(InputError, match="inner layer of 128 units, LLaVA one of 64"):
        export_llava(str(tmp_path / "b" / "run"), tmp_path / "out")


def test_numbers_of_pictures_are_refused(tiny_llama, tiny_vision, tmp_path):
    found = save_run(tmp_path, tiny_llama, tiny_vision, projector=torch.nn.Linear(128, 64))
    prompt = dataclasses.replace(found.spec.language.prompt, number_pictures=True)
    language = dataclasses.replace(found.spec.language, prompt=prompt)
    spec = dataclasses.replace(found.spec, language=language)
    (tmp_path / "run" / "spec.json").write_text(json.dumps(spec.to_json()))
    with pytest.raises(InputError, match="numbers in front of pictures"):
        export_llava(str(tmp_path / "run"), tmp_path / "out")
