"""Examples -> batches: token sequences with image slots, targets, and patch features."""

import random
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmtrain.data import branches
from mmtrain.data.branches import Row
from mmtrain.data.examples import Content, Example
from mmtrain.data.features import FeatureStore, View
from mmtrain.data.fingerprint import Fingerprint, digest
from mmtui.errors import InputError
from mmtui.pipeline.prompt import IGNORE, ChatFormat, Role, Turn
from mmtui.pipeline.sequence import Position, positions
from mmtui.pipeline.vision.images import Picture, known

TEMPLATE = 64  # tokens that a chat template may put around a dialogue
NAMES = 160  # bytes that may name a picture
_OTHER = {"left": "right", "right": "left"}
# Not what is "right next to" something, "all right", or "left behind".
_SIDES = re.compile(
    r"(?<!all )(?<!that's )\b(left|right)(?=(?:most|wards?)?\b)(?! (?:next|now|away|behind|over|in"
    r" front|above|below|beside|under|after|before|at|there|here)\b)",
    re.IGNORECASE,
)


@dataclass
class Batch:
    """Rows of dialogues, padded on the right.

    `targets`, `branches`, `places` (batch, length): as those of a Row.
    `features` (pictures, patches, width): of the pictures `keys`.
    """

    sequences: list[list[Position]]
    targets: Tensor
    branches: Tensor
    places: Tensor
    features: Tensor
    keys: list[str]


class Dataset(Protocol):
    """What the loop asks of data. `lengths` are in any unit: they group batches."""

    lengths: list[int]

    def batch(self, indexes: list[int], step: int, /) -> Any: ...

    def names(self, indexes: list[int]) -> list[str]: ...

    def fingerprint(self) -> Fingerprint: ...


class Dialogues:
    """Examples as batches for a language model and its tower; `rows` are what an index names.

    `shape` is (patches, width). A dialogue longer than `limit` positions loses its last turns.
    Of several `views`, one is drawn for each row and step. Examples are rows of their own unless
    the language model `keeps_apart` what shares one.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        chat: ChatFormat,
        store: FeatureStore | None,
        shape: tuple[int, int],
        limit: int,
        views: Sequence[View] = ("plain",),
        *,
        keeps_apart: bool = False,
    ) -> None:
        def room(pictures: int) -> int:
            return limit - self._most(pictures) if keeps_apart else 0

        self._chat, self._store, self._shape, self._limit = chat, store, shape, limit
        self._views = views
        self.rows = branches.gathered(examples, room)
        self.lengths = [
            # Four bytes are about a token.
            sum(example.size // 4 + branches.BRANCH_TEMPLATE // 2 for example in row)
            + shape[0] * len(row[0].pictures)
            for row in self.rows
        ]

    @property
    def examples(self) -> list[Example]:
        return [example for row in self.rows for example in row]

    @property
    def pictures(self) -> list[Path]:
        return [picture for row in self.rows for picture in row[0].pictures]

    def drop(self, unusable: Collection[Path]) -> int:
        """Leave out the examples with such a picture; returns how many they are."""
        return self._keep(
            lambda example: not any(picture in unusable for picture in example.pictures)
        )

    def drop_untrainable(self) -> int:
        """Leave out what has no answer within the limit; returns how many they are.

        Most examples need no look.
        """

        def trainable(example: Example) -> bool:
            if example.size + self._most(len(example.pictures)) > self._limit:
                try:
                    self._dialogue(example, "plain")
                except InputError:
                    return False
            return True

        return self._keep(trainable)

    def _most(self, pictures: int) -> int:
        """Positions that pictures and the template may take."""
        return pictures * (self._shape[0] + NAMES) + TEMPLATE

    def _keep(self, usable: Callable[[Example], bool]) -> int:
        kept = [tuple(filter(usable, row)) for row in self.rows]
        dropped = sum(map(len, self.rows)) - sum(map(len, kept))
        self.lengths = [n for n, row in zip(self.lengths, kept, strict=True) if row]
        self.rows = [row for row in kept if row]
        return dropped

    def names(self, indexes: list[int]) -> list[str]:
        return [example.name for index in indexes for example in self.rows[index]]

    def fingerprint(self) -> Fingerprint:
        """Of the names, the texts and the pictures of all examples, which must be encoded."""
        examples = self.examples
        return {
            "examples": digest(example.name for example in examples),
            "texts": digest(
                [(role, *(p for p in content if isinstance(p, str))) for role, content in e.turns]
                for e in examples
            ),
            "pictures": digest([self._key(p) for p in e.pictures] for e in examples),
        }

    def _key(self, picture: Path) -> str:
        assert self._store is not None
        return self._store.key(picture)

    def batch(self, indexes: list[int], step: int = 0, /) -> Batch:
        self._encode(indexes)
        rows = [self._row(index, step) for index in indexes]
        keys = dict.fromkeys(
            part[0] for row in rows for part in row.positions if isinstance(part, tuple)
        )
        features = [self._store[key] for key in keys] if self._store else []
        return Batch(
            [row.positions for row in rows],
            _padded([row.targets for row in rows], IGNORE),
            _padded([row.branches for row in rows], 0),
            _padded([row.places for row in rows], 0),
            torch.stack(features) if features else torch.empty(0, *self._shape),
            list(keys),
        )

    def _encode(self, indexes: list[int]) -> None:
        """A dry run comes here before all images are encoded."""
        pictures = [picture for index in indexes for picture in self.rows[index][0].pictures]
        if pictures and self._store is not None:
            self._store.require(pictures, self._views)

    def _row(self, index: int, step: int) -> Row:
        view = random.Random(f"{step} {index}").choice(self._views)
        dialogues = [self._dialogue(example, view) for example in self.rows[index]]
        return branches.joined(dialogues, self._limit)

    def _dialogue(self, example: Example, view: View) -> tuple[list[Position], list[int]]:
        """A dialogue's positions and targets, both (length,)."""
        patches = self._shape[0]
        turns = turns_of(example.turns, self._store, view)
        while True:
            prompt, targets = self._chat.encode_dialogue(turns)
            opened = positions(prompt, patches)
            if len(opened) <= self._limit:
                break
            if len(turns) < 4:  # a system turn, a question, an answer: cut the answer
                opened = opened[: self._limit]
                break
            turns = turns[:-2]
        spread: list[int] = []
        for part, target in zip(prompt, targets, strict=True):
            spread += [target] if isinstance(part, int) else [IGNORE] * (patches - 1) + [target]
        spread = spread[: len(opened)]
        if all(target == IGNORE for target in spread):
            raise InputError(
                f"{example.name} has no trained token within {self._limit} tokens",
                "raise --max-length, or shorten its question",
            )
        return opened, spread


def _padded(rows: list[list[int]], value: int) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def _other_side(found: re.Match[str]) -> str:
    side, other = found[0], _OTHER[found[0].lower()]
    return other.upper() if side.isupper() else other.capitalize() if side[0].isupper() else other


def turns_of(
    dialogue: Sequence[tuple[Role, Content]], store: FeatureStore | None, view: View = "plain"
) -> list[Turn]:
    """A dialogue whose pictures are named by their keys in the store.

    Of mirrored pictures it is told with left for right.
    """
    exchanged = view == "mirrored" and any(isinstance(p, Path) for _, c in dialogue for p in c)

    def part(said: str | Path) -> str | Picture:
        if isinstance(said, str):
            return _SIDES.sub(_other_side, said) if exchanged else said
        assert store is not None
        key = store.key(said, view)
        return known(key, store.names(key))

    return [Turn(role, tuple(map(part, content))) for role, content in dialogue]
