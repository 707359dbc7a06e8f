"""Cache the text in pictures on disk; all runs share the cache."""

import json
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

from mmtui import machine
from mmtui.errors import InputError
from mmtui.files import read_json
from mmtui.pipeline import input_files
from mmtui.pipeline.assets import fetch, hashes
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.reading.reader import READER_VERSION, TextReader

SHARD = 512  # pictures per file; an interruption loses the text of one file at most


_STEP = "reading the text in images"


class TextStore:
    """The text in pictures, by the SHA-256 of their files, in JSON files."""

    def __init__(self, report: Report) -> None:
        """Open the cache. `report` is called as pictures are read."""
        self._report = report
        self._folder = fetch.get_cache_folder() / "texts" / str(READER_VERSION)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._texts: dict[str, str] = {}
        self._opened: set[Path] = set()
        self._open_shards()

    def __getitem__(self, sha256: str) -> str:
        return self._texts[sha256]

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._texts

    def ensure(self, files: Mapping[str, Path]) -> None:
        """Read the pictures whose text is missing. Files that are not pictures have no text.

        Args:
            files: The files by the SHA-256 of their content.
        """
        if all(sha256 in self for sha256 in files):
            return
        self._open_shards()  # of other processes
        missing = [sha256 for sha256 in files if sha256 not in self]
        _ = self._reader  # loaded before several threads use it
        with ThreadPoolExecutor(machine.count_cores()) as pool:
            for start in range(0, len(missing), SHARD):
                keys = missing[start : start + SHARD]
                shard: dict[str, str] = {}
                texts = pool.map(self._read, [files[sha256] for sha256 in keys])
                for number, (sha256, text) in enumerate(zip(keys, texts, strict=True), start):
                    self._report(_STEP, number, len(missing))
                    if text is None:
                        self._texts[sha256] = ""
                    else:
                        shard[sha256] = text
                self._write(shard)
        self._report(_STEP, len(missing), len(missing))

    @cached_property
    def _reader(self) -> TextReader:
        return TextReader(threads=1)  # each thread of the pool reads a picture

    def _read(self, file: Path) -> str | None:
        """Return the text in a picture, or None if the file can't be read (it may be gone)."""
        try:
            return self._reader.read_for_prompt(input_files.read_picture(file).image)
        except InputError:  # reported when its features are computed
            return None

    def _write(self, shard: dict[str, str]) -> None:
        temporary = self._folder / f".{uuid.uuid4().hex}"
        try:
            temporary.write_text(json.dumps(shard), encoding="utf-8")
            temporary.rename(self._folder / f"{temporary.name[1:]}.json")
        finally:
            temporary.unlink(missing_ok=True)
        self._texts |= shard

    def _open_shards(self) -> None:
        for path in sorted(self._folder.glob("*.json")):
            if path in self._opened:
                continue
            try:
                self._texts |= read_json(path)
                self._opened.add(path)
            except (InputError, TypeError):
                path.unlink(missing_ok=True)  # cut off by a full disk or a crash: read again


def read_files(files: Sequence[Path], report: Report) -> dict[Path, str]:
    """Return the text in picture files as prompts have it, from the cache where it is there."""
    keys = hashes.get_many(files)
    store = TextStore(report)
    store.ensure({sha256: file for file, sha256 in keys.items()})
    return {file: store[sha256] for file, sha256 in keys.items()}
