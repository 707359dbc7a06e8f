"""A training example, whatever format it came in, and the split by image."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mmtui.pipeline.prompt import Role

Content = tuple[str | Path, ...]
NOTHING_HELD_OUT = "there is too little data to hold any out: training goes without validation"


@dataclass(frozen=True)
class Example:
    """A dialogue: who said what, with pictures by their files. `name` is for messages."""

    name: str
    turns: tuple[tuple[Role, Content], ...]

    @property
    def pictures(self) -> list[Path]:
        return [part for _, content in self.turns for part in content if isinstance(part, Path)]

    @property
    def size(self) -> int:
        """Bytes without pictures: a token takes one at least, and about four."""
        return sum(
            len(part.encode(errors="replace"))
            for _, content in self.turns
            for part in content
            if isinstance(part, str)
        )


@dataclass(frozen=True)
class Split:
    """What is trained on and what only validates; no picture is in both.

    `notes` tell what was left out, once and by count.
    """

    train: list[Example]
    validation: list[Example]
    notes: list[str] = field(default_factory=list)

    def with_pictures(self) -> "Split":
        train, validation = (
            [example for example in part if example.pictures]
            for part in (self.train, self.validation)
        )
        return Split(train, validation, self.notes)


T = TypeVar("T")


def hold_out(items: Sequence[T], key: Callable[[T], str]) -> tuple[list[T], list[T]]:
    """Train and validation: a tenth of the keys (2000 at most), chosen by their hashes.

    The choice does not depend on the order of the items or on chance; each key is in one part.
    A single key is trained on: nothing validates.
    """

    def chance(key: str) -> bytes:
        return hashlib.sha256(key.encode(errors="surrogatepass")).digest()

    keys = sorted({key(item) for item in items}, key=chance)
    held = set(keys[: min(max(len(keys) // 10, 1), 2000)]) if len(keys) > 1 else set()
    return (
        [item for item in items if key(item) not in held],
        [item for item in items if key(item) in held],
    )


def merge(splits: Iterable[Split]) -> Split:
    """All of them; what has a picture that validates anywhere is not trained on."""
    parts = list(splits)
    validation = [example for part in parts for example in part.validation]
    held = {picture.resolve() for example in validation for picture in example.pictures}
    train = [
        example
        for part in parts
        for example in part.train
        if held.isdisjoint(picture.resolve() for picture in example.pictures)
    ]
    return Split(train, validation, [note for part in parts for note in part.notes])
