"""Pictures to score on: looked at before a language model is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mmtrain.data.features import FeatureStore
from mmtrain.data.skipped import Skipped
from mmtrain.data.usable import refuse_many_broken

T = TypeVar("T")


def leave_out_broken(
    items: list[T], picture: Callable[[T], Path], store: FeatureStore
) -> tuple[list[T], list[str]]:
    """The items whose picture can be used, and notes of the others.

    The features of all pictures are computed, unless `store` has them.

    Raises:
        InputError: More than a few pictures are broken.
    """
    files = list(dict.fromkeys(map(picture, items)))
    broken = store.ensure(files)
    refuse_many_broken("image", broken, len(files))
    skipped = Skipped()
    for file in broken:
        skipped.add("it is broken", str(broken[file]))
    return [item for item in items if picture(item) not in broken], skipped.notes("image")
