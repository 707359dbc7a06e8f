"""Tokenizers for text as data: special tokens in documents stay text, and training a new one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from mmtrain.data import redpajama
from mmtrain.data.fingerprint import file_stamps, hash_json
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.engines import torch_language

MAX_TRAINING_CHARACTERS = 200_000_000


def copy_without_special_tokens(tokenizer: Any) -> Tokenizer:
    """Return a copy of a tokenizer's backend that never reads special tokens from text.

    "<|endoftext|>" in a document about tokenizers becomes the tokens of its characters. The copy
    neither truncates nor pads.
    """
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return backend


def train_tokenizer(files: list[Path], vocabulary: int, report: Report) -> Any:
    """Train a byte-level BPE tokenizer, as GPT-2's and Phi-2's, or load it from the cache.

    Args:
        files: RedPajama text; the first MAX_TRAINING_CHARACTERS are used.
        vocabulary: Number of tokens, <|endoftext|> included.
        report: Called with the progress.
    """
    folder = fetch.get_cache_folder() / "tokenizers" / hash_json([file_stamps(files), vocabulary])
    if not folder.exists():
        with fetch.workspace(f"tokenizer-{folder.name}", needed=0) as work:
            if not folder.exists():  # another process may have trained it meanwhile
                _train(files, vocabulary, report).save_pretrained(work)
                folder.parent.mkdir(parents=True, exist_ok=True)
                work.rename(folder)
    return torch_language.load_tokenizer(folder)


def _train(files: list[Path], vocabulary: int, report: Report) -> Any:
    from tokenizers import decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    end = "<|endoftext|>"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[end],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    report(f"training a tokenizer of {vocabulary:,} tokens", 0, 0)
    texts = _limit_characters(redpajama.iter_documents(files), MAX_TRAINING_CHARACTERS)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, bos_token=end)


def _limit_characters(texts: Iterator[str], characters: int) -> Iterator[str]:
    for text in texts:
        yield text
        characters -= len(text)
        if characters < 0:
            return
