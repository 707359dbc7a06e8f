"""From examples to batches: tokens with labels, rows of shared prefixes, and patch features.

An example goes through `to_turns`, the chat format (`ChatFormat.encode_dialogue`) and
`shared_prefix.pack_dialogues` to a row; rows are padded to a `Batch`.
"""

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmtrain.data import shared_prefix
from mmtrain.data.dataset import Content, Example
from mmtrain.data.features import FeatureStore, View
from mmtrain.data.fingerprint import Fingerprint, digest
from mmtrain.data.flat_rows import FlatRows, flatten
from mmtrain.data.mirroring import swap_directions
from mmtrain.data.shared_prefix import Row
from mmtui.errors import InputError
from mmtui.pipeline.prompt import IGNORE_INDEX, ChatFormat, Role, Turn
from mmtui.pipeline.reading.notation import MAX_NOTATION_TOKENS
from mmtui.pipeline.sequence import Position, to_positions
from mmtui.pipeline.vision.images import Picture, make_placeholder

MAX_TEMPLATE_TOKENS = 64  # an upper bound of what a chat template adds to a dialogue
MAX_PICTURE_NAME_BYTES = 176  # an upper bound of the number and the class names of a picture


@dataclass
class Batch:
    """Rows of dialogues, padded on the right.

    Attributes:
        sequences: The positions of each row: a token id, or a patch of a picture.
        labels: (batch, length) int64; the token to predict after each position (already
            shifted), or IGNORE_INDEX.
        branch_ids: (batch, length) int64; 0 in the shared prefix, else the number of the branch.
        position_ids: (batch, length) int64; the index of each position in its own dialogue.
        features: (pictures, patches, width) float16; the patch features of the pictures.
        keys: The key of each picture in the feature store, in the order of `features`.
        flat: The rows as one sequence.
    """

    sequences: list[list[Position]]
    labels: Tensor
    branch_ids: Tensor
    position_ids: Tensor
    features: Tensor
    keys: list[str]
    flat: FlatRows

    def pin_memory(self) -> "Batch":
        """Return a batch whose tensors for the device are in pinned memory."""
        return replace(
            self,
            features=self.features.pin_memory(),
            branch_ids=self.branch_ids.pin_memory(),
            flat=self.flat.pin_memory(),
        )


