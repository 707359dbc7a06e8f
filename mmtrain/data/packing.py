"""Documents of text as one memory-mapped file of tokens, read in blocks of equal length."""

import hashlib
import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmtrain.data import redpajama
from mmtrain.data.dataset import NO_VALIDATION_NOTE
from mmtrain.data.fingerprint import Fingerprint, file_stamps, hash_json
from mmtrain.data.skip_report import SkipReport
from mmtrain.data.tokenization import copy_without_special_tokens
from mmtui.errors import InputError
from mmtui.pipeline.assets import fetch
from mmtui.pipeline.assets.fetch import Report

DOCUMENTS_PER_BATCH = 512  # tokenized in parallel
CACHE_VERSION = 2  # raised when the same files and tokenizer give other tokens
VALIDATION_INTERVAL = 100  # one document of so many validates

TokenArray = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PackedTokens:
    """Token ids of all documents, with the end-of-text token after each document.

    Attributes:
        train: (tokens,) uint16, or uint32 for a vocabulary above 65,536; memory-mapped.
        validation: As `train`, of the documents that validate.
        documents: Number of training documents.
        notes: What was skipped while reading.
    """

    train: TokenArray
    validation: TokenArray
    documents: int
    notes: list[str]


class BlockDataset:
    """Consecutive blocks of tokens, which run across document boundaries.

    Args:
        tokens: (tokens,) token ids.
        size: Positions of a block. A block holds one more token: the label of its last position.
    """

    def __init__(self, tokens: TokenArray, size: int) -> None:
        self._tokens, self._size = tokens, size
        self.lengths = [size] * max((len(tokens) - 1) // size, 0)

    def batch(self, indexes: list[int], _step: int = 0, /) -> Tensor:
        """Return the blocks at `indexes`: (blocks, size + 1) int64."""
        size = self._size
        rows = [self._tokens[i * size : (i + 1) * size + 1].astype(np.int64) for i in indexes]
        return torch.from_numpy(np.stack(rows))

    def fingerprint(self) -> Fingerprint:
        """Return the hash of all tokens."""
        return {"tokens": hashlib.sha256(self._tokens.data).hexdigest()}

    def names(self, indexes: list[int]) -> list[str]:
        """Return where each block starts, for messages."""
        return [f"tokens {i * self._size:,} and on" for i in indexes]


def pack_documents(
    files: list[Path], validation_files: list[Path], tokenizer: Any, report: Report
) -> PackedTokens:
    """Tokenize documents, or load their tokens from the cache.

    Args:
        files: RedPajama text to train on.
        validation_files: RedPajama text to validate on. If empty, one document of
            VALIDATION_INTERVAL validates, chosen by its hash, and the first one too.
        tokenizer: A Hugging Face fast tokenizer.
        report: Called with the progress.

    Raises:
        InputError: A file can't be read, or there is no text to train on.
    """
    settings = tokenizer.backend_tokenizer.to_str()
    stamps = [file_stamps(files), file_stamps(validation_files)]
    folder = fetch.get_cache_folder() / "tokens" / hash_json([CACHE_VERSION, *stamps, settings])
    if not (folder / "facts.json").exists():
        size = sum(file.stat().st_size for file in files + validation_files)
        with fetch.workspace(f"tokens-{folder.name}", needed=2 * size) as work:
            if not (folder / "facts.json").exists():  # another process may have done it meanwhile
                _tokenize(files, validation_files, tokenizer, work, report)
                folder.parent.mkdir(parents=True, exist_ok=True)
                work.rename(folder)
    facts = json.loads((folder / "facts.json").read_bytes())
    train, validation = (
        _map_tokens(folder / f"{part}.bin", facts["dtype"]) for part in ("train", "held")
    )
    return PackedTokens(train, validation, facts["documents"], facts["notes"])


def _tokenize(
    files: list[Path], validation_files: list[Path], tokenizer: Any, work: Path, report: Report
) -> None:
    """Write train.bin, held.bin (the tokens that validate) and facts.json into `work`."""
    dtype = np.dtype("uint16" if len(tokenizer) <= 1 << 16 else "uint32")
    encoder, end = copy_without_special_tokens(tokenizer), tokenizer.eos_token_id
    skipped = SkipReport()
    counts = {"train": 0, "held": 0}
    sizes = {file: file.stat().st_size for file in files + validation_files}
    done, total = 0, sum(sizes.values())
    sources = [(file, False) for file in files] + [(file, True) for file in validation_files]
    with (work / "train.bin").open("wb") as train, (work / "held.bin").open("wb") as held:
        for path, is_validation in sources:
            report("tokenizing", done, total)
            done += sizes[path]
            documents = redpajama.iter_documents([path], skipped)
            while texts := list(islice(documents, DOCUMENTS_PER_BATCH)):
                # Runs in parallel: the tokenizer has a thread for each core.
                encoded = encoder.encode_batch_fast(texts, add_special_tokens=False)
                for text, encoding in zip(texts, encoded, strict=True):
                    is_first = not counts["held"] and not counts["train"]
                    is_chosen = not validation_files and (is_first or _is_validation(text))
                    validates = is_validation or is_chosen
                    part, file = ("held", held) if validates else ("train", train)
                    counts[part] += 1
                    file.write(np.array([*encoding.ids, end], dtype).tobytes())
    report("tokenizing", total, total)
    notes = skipped.notes("line")
    if not counts["train"] and counts["held"] and not validation_files:
        # The only document is trained on.
        (work / "held.bin").rename(work / "train.bin")
        (work / "held.bin").touch()
        counts = {"train": counts["held"], "held": 0}
    if not counts["train"]:
        raise InputError(
            f"{files[0]} contains no text to train on",
            "; ".join(notes) or 'each line must be JSON with a "text"',
        )
    if not counts["held"]:
        notes.append(NO_VALIDATION_NOTE)
    facts = {"dtype": dtype.name, "documents": counts["train"], "notes": notes}
    (work / "facts.json").write_text(json.dumps(facts))


def _is_validation(text: str) -> bool:
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:4]) % VALIDATION_INTERVAL == 0


def _map_tokens(path: Path, dtype: str) -> TokenArray:
    if not path.stat().st_size:  # an empty file can't be mapped
        return np.empty(0, dtype)
    return np.memmap(path, dtype, mode="r")
