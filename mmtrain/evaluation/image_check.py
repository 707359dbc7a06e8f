"""Find broken images of an evaluation before its language model is loaded."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mmtrain.data.features import FeatureStore
from mmtrain.data.referenced_files import raise_for_broken_files
from mmtrain.data.skip_report import SkipReport

T = TypeVar("T")


def drop_broken_images(
    items: list[T], pictures: Callable[[T], Sequence[Path]], store: FeatureStore
) -> tuple[list[T], list[str]]:
    """Return the items whose pictures can be decoded, and notes about the others.

    The features of all pictures are computed, unless `store` has them.

    Raises:
        InputError: More than a few pictures are broken.
    """
    files = list(dict.fromkeys(picture for item in items for picture in pictures(item)))
    broken = store.ensure(files)
    raise_for_broken_files("image", broken, len(files))
    skipped = SkipReport()
    for file in broken:
        skipped.add("it is broken", str(broken[file]))
    usable = [item for item in items if broken.keys().isdisjoint(pictures(item))]
    return usable, skipped.notes("image")
