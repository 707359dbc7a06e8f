"""llama.cpp's engine against torch's, on the same weights."""

import dataclasses
import json
import os
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from conversations import NEW, encode_conversations, random_features
from safetensors.torch import save_file

from mmtui.errors import InputError
from mmtui.pipeline.assets.fetch import ignore_progress
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines import (
    llama_context,
    llama_language,
    prompt_lookup,
    torch_language,
)
from mmtui.pipeline.engines.llama_language import LlamaLanguage
from mmtui.pipeline.engines.llama_library import LlamaLibrary, find_packages, load_library
from mmtui.pipeline.engines.llamacpp_engine import LlamaEngine
from mmtui.pipeline.engines.sampling import GREEDY, Sampler, Sampling
from mmtui.pipeline.engines.torch_engine import TorchEngine
from mmtui.pipeline.gguf import conversion
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.reply import Reply

pytestmark = pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_phi"])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module", params=find_packages())
def library(request: pytest.FixtureRequest) -> LlamaLibrary:
    return load_library(request.param)


@pytest.fixture(scope="module")
def torch_model(folder: Path) -> torch_language.TorchLanguage:
    return torch_language.load(folder, precision="fp32")


@pytest.fixture(scope="module")
def model(folder: Path, library: LlamaLibrary) -> LlamaLanguage:
    return llama_language.load(folder, library, precision="fp32")


def generate(
    engine, sequence, features, count: int = NEW, sampling: Sampling = GREEDY
) -> list[int]:
    tokens = engine.stream(sequence, features, Sampler(sampling))
    return list(islice((token for token in tokens if token is not None), count))


@pytest.mark.parametrize("pictures", [0, 1, 3])
def test_greedy_tokens_equal_torch_s_cold_and_warm(model, torch_model, pictures):
    sequences = encode_conversations(model, pictures)
    # The tokenizer without transformers gives the same tokens.
    assert sequences == encode_conversations(torch_model, pictures)
    features = random_features(sequences, model.hidden_size)
    warm = LlamaEngine(model)
    seen = set()
    for sequence in sequences:
        expected = generate(TorchEngine(torch_model), sequence, features)
        assert generate(LlamaEngine(model), sequence, features) == expected
        assert generate(warm, sequence, features) == expected
        assert warm.count_cached(sequence) == len(sequence)
        assert generate(warm, sequence, features) == expected
        seen.add(tuple(expected))
    assert len(seen) > 10  # the prompts do matter


def test_the_model_is_described_as_torch_does(model, torch_model):
    for name in ("hidden_size", "context_length", "stop_ids"):
        assert getattr(model, name) == getattr(torch_model, name)


def test_a_second_turn_prefills_only_what_is_new(model):
    first = encode_conversations(model, 3)[4]
    features = random_features([first], model.hidden_size)
    engine = LlamaEngine(model)
    answer = generate(engine, first, features)
    second = [*first, *answer, 5, 6, 7]
    assert engine.count_cached(second) >= len(first) + NEW - 1
    assert generate(engine, second, features) == generate(LlamaEngine(model), second, features)


def test_another_picture_in_the_same_place_is_not_taken_from_the_cache(model):
    first = [7] * 64 + encode_conversations(model, 1)[0]
    other = [p if isinstance(p, int) else ("other", p[1]) for p in first]
    features = random_features([first, other], model.hidden_size)
    engine = LlamaEngine(model)
    generate(engine, first, features)
    slot = next(i for i, p in enumerate(first) if not isinstance(p, int))
    assert engine.count_cached(other) == slot
    assert generate(engine, other, features) == generate(LlamaEngine(model), other, features)


def test_a_prompt_that_comes_again_has_the_same_logits_to_the_last_bit(model):
    """Else the same seed would give another answer."""
    sequence, other = encode_conversations(model, 1)[1], encode_conversations(model, 0)[7]
    features = random_features([sequence], model.hidden_size)
    engine = LlamaEngine(model)

    def logits() -> list[np.ndarray]:
        seen: list[np.ndarray] = []
        tokens = engine.stream(sequence, features, lambda x: seen.append(x.copy()) or x.argmax(-1))
        list(islice(tokens, 8))
        return seen

    first = logits()
    assert np.array_equal(logits(), first)
    generate(engine, other, {})
    assert np.array_equal(logits(), first)


def test_a_prompt_read_in_pieces_is_the_same_and_may_be_left_between_them(model):
    sequence = encode_conversations(model, 3)[5]
    features = random_features([sequence], model.hidden_size)
    expected = generate(LlamaEngine(model), sequence, features)
    engine = LlamaEngine(dataclasses.replace(model, chunk=7))
    stream = engine.stream(sequence, features, Sampler(GREEDY))
    assert [next(stream) for _ in range(3)] == [None] * 3
    stream.close()
    assert engine.count_cached(sequence) == 21
    assert generate(engine, sequence, features) == expected


