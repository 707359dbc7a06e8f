"""Examples -> batches: token sequences with image slots, targets, and patch features."""

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmtrain.data.examples import Content, Example
from mmtrain.data.features import FeatureStore, View
from mmtui.errors import InputError
from mmtui.pipeline.images import Picture, known
from mmtui.pipeline.prompt import IGNORE, ChatFormat, Role, Turn
from mmtui.pipeline.sequence import Position, positions

TEMPLATE = 64  # tokens that a chat template may put around a dialogue
NAMES = 160  # characters that may name a picture


@dataclass
class Batch:
    """Dialogues, padded on the right.

    `targets` (batch, length): the token to predict after each position, or IGNORE.
    `features` (pictures, patches, width): of the pictures `keys`.
    """

    sequences: list[list[Position]]
    targets: Tensor
    features: Tensor
    keys: list[str]


class Dataset(Protocol):
    """What the loop asks of data. `lengths` are in any unit: they group batches."""

    lengths: list[int]

    def batch(self, indexes: list[int], step: int, /) -> Any: ...

    def names(self, indexes: list[int]) -> list[str]: ...


class Dialogues:
    """Examples as batches for a language model and its tower.

    `shape` is (patches, width). A dialogue longer than `limit` positions loses its last turns.
    Of several `views`, one is drawn for each example and step.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        chat: ChatFormat,
        store: FeatureStore | None,
        shape: tuple[int, int],
        limit: int,
        views: Sequence[View] = ("plain",),
    ) -> None:
        self.examples = list(examples)
        self._chat, self._store, self._shape, self._limit = chat, store, shape, limit
        self._views = views
        patches = shape[0]
        # Four characters are about a token.
        self.lengths = [e.characters // 4 + patches * len(e.pictures) for e in examples]

    @property
    def pictures(self) -> list[Path]:
        return [picture for example in self.examples for picture in example.pictures]

    def drop(self, unusable: Collection[Path]) -> int:
        """Leave out the examples with such a picture; returns how many they are."""
        return self._keep(
            [
                index
                for index, example in enumerate(self.examples)
                if not any(picture in unusable for picture in example.pictures)
            ]
        )

    def drop_untrainable(self) -> int:
        """Leave out what has no answer within the limit; returns how many they are.

        A token is a character at least, so that most examples need no look.
        """
        kept = []
        for index, example in enumerate(self.examples):
            picture = self._shape[0] + NAMES
            most = example.characters + picture * len(example.pictures) + TEMPLATE
            if most > self._limit:
                try:
                    self._row(example, "plain")
                except InputError:
                    continue
            kept.append(index)
        return self._keep(kept)

    def _keep(self, indexes: list[int]) -> int:
        dropped = len(self.examples) - len(indexes)
        self.examples = [self.examples[index] for index in indexes]
        self.lengths = [self.lengths[index] for index in indexes]
        return dropped

    def names(self, indexes: list[int]) -> list[str]:
        return [self.examples[index].name for index in indexes]

    def batch(self, indexes: list[int], step: int = 0, /) -> Batch:
        self._encode(indexes)
        drawn = [random.Random(f"{step} {index}").choice(self._views) for index in indexes]
        rows = [self._row(self.examples[i], view) for i, view in zip(indexes, drawn, strict=True)]
        keys = dict.fromkeys(part[0] for row, _ in rows for part in row if isinstance(part, tuple))
        features = [self._store[key] for key in keys] if self._store else []
        return Batch(
            [row for row, _ in rows],
            pad_sequence(
                [torch.tensor(targets) for _, targets in rows],
                batch_first=True,
                padding_value=IGNORE,
            ),
            torch.stack(features) if features else torch.empty(0, *self._shape),
            list(keys),
        )

    def _encode(self, indexes: list[int]) -> None:
        """A dry run comes here before all images are encoded."""
        pictures = [picture for index in indexes for picture in self.examples[index].pictures]
        if pictures and self._store is not None:
            self._store.require(pictures, self._views)

    def _row(self, example: Example, view: View) -> tuple[list[Position], list[int]]:
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


def turns_of(
    dialogue: Sequence[tuple[Role, Content]], store: FeatureStore | None, view: View = "plain"
) -> list[Turn]:
    """A dialogue whose pictures are named by their keys in the store."""

    def part(said: str | Path) -> str | Picture:
        if isinstance(said, str):
            return said
        assert store is not None
        key = store.key(said, view)
        return known(key, store.names(key))

    return [Turn(role, tuple(map(part, content))) for role, content in dialogue]
