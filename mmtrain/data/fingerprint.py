"""Hashes of data: by them a resumed run recognizes its data, and a cache its sources."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Fingerprint = dict[str, str]  # aspect of a dataset ("texts", "pictures") -> its SHA-256


def digest(values: Iterable[Any]) -> str:
    """Return the SHA-256 of a sequence of JSON values, their order included."""
    hashed = hashlib.sha256()
    for value in values:
        hashed.update(json.dumps(value).encode() + b"\n")
    return hashed.hexdigest()


def describe_changes(part: str, before: Fingerprint, now: Fingerprint) -> list[str]:
    """Return the names of the aspects that differ, such as "training texts".

    Args:
        part: What the fingerprints describe, such as "training".
        before: The fingerprint that a run stored.
        now: The fingerprint of the data as it is.
    """
    return [f"{part} {aspect}" for aspect in now if before.get(aspect) != now[aspect]]


def file_stamps(files: Iterable[Path]) -> list[list[Any]]:
    """Return the path, size and times of each file: what changes when its content does.

    Tools such as rsync restore st_mtime_ns, but cannot set st_ctime_ns.
    """
    stats = [(file, file.stat()) for file in files]
    return [[str(f.resolve()), s.st_size, s.st_mtime_ns, s.st_ctime_ns] for f, s in stats]


def hash_json(value: Any) -> str:
    """Return 32 hexadecimal digits that name a JSON value, for the key of a cache."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:32]
