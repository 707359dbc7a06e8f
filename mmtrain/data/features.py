"""Cache the patch features of a frozen vision tower; all runs share the cache."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mmtrain.data.texts import TextStore
from mmtui.errors import InputError
from mmtui.pipeline import input_files
from mmtui.pipeline.assets import fetch, hashes
from mmtui.pipeline.assets.fetch import Report
from mmtui.pipeline.assets.spec import VisionSpec
from mmtui.pipeline.vision.classifier import Classifier, load_classifier
from mmtui.pipeline.vision.preprocessing import PREPROCESSING_VERSION

View = Literal["plain", "mirrored"]
# Images per forward pass. Larger batches are slower on CPUs, because the allocator maps new memory
# for each.
BATCH = 4
SHARD = 256  # images per file; an interruption loses the features of one file at most


class Tower(Protocol):
    """A vision tower, which runs on torch or on ONNX Runtime."""

    def encode(self, images: list[Image.Image], /) -> Tensor | np.ndarray:
        """Return the patch features of RGB pictures in fp32 (len(images), patches, width)."""


class FeatureStore:
    """Patch features (patches, width) in fp16, by image file, in memory-mapped shards.

    A shard lies in the cache under a fingerprint of tower and preprocessing, and holds the
    images by the SHA-256 of their bytes: a moved or copied image is not computed again. The text
    in the images is cached beside them, if the model uses it.

    Attributes:
        texts: The text in the images; None if the model does not use it.
    """

    def __init__(self, spec: VisionSpec, load_tower: Callable[[], Tower], report: Report) -> None:
        """Open the store.

        Args:
            spec: The vision tower and its preprocessing.
            load_tower: Called for each batch of pictures whose features are missing.
            report: Receives the progress.
        """
        self._load_tower, self._report = load_tower, report
        self._shape = (spec.patches, spec.width)
        self.texts = TextStore(report) if spec.read else None
        self._folder = fetch.get_cache_folder() / "features" / _fingerprint(spec)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._hashes: dict[Path, str] = {}
        self._spec = spec
        self._named: dict[str, str] = {}
        self._shards: dict[Path, Any] = {}
        self._rows: dict[str, tuple[Any, int]] = {}
        self._open_shards()

    @cached_property
    def _classifier(self) -> Classifier | None:
        if not self._spec.names:
            return None
        weights = fetch.fetch(self._spec.weights, self._report)
        return load_classifier(weights, self._spec.names)

    def get_key(self, image: Path, view: View = "plain") -> str:
        """Return the key of a file's picture, which identifies it in prompts and in the store."""
        digest = self._hashes[image]
        return digest if view == "plain" else f"{digest}-{view}"

    def __getitem__(self, key: str) -> Tensor:
        shard, row = self._rows[key]
        features: Tensor = shard[row]
        return features

    def get_names(self, key: str) -> str:
        """Return the predicted class names as a prompt lists them, or "" without a classifier."""
        if key not in self._named:
            classifier = self._classifier
            features = self[key].float().cpu().numpy()
            self._named[key] = classifier.classify(features) if classifier else ""
        return self._named[key]

    def get_text(self, key: str) -> str | None:
        """Return the lines of text in a picture; None if the model does not use them.

        A mirrored picture has the text that it had before.
        """
        return None if self.texts is None else self.texts[key.partition("-")[0]]

    def ensure(
        self, files: Iterable[Path], views: Sequence[View] = ("plain",)
    ) -> dict[Path, InputError]:
        """Compute what is missing, and return the files that can't be decoded.

        Every batch has BATCH images, so that the features of an image do not depend on which other
        images were missing.

        Returns:
            The files that can't be decoded, with the reasons.
        """
        wanted = list(dict.fromkeys(files))
        if all(file in self._hashes and self._is_complete(file, views) for file in wanted):
            return {}
        self._open_shards()  # of other processes
        bad: dict[str, InputError] = {}
        self._hashes |= _hash_files([file for file in wanted if file not in self._hashes])
        with ThreadPoolExecutor() as pool:
            missing = {
                self.get_key(file, view): (file, view)
                for file in wanted
                for view in views
                if self.get_key(file, view) not in self._rows
            }
            todo = list(missing.items())
            for start in range(0, len(todo), SHARD):
                shard: dict[str, Tensor] = {}
                for at in range(start, min(start + SHARD, len(todo)), BATCH):
                    self._report("encoding images", at, len(todo))
                    batch = todo[at : min(at + BATCH, start + SHARD)]
                    opened = list(
                        pool.map(decode_view, *zip(*[task for _, task in batch], strict=True))
                    )
                    good = {}
                    for (key, _), image in zip(batch, opened, strict=True):
                        if isinstance(image, InputError):
                            bad[key] = image
                        else:
                            good[key] = image
                    if good:
                        shard |= self._encode(good)
                if shard:
                    self._write(shard)
        if todo:
            self._report("encoding images", len(todo), len(todo))
            self._open_shards()
        if self.texts is not None:
            self.texts.ensure({self._hashes[file]: file for file in wanted})
        reasons = ((file, bad.get(self.get_key(file, view))) for file in wanted for view in views)
        return {file: reason for file, reason in reasons if reason is not None}

    def _is_complete(self, file: Path, views: Sequence[View]) -> bool:
        has_text = self.texts is None or self._hashes[file] in self.texts
        return has_text and all(self.get_key(file, view) in self._rows for view in views)

    def require(self, files: Iterable[Path], views: Sequence[View] = ("plain",)) -> None:
        """Compute the features that are missing; all files must be pictures.

        Raises:
            InputError: A file can't be decoded.
        """
        for reason in self.ensure(files, views).values():
            raise reason

    def compute_means(self, files: Sequence[Path]) -> dict[Path, np.ndarray]:
        """Return the mean (width,) of each file's patches, without files that can't be decoded."""
        bad = self.ensure(files)
        return {f: self[self.get_key(f)].float().mean(0).numpy() for f in files if f not in bad}

    def _encode(self, pictures: dict[str, Image.Image]) -> dict[str, Tensor]:
        filled = [*pictures.values()]
        filled += [filled[-1]] * (BATCH - len(filled))
        features = torch.as_tensor(self._load_tower().encode(filled)).half().cpu()
        if not features.isfinite().all():
            raise InputError(
                "the vision tower computes infinite or NaN features", "its weights are damaged"
            )
        return dict(zip(pictures, features, strict=False))

    def _write(self, shard: dict[str, Tensor]) -> None:
        temporary = self._folder / f".{uuid.uuid4().hex}"
        try:
            stacked = {"features": torch.stack(list(shard.values()))}
            fetch.save_tensors(stacked, temporary, {"keys": json.dumps(list(shard))})
            temporary.rename(self._folder / f"{temporary.name[1:]}.safetensors")
        finally:
            temporary.unlink(missing_ok=True)

    def _open_shards(self) -> None:
        for path in sorted(self._folder.glob("*.safetensors")):
            if path in self._shards:
                continue
            try:
                opened: Any = safe_open(path, framework="pt")
                keys = json.loads(opened.metadata()["keys"])
                rows = opened.get_slice("features")
                if rows.get_shape() != [len(keys), *self._shape]:
                    raise ValueError(rows.get_shape())
            except (SafetensorError, OSError, ValueError, KeyError, TypeError):
                path.unlink(missing_ok=True)  # cut off by a full disk or a crash: computed again
                continue
            self._shards[path] = opened
            self._rows |= {key: (rows, row) for row, key in enumerate(keys)}