def test_a_cache_that_grows_keeps_what_it_holds(model, monkeypatch):
    sequence = encode_conversations(model, 1)[3]
    features = random_features([sequence], model.hidden_size)
    whole = generate(LlamaEngine(model), sequence, features, 300)
    monkeypatch.setattr(llama_context, "FIRST_CONTEXT", 32)
    assert generate(LlamaEngine(model), sequence, features, 300) == whole


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(0.4, seed=3), Sampling(1.5, seed=4)])
def test_drafts_change_nothing_but_the_number_of_batches(model, monkeypatch, sampling):
    """Here drafts are right, wrong at their third token, or none at all, in turns."""
    sequence = encode_conversations(model, 1)[2]
    features = random_features([sequence], model.hidden_size)
    monkeypatch.setattr(prompt_lookup.PromptLookup, "draft", lambda _: [])
    alone = generate(LlamaEngine(model), sequence, features, 120, sampling)

    def foreseen(self: prompt_lookup.PromptLookup) -> list[int]:
        at = len(self._positions) - len(sequence)
        draft = alone[at : at + 6] if at % 3 else []
        if at % 2 and len(draft) > 2:
            draft[2] = (draft[2] + 1) % 320
        return draft

    monkeypatch.setattr(prompt_lookup.PromptLookup, "draft", foreseen)
    engine, feed, fed = LlamaEngine(model), LlamaEngine._feed, []

    def counted(self, new, *rest, **named):
        fed.append(len(new))
        return feed(self, new, *rest, **named)

    monkeypatch.setattr(LlamaEngine, "_feed", counted)
    assert generate(engine, sequence, features, 100, sampling) == alone[:100]
    assert len(fed) < 60
    assert engine.count_cached([*sequence, *alone]) >= len(sequence) + 99


def test_what_was_there_before_is_foreseen_as_far_as_it_agreed():
    conversation = [*range(10, 40), ("picture", 0), 99]
    assert prompt_lookup.PromptLookup([*conversation, 10, 11, 12]).draft() == []
    assert prompt_lookup.PromptLookup([*conversation, 10, 11, 12, 13]).draft() == [14, 15, 16, 17]
    assert prompt_lookup.PromptLookup([*conversation, *range(10, 20)]).draft() == list(
        range(20, 30)
    )
    assert prompt_lookup.PromptLookup([*conversation, *range(10, 39)]).draft() == [
        39
    ]  # no token stands for a patch
    assert prompt_lookup.PromptLookup([1, 2]).draft() == []


def test_adapters_are_merged_as_torch_merges_them(folder, tmp_path, cache, library):
    """In fp32; and the copy in the cache is that of this adapter."""
    adapter = lora(folder, tmp_path / "adapter", seed=1)
    expected = torch_language.load(folder, precision="fp32", adapter=adapter)
    model = llama_language.load(folder, library, precision="fp32", adapter=adapter)
    for sequence in encode_conversations(model, 0)[:6]:
        plain = generate(
            LlamaEngine(llama_language.load(folder, library, precision="fp32")), sequence, {}
        )
        assert generate(LlamaEngine(model), sequence, {}) == generate(
            TorchEngine(expected), sequence, {}
        )
        assert generate(LlamaEngine(model), sequence, {}) != plain
    one = conversion.to_gguf(folder, adapter, "fp32", ignore_progress)
    lora(folder, adapter, seed=2)
    assert conversion.to_gguf(folder, adapter, "fp32", ignore_progress).model != one.model


def lora(folder: Path, place: Path, seed: int) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), settings)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(place)
    return place


@pytest.mark.parametrize("precision", ["auto", "fp16", "bf16", "nf4"])
def test_quantized_weights_are_near(folder, torch_model, precision, library):
    """Logits of the same prompt, against those of fp32."""
    sequence = encode_conversations(torch_model, 0)[7]
    model = llama_language.load(folder, library, precision=precision)
    engine = LlamaEngine(model)
    exact: list[np.ndarray] = []
    near: list[np.ndarray] = []
    next(TorchEngine(torch_model).stream(sequence, {}, lambda x: exact.append(x) or x.argmax(-1)))
    next(engine.stream(sequence, {}, lambda x: near.append(x.copy()) or x.argmax(-1)))
    likeness = np.corrcoef(exact[0][0], near[0][0])[0, 1]
    assert likeness > {"auto": 0.99, "fp16": 0.9999, "bf16": 0.999, "nf4": 0.9}[precision]


