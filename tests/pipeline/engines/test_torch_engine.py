"""Parity with transformers' own `generate`, and what the kept cache saves."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from conversations import NEW, encode_conversations, random_features, to_tensors

from mmtui.errors import MmtuiError
from mmtui.pipeline.engines import torch_engine as engine_module
from mmtui.pipeline.engines import torch_language
from mmtui.pipeline.engines.sampling import GREEDY, Sampler, Sampling
from mmtui.pipeline.engines.torch_engine import TorchEngine
from mmtui.pipeline.multimodal import embed


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_phi"])
def model(request: pytest.FixtureRequest) -> torch_language.TorchLanguage:
    folder: Path = request.getfixturevalue(request.param)
    return torch_language.load(folder, precision="fp32")


def reference(model: torch_language.TorchLanguage, sequence, features) -> list[int]:
    """Greedy tokens of transformers, from embeddings put together by hand."""
    tensors = to_tensors(features)
    rows = [
        model.embedding(torch.tensor(part)) if isinstance(part, int) else tensors[part[0]][part[1]]
        for part in sequence
    ]
    inputs = torch.stack(rows)[None]
    mask = torch.ones(inputs.shape[:2], dtype=torch.long)
    ids = model.model.generate(
        inputs_embeds=inputs,
        attention_mask=mask,
        max_new_tokens=NEW,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return ids[0].tolist()


def generate(engine: TorchEngine, sequence, features, count: int = NEW) -> list[int]:
    tokens = engine.stream(sequence, features, Sampler(GREEDY))
    generated = (token for token in tokens if token is not None)  # None: between pieces of a prompt
    return list(islice(generated, count))


@pytest.mark.parametrize("pictures", [0, 1, 3])
def test_greedy_tokens_equal_generate_cold_warm_and_batched(model, pictures):
    sequences = encode_conversations(model, pictures)
    features = random_features(sequences, model.hidden_size)
    expected = [reference(model, sequence, features) for sequence in sequences]
    assert len({tuple(tokens) for tokens in expected}) > 10  # the prompts do matter

    assert [generate(TorchEngine(model), s, features) for s in sequences] == expected

    warm = TorchEngine(model)
    for sequence, tokens in zip(sequences, expected, strict=True):
        assert generate(warm, sequence, features) == tokens
        assert warm.count_cached(sequence) == len(sequence)
        assert generate(warm, sequence, features) == tokens

    engine = TorchEngine(model)
    batched = []
    for start in range(0, 20, 4):
        batch = sequences[start : start + 4]
        batched += engine.generate(batch, to_tensors(features), Sampler(GREEDY), NEW, frozenset())
    assert batched == expected
    one = engine.generate(sequences[:1], to_tensors(features), Sampler(GREEDY), NEW, frozenset())
    assert one == expected[:1]


@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_of_a_batch_agree_with_single_hand_made_forwards(model, side):
    sequences = [s for n in (0, 1, 3) for s in encode_conversations(model, n)[n : n + 2]]
    features = to_tensors(random_features(sequences, model.hidden_size))
    inputs, mask = embed(sequences, model.embedding, features, side=side)
    at = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.inference_mode():
        batch = model.model(inputs_embeds=inputs, attention_mask=mask, position_ids=at).logits
    for row, sequence in enumerate(sequences):
        rows = [
            model.embedding.weight[p] if isinstance(p, int) else features[p[0]][p[1]]
            for p in sequence
        ]
        with torch.inference_mode():
            alone = model.model(inputs_embeds=torch.stack(rows)[None]).logits[0]
        here = batch[row][mask[row].bool()]
        torch.testing.assert_close(here, alone, atol=1e-5, rtol=1e-5)


def test_a_second_turn_prefills_only_what_is_new(model):
    first = encode_conversations(model, 3)[4]
    features = random_features([first], model.hidden_size)
    engine = TorchEngine(model)
    answer = generate(engine, first, features)
    second = [*first, *answer, 5, 6, 7]
    # The last token was given out but not fed: nobody asked for what follows it.
    assert engine.count_cached(second) == len(first) + NEW - 1
    assert generate(engine, second, features) == generate(TorchEngine(model), second, features)


def test_another_picture_in_the_same_place_is_not_taken_from_the_cache(model):
    first = [7] * 64 + encode_conversations(model, 1)[0]
    other = [p if isinstance(p, int) else ("other", p[1]) for p in first]
    features = random_features([first, other], model.hidden_size)
    engine = TorchEngine(model)
    generate(engine, first, features)
    slot = next(i for i, p in enumerate(first) if not isinstance(p, int))
    assert engine.count_cached(other) == slot
    assert generate(engine, other, features) == generate(TorchEngine(model), other, features)


def test_a_prompt_that_comes_again_has_the_same_logits_to_the_last_bit(model):
    """Else the same seed would give another answer."""
    sequence, other = encode_conversations(model, 1)[1], encode_conversations(model, 0)[7]
    features = random_features([sequence], model.hidden_size)
    engine = TorchEngine(model)

    def logits() -> list[np.ndarray]:
        seen: list[np.ndarray] = []
        tokens = engine.stream(sequence, features, lambda x: seen.append(x.copy()) or x.argmax(-1))
        list(islice(tokens, 8))
        return seen

    first = logits()
    assert np.array_equal(logits(), first)
    generate(engine, other, {})
    assert np.array_equal(logits(), first)


def test_a_prompt_read_in_pieces_is_the_same_prompt_and_may_be_left_between_them(
    model, monkeypatch
):
    sequence = encode_conversations(model, 3)[5]
    features = random_features([sequence], model.hidden_size)
    expected = reference(model, sequence, features)
    monkeypatch.setattr(engine_module, "PREFILL_CHUNK", 7)
    engine = TorchEngine(model)
    assert generate(engine, sequence, features) == expected

    engine = TorchEngine(model)
    stream = engine.stream(sequence, features, Sampler(GREEDY))
    assert [next(stream) for _ in range(3)] == [None] * 3
    stream.close()
    assert engine.count_cached(sequence) == 21
    assert generate(engine, sequence, features) == expected


def test_models_that_forget_are_refused():
    """A recurrent model ignores the cache that it is given: its answers would be garbage."""
    from transformers import MambaConfig, MambaForCausalLM

    mamba = MambaForCausalLM(
        MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, state_size=4)
    ).eval()
    forgetful = torch_language.TorchLanguage(mamba, None, "fp32", frozenset())
    with pytest.raises(MmtuiError, match="type mamba are not supported"):
        next(TorchEngine(forgetful).stream([1, 2, 3], {}, Sampler(GREEDY)))


def test_an_abandoned_stream_leaves_a_cache_that_is_right(model):
    sequence = encode_conversations(model, 1)[3]
    features = random_features([sequence], model.hidden_size)
    engine = TorchEngine(model)
    stream = engine.stream(sequence, features, Sampler(GREEDY))
    next(stream)
    stream.close()
    assert generate(engine, sequence, features) == reference(model, sequence, features)


def test_generate_stops_each_row_at_its_own_stop_token(model):
    sequences = encode_conversations(model, 0)[:4]
    whole = [reference(model, sequence, {}) for sequence in sequences]
    stop = whole[1][5]
    expected = [t[: t.index(stop)] if stop in t else t for t in whole]
    got = TorchEngine(model).generate(sequences, {}, Sampler(GREEDY), NEW, frozenset({stop}))
    assert got == expected
    assert len({len(tokens) for tokens in got}) > 1


def test_a_seed_makes_sampling_repeatable(model):
    sequence = encode_conversations(model, 0)[0]
    engine = TorchEngine(model)

    def sampled(seed: int) -> list[int]:
        stream = engine.stream(sequence, {}, Sampler(Sampling(temperature=2.0, seed=seed)))
        return [next(stream) for _ in range(NEW)]

    assert sampled(3) == sampled(3)
    assert sampled(3) != sampled(4)