class DialogueDataset:
    """Examples as batches for a vision-language model.

    A row holds one example, or several about the same pictures that share a prefix.

    Args:
        examples: The dialogues.
        chat: The chat format of the language model.
        store: The patch features of the pictures; None if no example has a picture.
        feature_shape: (patches, width) of a picture's features.
        max_length: Positions of a row. Longer dialogues lose their last turns; the answer of the
            only turn is cut.
        views: Views of the pictures; one is drawn for each row and step.
        pack_examples: Whether examples about the same pictures share a row, which needs a
            language model that passes `shared_prefix.supports_branches`.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        chat: ChatFormat,
        store: FeatureStore | None,
        feature_shape: tuple[int, int],
        max_length: int,
        views: Sequence[View] = ("plain",),
        *,
        pack_examples: bool = False,
    ) -> None:
        self._chat, self._store, self._feature_shape = chat, store, feature_shape
        self._max_length, self._views = max_length, views

        def text_space(pictures: int) -> int:
            return max_length - self._max_overhead(pictures) if pack_examples else 0

        self.rows = shared_prefix.group_examples(examples, text_space)
        self.lengths = [
            # A token is about four bytes.
            sum(e.text_bytes // 4 + shared_prefix.MAX_BRANCH_TEMPLATE_TOKENS // 2 for e in row)
            + feature_shape[0] * len(row[0].pictures)
            for row in self.rows
        ]

    @property
    def examples(self) -> list[Example]:
        """The examples of all rows."""
        return [example for row in self.rows for example in row]

    @property
    def pictures(self) -> list[Path]:
        """The image files of all rows; a file is listed once for each row that uses it."""
        return [picture for row in self.rows for picture in row[0].pictures]

    def drop(self, pictures: Collection[Path]) -> int:
        """Remove the examples with any of these pictures; return how many they are."""
        return self._filter(
            lambda example: not any(picture in pictures for picture in example.pictures)
        )

    def drop_untrainable(self) -> int:
        """Remove the examples without a label within `max_length`; return how many they are."""

        def is_trainable(example: Example) -> bool:
            # Tokenizing is slow, and the size alone shows that most examples fit.
            if example.text_bytes + self._max_overhead(len(example.pictures)) > self._max_length:
                try:
                    self._encode_dialogue(example, "plain")
                except InputError:
                    return False
            return True

        return self._filter(is_trainable)

    def names(self, indexes: list[int]) -> list[str]:
        """Return the names of the examples in the rows at `indexes`."""
        return [example.name for index in indexes for example in self.rows[index]]

    def fingerprint(self) -> Fingerprint:
        """Return hashes of the names, texts and pictures; all pictures must be in the store."""
        examples = self.examples
        return {
            "examples": digest(example.name for example in examples),
            "texts": digest(
                [(role, *(p for p in content if isinstance(p, str))) for role, content in e.turns]
                for e in examples
            ),
            "pictures": digest([self._key(p) for p in e.pictures] for e in examples),
        }

    def batch(self, indexes: list[int], step: int = 0, /) -> Batch:
        """Encode the rows at `indexes` and pad them; `step` decides the view of each row."""
        self._ensure_features(indexes)
        rows = [self._encode_row(index, step) for index in indexes]
        keys = dict.fromkeys(
            position[0] for row in rows for position in row.positions if isinstance(position, tuple)
        )
        features = [self._store[key] for key in keys] if self._store else []
        return Batch(
            [row.positions for row in rows],
            _pad([row.labels for row in rows], IGNORE_INDEX),
            _pad([row.branch_ids for row in rows], 0),
            _pad([row.position_ids for row in rows], 0),
            torch.stack(features) if features else torch.empty(0, *self._feature_shape),
            list(keys),
            flatten(rows, {key: number for number, key in enumerate(keys)}, self._feature_shape[0]),
        )

    def _max_overhead(self, pictures: int) -> int:
        """Return an upper bound of the positions of so many pictures and the chat template."""
        has_text = self._store is not None and self._store.texts is not None
        words = MAX_PICTURE_NAME_BYTES + (MAX_NOTATION_TOKENS if has_text else 0)
        return pictures * (self._feature_shape[0] + words) + MAX_TEMPLATE_TOKENS

    def _filter(self, keep: Callable[[Example], bool]) -> int:
        kept = [tuple(filter(keep, row)) for row in self.rows]
        dropped = sum(map(len, self.rows)) - sum(map(len, kept))
        self.lengths = [n for n, row in zip(self.lengths, kept, strict=True) if row]
        self.rows = [row for row in kept if row]
        return dropped

    def _key(self, picture: Path) -> str:
        assert self._store is not None
        return self._store.get_key(picture)

    def _ensure_features(self, indexes: list[int]) -> None:
        """Compute missing features: a dry run asks for batches before all images are encoded."""
        pictures = [picture for index in indexes for picture in self.rows[index][0].pictures]
        if pictures and self._store is not None:
            self._store.require(pictures, self._views)

    def _encode_row(self, index: int, step: int) -> Row:
        view = random.Random(f"{step} {index}").choice(self._views)
        dialogues = [self._encode_dialogue(example, view) for example in self.rows[index]]
        return shared_prefix.pack_dialogues(dialogues, self._max_length)

    def _encode_dialogue(self, example: Example, view: View) -> tuple[list[Position], list[int]]:
        """Return the positions and the labels of a dialogue, at most `max_length` of each.

        Raises:
            InputError: No position within `max_length` has a label.
        """
        patches = self._feature_shape[0]
        turns = to_turns(example.turns, self._store, view)
        while True:
            prompt, prompt_labels = self._chat.encode_dialogue(turns)
            sequence = to_positions(prompt, patches)
            # The first exchange, perhaps after a system turn, stays: its answer is cut.
            if len(sequence) <= self._max_length or len(turns) < 4:
                break
            turns = turns[:-2]
        labels: list[int] = []
        for part, label in zip(prompt, prompt_labels, strict=True):
            labels += [label] if isinstance(part, int) else [IGNORE_INDEX] * (patches - 1) + [label]
        sequence, labels = sequence[: self._max_length], labels[: self._max_length]
        if all(label == IGNORE_INDEX for label in labels):
            raise InputError(
                f"{example.name} has no trained token within {self._max_length} tokens",
                "raise --max-length, or shorten its question",
            )
        return sequence, labels


def to_turns(
    dialogue: Sequence[tuple[Role, Content]], store: FeatureStore | None, view: View = "plain"
) -> list[Turn]:
    """Replace the image files of a dialogue by pictures that `store` has the features of.

    Where pictures are mirrored, left and right are exchanged in the text too.
    """
    has_pictures = any(isinstance(part, Path) for _, content in dialogue for part in content)
    is_mirrored = has_pictures and view == "mirrored"

    def convert(part: str | Path) -> str | Picture:
        if isinstance(part, str):
            return swap_directions(part) if is_mirrored else part
        assert store is not None
        key = store.get_key(part, view)
        return make_placeholder(key, store.get_names(key), store.get_text(key))

    return [Turn(role, tuple(map(convert, content))) for role, content in dialogue]


def _pad(rows: list[list[int]], value: int) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