def test_what_is_corrected_beside_the_weights_is_converted_anew(folder, tmp_path, cache):
    own = shutil.copytree(folder, tmp_path / "own")
    first = conversion.to_gguf(own, None, "auto", ignore_progress)
    (own / "chat_template.jinja").write_text("{{ messages }}")
    second = conversion.to_gguf(own, None, "auto", ignore_progress)
    assert second.model != first.model
    assert (second.folder / "chat_template.jinja").read_text() == "{{ messages }}"


def test_a_conversion_that_nobody_used_for_long_is_removed(folder, tmp_path, cache):
    first, second = (
        conversion.to_gguf(folder, None, precision, ignore_progress)
        for precision in ("auto", "fp32")
    )
    for found in (first, second):
        os.utime(found.folder / "manifest.json", (0, 0))
    conversion.to_gguf(folder, None, "auto", ignore_progress)  # used again
    conversion.to_gguf(folder, None, "fp16", ignore_progress)
    assert first.model.exists() and not second.folder.exists()


def test_a_merged_gguf_is_of_the_precision_that_is_asked_for(folder, tmp_path, cache, library):
    adapter = lora(folder, tmp_path / "adapter", seed=1)
    own = tmp_path / "own"
    own.mkdir()
    shutil.copy(conversion.to_gguf(folder, None, "fp32", ignore_progress).model, own / "model.gguf")
    conversion.copy_tokenizer(folder, own)
    expected = llama_language.load(folder, library, precision="fp32", adapter=adapter)
    merged = llama_language.load(own, library, precision="fp32", adapter=adapter)
    for sequence in encode_conversations(merged, 0)[:3]:
        assert generate(LlamaEngine(merged), sequence, {}) == generate(
            LlamaEngine(expected), sequence, {}
        )


def test_models_that_llama_cpp_can_t_have_are_reported(folder, tmp_path, cache, library):
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    config = json.loads((other / "config.json").read_bytes())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    with pytest.raises(InputError, match="its type is mamba"):
        llama_language.load(other, library)
    assert conversion.get_unsupported_reason(other, None)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1000))
    shutil.copy(folder / "tokenizer.json", tmp_path)
    with pytest.raises(InputError, match=r"can't load .*broken\.gguf"):
        llama_language.load(broken, library)


def test_nothing_of_its_log_reaches_a_screen(folder, capfd, library):
    engine = LlamaEngine(llama_language.load(folder, library))
    generate(engine, [1, 2, 3], {})
    assert capfd.readouterr() == ("", "")


def reply(assistant: Assistant, *turns: Turn, **options) -> Reply:
    *_, last = assistant.reply(turns, **options)
    return last


def test_a_conversation_about_a_picture_is_the_same_with_both_engines(tiny, picture):
    ours, theirs = Assistant(tiny, engine="llamacpp"), Assistant(tiny, engine="torch")
    asked = [Turn("user", (picture, "What is this?"))]
    first = reply(ours, *asked, max_tokens=9)
    assert first.text == reply(theirs, *asked, max_tokens=9).text
    asked += [Turn("assistant", (first.text,)), Turn("user", ("And its colour?",))]
    second = reply(ours, *asked, max_tokens=9)
    assert second.text == reply(theirs, *asked, max_tokens=9).text
    assert second.cached_tokens >= first.prompt_tokens
    stopped = reply(ours, *asked, max_tokens=9, is_cancelled=lambda: True)
    assert (stopped.stop_reason, stopped.text) == ("cancelled", "")


def test_smol_answers_alike_with_both_engines(smol):
    """Its adapter merged into 8 bits, against bf16."""
    ours, theirs = Assistant(smol, engine="llamacpp"), Assistant(smol, engine="torch")
    for question in ("What is the capital of France?", "What is the boiling point of water?"):
        asked = Turn("user", (question,))
        assert reply(ours, asked, max_tokens=9).text == reply(theirs, asked, max_tokens=9).text


def test_auto_takes_llama_cpp_on_a_cpu_for_what_it_can_have(tiny, folder, tmp_path, monkeypatch):
    from mmtui.pipeline.engines import selection

    monkeypatch.setattr(selection, "has_gpu", lambda: False)
    assert Assistant(tiny).engine == "llamacpp"
    odd = tmp_path / "adapter"
    odd.mkdir()
    settings = {"peft_type": "LORA", "r": 1, "lora_alpha": 1}
    pair = ["x.lora_A.weight", "x.lora_B.weight"]
    cases = ((settings | {"use_dora": True}, pair), (settings, ["x.lora_embedding_A"]))
    for config, names in cases:
        (odd / "adapter_config.json").write_text(json.dumps(config))
        save_file({name: torch.ones(1, 1) for name in names}, odd / "adapter_model.safetensors")
        assert Assistant(dataclasses.replace(tiny, adapter=odd)).engine == "torch"
    monkeypatch.setattr(selection, "has_gpu", lambda: True)
    assert Assistant(tiny).engine == "torch"
