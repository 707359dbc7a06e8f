"""The original project's release, against a forward pass of its recipe written out here."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPVisionModel,
    PhiForCausalLM,
)

from mmtrain.original_release import import_release
from mmtui.errors import InputError
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines.sampling import GREEDY, Sampler
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.vision.images import Picture

TOKENS = 30
PHI, CLIP = "hf:microsoft/phi-2", "hf:wkcn/TinyCLIP-ViT-61M-32-Text-29M-LAION400M"
QUESTION = "What is in this picture?"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a CLIP with random weights in Hugging Face's layout, as TinyCLIP is published."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 64, "patch_size": 32,
    }  # fmt: skip
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 64}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    return folder


@pytest.fixture
def release(tiny_phi: Path, tmp_path: Path) -> Path:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    folder = tmp_path / "release"
    folder.mkdir()
    torch.save(torch.nn.Linear(32, 64).state_dict(), folder / "ft_projection.pth")
    layers = ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"]
    settings = LoraConfig(r=4, lora_alpha=2, target_modules=layers, task_type="CAUSAL_LM")
    adapted = get_peft_model(PhiForCausalLM.from_pretrained(tiny_phi), settings)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    adapted.save_pretrained(folder / "qlora_adaptor")
    return folder


@torch.no_grad()
def answer_as_the_original(release: Path, phi: Path, clip: Path, image: Image.Image) -> list[int]:
    """[projected patches][" comment"][question], greedily continued."""
    from peft import PeftModel

    tower = CLIPVisionModel.from_pretrained(clip)
    size = {"height": 64, "width": 64}
    pixels = CLIPImageProcessor(size={"shortest_edge": 64}, crop_size=size)(
        image, return_tensors="pt"
    )["pixel_values"]
    features = tower(pixels).last_hidden_state[:, 1:]
    projection = torch.nn.Linear(32, 64)
    projection.load_state_dict(torch.load(release / "ft_projection.pth", weights_only=True))
    model = PeftModel.from_pretrained(
        PhiForCausalLM.from_pretrained(phi), release / "qlora_adaptor"
    )
    tokenizer = AutoTokenizer.from_pretrained(phi)
    ids = [tokenizer(text, return_tensors="pt").input_ids for text in (" comment", QUESTION)]
    embed = model.get_input_embeddings()
    inputs = torch.cat([projection(features), *(embed(part) for part in ids)], dim=1)
    tokens: list[int] = []
    for _ in range(TOKENS):
        token = model(inputs_embeds=inputs).logits[0, -1].argmax()
        tokens.append(int(token))
        inputs = torch.cat([inputs, embed(token[None, None])], dim=1)
    return tokens


def answer(folder: Path, picture: Picture) -> list[int]:
    assistant = Assistant(checkpoint.read(folder).with_precision("fp32"), engine="torch")
    turns = [Turn("user", (picture, QUESTION))]
    features = {k: v.features for k, v in assistant.encode_pictures([picture]).items()}
    sequence = assistant._to_positions(turns)
    stream = assistant._engine.stream(sequence, features, Sampler(GREEDY))
    return list(islice((token for token in stream if token is not None), TOKENS))


@pytest.mark.parametrize("is_pickled", [False, True])
def test_an_import_answers_as_the_original_does(
    mmtrain, release, tiny_phi, clip, tmp_path, is_pickled
):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    picture = Picture("a" * 64, Image.fromarray(pixels).resize((97, 71)))
    expected = answer_as_the_original(release, tiny_phi, clip, picture.image)
    if is_pickled:
        from safetensors.torch import load_file

        weights = release / "qlora_adaptor" / "adapter_model.safetensors"
        torch.save(load_file(weights), weights.with_name("adapter_model.bin"))
        weights.unlink()
    out = tmp_path / "out"
    run = mmtrain("import", release, out, "--language", tiny_phi, "--vision", clip)
    assert (run.code, run.out.strip()) == (0, str(out)), run.err
    assert len(set(expected)) > 3
    assert answer(out, picture) == expected


def test_the_parts_of_the_release_are_looked_up_on_the_hub(release, tmp_path):
    spec = checkpoint.read(import_release(release, tmp_path / "out", PHI, CLIP)).spec
    assert spec.language.weights.uri == "hf:microsoft/phi-2"
    assert spec.vision is not None
    assert (spec.vision.patches, spec.vision.image_size, spec.vision.final_norm) == (49, 224, False)


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_what_is_no_release_is_refused_and_no_pickle_is_run(release, tmp_path, capsys):
    torch.save({"weight": Evil()}, release / "ft_projection.pth")
    with pytest.raises(InputError, match="holds more than tensors"):
        import_release(release, tmp_path / "out", PHI, CLIP)
    assert "executed" not in capsys.readouterr().out
    torch.save({"weight": torch.zeros(2)}, release / "ft_projection.pth")
    with pytest.raises(InputError, match="not the state of a linear projector"):
        import_release(release, tmp_path / "out", PHI, CLIP)
    (release / "ft_projection.pth").unlink()
    with pytest.raises(InputError, match=r"ft_projection\.pth is missing"):
        import_release(release, tmp_path / "out", PHI, CLIP)
