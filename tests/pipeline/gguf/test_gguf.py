"""Conversion of a GGUF for torch, compared with that of transformers."""

import errno
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mmtui.errors import InputError
from mmtui.pipeline.assets import fetch, hashes
from mmtui.pipeline.engines.loading import fetch_for_torch
from mmtui.pipeline.gguf import to_huggingface


@pytest.fixture(scope="module")
def source(smol) -> Path:
    return fetch.locate(smol.spec.language.weights)


@pytest.fixture(scope="module")
def converted(smol) -> Path:
    return fetch_for_torch(smol.spec.language.weights)


def test_converted_weights_equal_those_that_transformers_reads(source, converted):
    ours = AutoModelForCausalLM.from_pretrained(converted, dtype=torch.bfloat16)
    theirs = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.bfloat16
    )
    expected = theirs.state_dict()
    state = ours.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    for name in ("rope_theta", "rms_norm_eps", "max_position_embeddings", "tie_word_embeddings"):
        assert getattr(ours.config, name) == getattr(theirs.config, name)


def test_the_restored_tokenizer_splits_digits_and_decodes_every_text(converted):
    tokenizer = AutoTokenizer.from_pretrained(converted)
    for text in ("Call 12345  or\n\n 9!", "naïve 日本 😀 ▁ \t x"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    # llama.cpp's pre-tokenizer `smollm`: each digit is a token without the space before it.
    words = [tokenizer.decode(token) for token in tokenizer("in  2024").input_ids]
    assert words == ["in", "  ", "2", "0", "2", "4"]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    assert "named SmolLM" in tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False
    )


def read_only(path: Path) -> None:
    raise OSError(errno.EROFS, "Read-only file system", str(path))


def test_only_a_damaged_conversion_is_repeated(source, cache, monkeypatch):
    digest = "0" * 64
    folder = to_huggingface.convert(source, digest)
    weights = folder / "model.safetensors"
    good = hashes.compute(weights)
    with weights.open("r+b") as file:
        file.seek(200_000_000)
        file.write(b"damage")
    assert to_huggingface.convert(source, digest) == folder
    assert hashes.compute(weights) == good

    before = weights.stat().st_mtime_ns
    to_huggingface.convert(source, digest)
    assert weights.stat().st_mtime_ns == before  # not converted again
    monkeypatch.setattr(Path, "touch", read_only)
    assert to_huggingface.convert(source, digest) == folder
    assert not any((cache / "work").glob("*/"))


def test_a_file_that_is_not_a_gguf_is_refused(tmp_path, cache):
    fake = tmp_path / "x.gguf"
    fake.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(InputError, match="GGUF"):
        to_huggingface.convert(fake, "1" * 64)
