"""What every reader of a data format returns: examples, split into training and validation."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mmtrain.data.fingerprint import Fingerprint
from mmtui.pipeline.prompt import Role

Content = tuple[str | Path, ...]
NO_VALIDATION_NOTE = (
    "there is too little data for a validation split; training runs without validation"
)
MAX_VALIDATION_KEYS = 2000

T = TypeVar("T")


class Dataset(Protocol):
    """The data of a stage, as the training loop reads it.

    Attributes:
        lengths: The length of each row, in any unit; rows of similar length form a batch.
    """

    lengths: list[int]

    def batch(self, indexes: list[int], step: int, /) -> Any:
        """Return the rows at `indexes` as one batch; `step` may decide how they are augmented."""

    def names(self, indexes: list[int]) -> list[str]:
        """Return the names of the examples in the rows at `indexes`, for messages."""

    def fingerprint(self) -> Fingerprint:
        """Return hashes of the content, by which a resumed run recognizes its data."""


@dataclass(frozen=True)
class Example:
    """A dialogue to train on.

    Attributes:
        name: Identifies the example in messages.
        turns: The role and the content of each turn; pictures are paths to image files.
    """

    name: str
    turns: tuple[tuple[Role, Content], ...]

    @property
    def pictures(self) -> list[Path]:
        """The image files of all turns, in order."""
        return [part for _, content in self.turns for part in content if isinstance(part, Path)]

    @property
    def text_bytes(self) -> int:
        """The size of the text in UTF-8, an upper bound of its tokens (about four bytes each)."""
        return sum(
            len(part.encode(errors="replace"))
            for _, content in self.turns
            for part in content
            if isinstance(part, str)
        )


@dataclass(frozen=True)
class Split:
    """Examples to train on and examples to validate on; no picture is in both.

    Attributes:
        notes: What was skipped while reading, one sentence for each reason.
    """

    train: list[Example]
    validation: list[Example]
    notes: list[str] = field(default_factory=list)

    def with_pictures(self) -> "Split":
        """Return the split without the examples that are only text."""
        train, validation = (
            [example for example in examples if example.pictures]
            for examples in (self.train, self.validation)
        )
        return Split(train, validation, self.notes)


def hold_out(items: Sequence[T], key: Callable[[T], str]) -> tuple[list[T], list[T]]:
    """Split items into training and validation by the hashes of their keys.

    A tenth of the keys validates, at most MAX_VALIDATION_KEYS. The split depends neither on the
    order of the items nor on a seed, and all items of one key are on the same side. Nothing
    validates if there is only one key.
    """

    def sha256(key: str) -> bytes:
        return hashlib.sha256(key.encode(errors="surrogatepass")).digest()

    keys = sorted({key(item) for item in items}, key=sha256)
    count = min(max(len(keys) // 10, 1), MAX_VALIDATION_KEYS) if len(keys) > 1 else 0
    validation_keys = set(keys[:count])
    return (
        [item for item in items if key(item) not in validation_keys],
        [item for item in items if key(item) in validation_keys],
    )


def merge_splits(splits: Iterable[Split]) -> Split:
    """Join splits; drop training examples with a picture that validates in any of them."""
    parts = list(splits)
    validation = [example for part in parts for example in part.validation]
    held_out = {picture.resolve() for example in validation for picture in example.pictures}
    train = [
        example
        for part in parts
        for example in part.train
        if held_out.isdisjoint(picture.resolve() for picture in example.pictures)
    ]
    return Split(train, validation, [note for part in parts for note in part.notes])
