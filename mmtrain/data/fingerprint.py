"""What a run's data was, in hashes: a resumed run must find the same."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

Fingerprint = dict[str, str]  # the SHA-256 of each aspect of a dataset


def digest(values: Iterable[Any]) -> str:
    """The SHA-256 of a sequence of JSON values, their order included."""
    hashed = hashlib.sha256()
    for value in values:
        hashed.update(json.dumps(value).encode() + b"\n")
    return hashed.hexdigest()


def describe_changes(part: str, before: Fingerprint, now: Fingerprint) -> list[str]:
    """The aspects that differ, each named for an error message; `part` is "training", say."""
    return [f"{part} {aspect}" for aspect in now if before.get(aspect) != now[aspect]]
