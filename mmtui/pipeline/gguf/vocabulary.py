"""Conversion of tokenizers between Hugging Face's layout and the metadata of a GGUF."""

import json
from pathlib import Path
from typing import Any

from mmtui.errors import InputError
from mmtui.pipeline.tokenizer import Tokenizer

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5  # token types of llama.cpp
# Parts of the patterns that split text: Llama 3 splits numbers after 3 digits, Qwen 2 after each.
_LLAMA_3_PATTERN = r"\p{N}{1,3}"
_QWEN_2_PATTERN = r"|\p{N}|"


def write_tokenizer(writer: Any, folder: Path, size: int) -> None:
    """Write a tokenizer to the metadata of a GGUF.

    llama.cpp has a fixed list of pre-tokenizers. A tokenizer with another one is left out, because
    other programs would split text wrongly; mmtui reads the tokenizer files beside the GGUF.

    Args:
        writer: A `gguf.GGUFWriter`.
        folder: The tokenizer in Hugging Face's layout.
        size: The number of input embeddings; unused ones are named [PAD0], [PAD1], ...
    """
    tokenizer = Tokenizer(folder)
    stored = json.loads(tokenizer.backend_tokenizer.to_str())
    pre = _find_pre_tokenizer(stored)
    if pre is None:
        writer.add_tokenizer_model("none")
        return
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    vocabulary = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=True)
    tokens = [f"[PAD{index}]" for index in range(size)]
    types = [_UNUSED] * size
    added = tokenizer.added_tokens_decoder
    for token, index in vocabulary.items():
        if index < size:
            tokens[index], types[index] = token, _NORMAL
            if index in added:
                types[index] = _CONTROL if added[index].special else _USER_DEFINED
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    merges = stored["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
    if tokenizer.eos_token_id is not None:
        writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(tokenizer("").input_ids == [tokenizer.bos_token_id])
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _find_pre_tokenizer(stored: dict[str, Any]) -> str | None:
    """Return llama.cpp's name of a pre-tokenizer of byte-level BPE; None if it has none.

    Args:
        stored: The content of tokenizer.json.
    """
    before = stored.get("pre_tokenizer") or {}
    steps = before.get("pretokenizers", [before])
    kinds = [step.get("type") for step in steps]
    if stored["model"]["type"] != "BPE" or "ByteLevel" not in kinds or stored.get("normalizer"):
        return None
    if kinds == ["ByteLevel"]:
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"]:
        return "smollm" if steps[0].get("individual_digits") else None
    if kinds == ["Split", "ByteLevel"]:
        pattern = str(steps[0].get("pattern", {}).get("Regex"))
        if _LLAMA_3_PATTERN in pattern:
            return "llama-bpe"
        if _QWEN_2_PATTERN in pattern:
            return "qwen2"
    return None


def restore_tokenizer(metadata: dict[str, Any], folder: Path) -> None:
    """Write the tokenizer of a GGUF of the SmolLM2 family in Hugging Face's layout.

    It is byte-level BPE; llama.cpp's pre-tokenizer `smollm` splits single digits, then like GPT-2.

    Args:
        metadata: The metadata of the GGUF.
        folder: The folder to write to.

    Raises:
        InputError: The GGUF is of another family.
    """
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Core

    if metadata.get("tokenizer.ggml.pre") != "smollm":
        raise InputError("only the tokenizer of the SmolLM2 family is read from a GGUF")
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in metadata["tokenizer.ggml.merges"]]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Core(models.BPE(vocabulary, merges, fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = metadata["tokenizer.ggml.token_type"]
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, kinds, strict=True)
            if kind == _CONTROL
        ]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[metadata["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[metadata["tokenizer.ggml.eos_token_id"]],
        "pad_token": tokens[metadata["tokenizer.ggml.padding_token_id"]],
        "chat_template": metadata["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
