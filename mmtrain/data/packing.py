"""Documents -> one memory-mapped file of tokens -> blocks that run across document ends."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmtrain.data import redpajama
from mmtrain.data.examples import NOTHING_HELD_OUT
from mmtrain.data.fingerprint import Fingerprint
from mmtrain.data.literal import literal_core
from mmtrain.data.skipped import Skipped
from mmtui.errors import InputError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.engines import torch_language

AT_ONCE = 512  # documents that are tokenized in parallel
VERSION = 2  # of what the cache holds for the same files and tokenizer
HELD_OUT = 100  # one document in so many validates
TRAINED_ON = 200_000_000  # characters that a tokenizer learns from


@dataclass(frozen=True)
class Packed:
    """Tokens of the training and of the held-out documents, with EOS after each document."""

    train: np.ndarray[Any, Any]
    validation: np.ndarray[Any, Any]
    documents: int
    notes: list[str]


class Blocks:
    """Blocks of `size` tokens and the one that follows each: (size + 1,) int64."""

    def __init__(self, tokens: "np.ndarray[Any, Any]", size: int) -> None:
        self._tokens, self._size = tokens, size
        self.lengths = [size] * max((len(tokens) - 1) // size, 0)

    def batch(self, indexes: list[int], _step: int = 0, /) -> Tensor:
        """(len(indexes), size + 1)"""
        size = self._size
        rows = [self._tokens[i * size : (i + 1) * size + 1].astype(np.int64) for i in indexes]
        return torch.from_numpy(np.stack(rows))

    def fingerprint(self) -> Fingerprint:
        return {"tokens": hashlib.sha256(self._tokens.data).hexdigest()}

    def names(self, indexes: list[int]) -> list[str]:
        return [f"tokens {i * self._size:,} and on" for i in indexes]


def pack(files: list[Path], held_out: list[Path], tokenizer: Any, report: Report) -> Packed:
    """Tokenize once; the result is kept in the cache, for these files and this tokenizer.

    `held_out` are the files that validate; if there is none, one document in HELD_OUT does,
    and the first, unless it is the only one.
    """
    settings = tokenizer.backend_tokenizer.to_str()
    stamps = [_stamps(files), _stamps(held_out)]
    place = fetch.cache_dir() / "tokens" / _digest([VERSION, *stamps, settings])
    if not (place / "facts.json").exists():
        size = sum(file.stat().st_size for file in files + held_out)
        with fetch.workspace(f"tokens-{place.name}", needed=2 * size) as work:
            if not (place / "facts.json").exists():  # another process may have been faster
                _tokenize(files, held_out, tokenizer, work, report)
                place.parent.mkdir(parents=True, exist_ok=True)
                work.rename(place)
    facts = json.loads((place / "facts.json").read_bytes())
    train, validation = (
        _mapped(place / f"{part}.bin", facts["dtype"]) for part in ("train", "held")
    )
    return Packed(train, validation, facts["documents"], facts["notes"])


def _tokenize(
    files: list[Path], held_out: list[Path], tokenizer: Any, work: Path, report: Report
) -> None:
    dtype = np.dtype("uint16" if len(tokenizer) <= 1 << 16 else "uint32")
    core, end = literal_core(tokenizer), tokenizer.eos_token_id
    skipped = Skipped()
    counts = {"train": 0, "held": 0}
    sizes = {file: file.stat().st_size for file in files + held_out}
    done, total = 0, sum(sizes.values())
    with (work / "train.bin").open("wb") as train, (work / "held.bin").open("wb") as held:
        for source, path in [(files, f) for f in files] + [(held_out, f) for f in held_out]:
            report("tokenizing", done, total)
            done += sizes[path]
            documents = redpajama.documents([path], skipped)
            while texts := list(islice(documents, AT_ONCE)):
                # In parallel: Rust threads, one for each core.
                encoded = core.encode_batch_fast(texts, add_special_tokens=False)
                for text, encoding in zip(texts, encoded, strict=True):
                    is_first = not counts["held"] and not counts["train"]
                    drawn = not held_out and (is_first or _is_drawn(text))
                    validates = source is held_out or drawn
                    part, file = ("held", held) if validates else ("train", train)
                    counts[part] += 1
                    file.write(np.array([*encoding.ids, end], dtype).tobytes())
    report("tokenizing", total, total)
    notes = skipped.notes("line")
    if not counts["train"] and counts["held"] and not held_out:
        (work / "held.bin").rename(work / "train.bin")
        (work / "held.bin").touch()
        counts = {"train": counts["held"], "held": 0}
    if not counts["train"]:
        raise InputError(
            f"{files[0]} holds no text to train on",
            "; ".join(notes) or 'each line must be JSON with a "text"',
        )
    if not counts["held"]:
        notes.append(NOTHING_HELD_OUT)
    facts = {"dtype": dtype.name, "documents": counts["train"], "notes": notes}
    (work / "facts.json").write_text(json.dumps(facts))


def _stamps(files: list[Path]) -> list[list[Any]]:
    """What changes when a file does: also its st_ctime_ns, as tools may restore st_mtime_ns."""
    stats = [(file, file.stat()) for file in files]
    return [[str(f.resolve()), s.st_size, s.st_mtime_ns, s.st_ctime_ns] for f, s in stats]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]


def _is_drawn(text: str) -> bool:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % HELD_OUT == 0


def _mapped(path: Path, dtype: str) -> "np.ndarray[Any, Any]":
    if not path.stat().st_size:
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r")


def learnt_tokenizer(files: list[Path], vocabulary: int, report: Report) -> Any:
    """A byte-level BPE tokenizer, as GPT-2's and Phi-2's, learnt on the documents once."""
    place = fetch.cache_dir() / "tokenizers" / _digest([_stamps(files), vocabulary])
    if not place.exists():
        with fetch.workspace(f"tokenizer-{place.name}", needed=0) as work:
            if not place.exists():  # another process may have been faster
                _learn(files, vocabulary, report).save_pretrained(work)
                place.parent.mkdir(parents=True, exist_ok=True)
                work.rename(place)
    return torch_language.tokenizer_in(place)


def _learn(files: list[Path], vocabulary: int, report: Report) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
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
    report(f"learning a tokenizer of {vocabulary:,} tokens", 0, 0)
    tokenizer.train_from_iterator(_first(redpajama.documents(files), TRAINED_ON), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, bos_token=end)


def _first(texts: Iterator[str], characters: int) -> Iterator[str]:
    for text in texts:
        yield text
        characters -= len(text)
        if characters < 0:
            return