def _hash_files(files: Sequence[Path]) -> dict[Path, str]:
    """Return a hash of each file: of its name if it can't be read, which decoding reports."""
    names = {file: hashlib.sha256(os.fsencode(file.absolute())).hexdigest() for file in files}
    return names | hashes.get_many(files)


def decode_view(file: Path, view: View = "plain") -> Image.Image | InputError:
    """Return a view of the picture in a file, or the error if it can't be decoded."""
    try:
        image = input_files.read_picture(file).image
    except InputError as error:
        return error
    return ImageOps.mirror(image) if view == "mirrored" else image


def _fingerprint(spec: VisionSpec) -> str:
    """Return a hash of everything that determines the features of an image."""
    weights = [spec.weights.uri, *(pin.sha256 for pin in spec.weights.pins)]
    if not weights[0].startswith(("hf:", "pypi:")):
        weights = [hashes.get(file) for file in _files(fetch.fetch(spec.weights))]
    values = asdict(spec)
    # A field that is added later, and has its default, does not make all features stale.
    optional = {field.name: field.default for field in fields(spec) if field.name != "names"}
    facts = {name: value for name, value in values.items() if value != optional.get(name)}
    facts |= {"weights": weights, "layer": "last, normalized", "dtype": "fp16"}
    facts["preprocessing"] = PREPROCESSING_VERSION
    for name in ("names", "read"):  # written beside the features, not among them
        facts.pop(name, None)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
