"""Tokenizers in the metadata of a GGUF, for llama.cpp."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mmtui.errors import InputError
from mmtui.pipeline.gguf import vocabulary

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # llama.cpp's token types
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)


class RecordingWriter:
    """A GGUF writer that stores its arguments: `add_token_list` sets `token_list`."""

    def __init__(self) -> None:
        self.written: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return lambda value: self.written.update({name.removeprefix("add_"): value})


def split_by(pattern: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    return pre_tokenizers.Sequence([split, BYTES])


def write_metadata(
    folder: Path, before: pre_tokenizers.PreTokenizer, normalizer: Any = None, size: int = 8
) -> dict[str, Any]:
    """Save a tokenizer of six tokens, and return the metadata that is written for it."""
    tokenizer = Tokenizer(models.BPE({"a": 0, "b": 1, "c": 2, "ab": 3}, [("a", "b")]))
    tokenizer.pre_tokenizer = before
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.add_special_tokens(["<end>"])
    tokenizer.add_tokens([AddedToken("<tool>", special=False)])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    writer = RecordingWriter()
    vocabulary.write_tokenizer(writer, folder, size)
    return writer.written


def split_digits(individual: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=individual), BYTES])


@pytest.mark.parametrize(
    ("before", "name"),
    [
        (BYTES, "gpt-2"),
        (split_digits(True), "smollm"),
        (split_by(r"\p{L}+|\p{N}{1,3}|\s+"), "llama-bpe"),
        (split_by(r"\p{L}+|\p{N}|\s+"), "qwen2"),
    ],
    ids=["byte level", "digits", "Llama 3", "Qwen 2"],
)
def test_pre_tokenizers_have_llama_cpp_s_names(tmp_path, before, name):
    written = write_metadata(tmp_path, before)
    assert (written["tokenizer_model"], written["tokenizer_pre"]) == ("gpt2", name)


@pytest.mark.parametrize(
    ("before", "normalizer"),
    [
        (split_digits(False), None),
        (split_by(r"\w+"), None),
        (pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), BYTES]), None),
        (pre_tokenizers.Whitespace(), None),
        (BYTES, normalizers.Lowercase()),
    ],
    ids=["digits in groups", "another pattern", "punctuation", "whitespace", "lower case"],
)
def test_a_tokenizer_that_llama_cpp_does_not_support_is_left_out(tmp_path, before, normalizer):
    assert write_metadata(tmp_path, before, normalizer) == {"tokenizer_model": "none"}


def test_each_embedding_has_a_token_of_the_right_type(tmp_path):
    written = write_metadata(tmp_path, BYTES)
    assert written["token_list"] == ["a", "b", "c", "ab", "<end>", "<tool>", "[PAD6]", "[PAD7]"]
    assert written["token_types"] == [*[NORMAL] * 4, CONTROL, USER_DEFINED, UNUSED, UNUSED]
    assert written["token_merges"] == ["a b"] and written["eos_token_id"] == 4
    assert "bos_token_id" not in written and "chat_template" not in written


def test_tokens_without_an_embedding_are_left_out(tmp_path):
    assert write_metadata(tmp_path, BYTES, size=5)["token_list"] == ["a", "b", "c", "ab", "<end>"]


def test_the_tokenizer_of_another_family_is_not_read_from_a_gguf(tmp_path):
    with pytest.raises(InputError, match="SmolLM2"):
        vocabulary.restore_tokenizer({"tokenizer.ggml.pre": "llama-bpe"}, tmp_path)
    assert not list(tmp_path.iterdir())
