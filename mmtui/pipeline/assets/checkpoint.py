"""Checkpoints: folders with spec.json and projector.safetensors, adapter/ or language/.

Folders and repositories in Hugging Face's layout are checkpoints, too: their spec follows from
config.json.

The presets are checkpoints that ship in `mmtui/models`. A checkpoint of the user in the data
directory, under the name of a preset, replaces it.
"""

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

import mmtui
from mmtui.errors import InputError, MissingError, MmtuiError, UsageError
from mmtui.files import read_text
from mmtui.paths import resolve
from mmtui.pipeline.assets import fetch, gguf_files, hashes, hub, huggingface
from mmtui.pipeline.assets.file_names import (
    ADAPTER_FOLDER,
    LANGUAGE_FOLDER,
    PROJECTOR_FILE,
    SPEC_FILE,
)
from mmtui.pipeline.assets.gguf_files import GgufFiles
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec, Pin, Precision, SpeechSpec

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED = Path(mmtui.__file__).parent / "models"
PRESETS = ("phi2", "smol")


@dataclass(frozen=True)
class Checkpoint:
    """A model: its specification and its trained weights.

    Attributes:
        spec: The specification; relative paths of its assets are resolved.
        projector: The file of the trained projector beside spec.json; None without one.
        adapter: The folder of a PEFT adapter; None without one.
        gguf: The files of a GGUF language model that llama.cpp runs unchanged, with the tokenizer
            and the chat template that they contain; None for other models.
    """

    spec: ModelSpec
    projector: Path | None = None
    adapter: Path | None = None
    gguf: GgufFiles | None = None

    @property
    def can_see(self) -> bool:
        """Whether the model can see pictures."""
        if self.gguf is not None:
            return self.gguf.mmproj is not None
        return self.spec.vision is not None and self.projector_weights is not None

    def require_hearing(self) -> None:
        """Check that the model hears recordings itself.

        Raises:
            MissingError: It has no audio tower.
        """
        if self.gguf is None or self.gguf.audio_tower is None:
            raise MissingError(f"{self.spec.name} has no audio tower", "pass --listen whisper")

    @property
    def projector_weights(self) -> Asset | None:
        """The weights of the projector, beside spec.json or elsewhere; None without one."""
        return Asset(str(self.projector)) if self.projector else self.spec.projector.weights

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the weights, without those for speech, by the state of their files."""
        parts = [self.adapter, self.projector]
        if self.gguf is not None:
            parts += [*self.gguf.shards, self.gguf.mmproj or self.gguf.audio_tower]
        else:
            assets = (self.spec.language, self.spec.vision)
            parts += [fetch.locate(asset.weights) for asset in assets if asset is not None]
        text = repr(dataclasses.replace(self.spec, speech=None))
        return hashes.fingerprint(text, [part for part in parts if part is not None])

    def require_vision(self) -> None:
        """Check that the model can see.

        Raises:
            MissingError: It has no vision tower, or no trained projector.
        """
        name = self.spec.name
        if self.can_see:
            return
        if self.gguf is not None:
            raise gguf_files.explain_blindness(self.gguf)
        if self.spec.vision is None:
            raise MissingError(f"{name} accepts text and speech, but has no vision tower")
        raise MissingError(
            f"{name} can't see yet: its projector is not trained",
            self.spec.projector_training
            or f"`mmtrain align --model {name}` trains one; then --model takes its folder",
        )

    def with_precision(self, precision: Precision) -> Self:
        """Return a copy whose language model is loaded with the given precision."""
        language = dataclasses.replace(self.spec.language, precision=precision)
        return dataclasses.replace(self, spec=dataclasses.replace(self.spec, language=language))


def find(model: str) -> Checkpoint:
    """Find the model that `--model` names.

    Args:
        model: A preset, a checkpoint folder, a GGUF file, `hf:owner/name`, or "auto": MMTUI_MODEL
            if it is set and does not name a model of an endpoint, else phi2 if it is complete on
            this machine, else smol.

    Raises:
        UsageError: There is no such model.
        InputError: The folder is not a valid checkpoint, or the file is not a valid GGUF.
        MissingError: The GGUF file or one of its shards does not exist.
    """
    if model == "auto" and not os.environ.get("MMTUI_ENDPOINT"):
        model = os.environ.get("MMTUI_MODEL") or "auto"
    if model == "auto":
        model = "phi2" if _is_ready("phi2") else "smol"
    if model in PRESETS:
        trained = get_user_models_folder() / model
        return read(trained if trained.exists() else SHIPPED / model)
    if (files := gguf_files.find(model)) is not None:
        language = files.download or Asset(str(files.shards[0]))
        spec = ModelSpec(files.name, LanguageSpec(language), speech=_get_speech())
        return Checkpoint(spec, gguf=files)
    if re.fullmatch(r"hf:[\w.-]+(/[\w.-]+)?", model):
        return _open_repository(model)
    if (folder := _find_folder(model)) is not None:
        return read(folder)
    raise UsageError(
        f"there is no model {model}",
        f"a model is {' or '.join(PRESETS)}, a checkpoint folder, a GGUF file, ollama:NAME,"
        " or hf:OWNER/NAME",
    )


def _get_speech() -> SpeechSpec | None:
    """Return the speech model for language models that come without one."""
    return read(SHIPPED / "smol").spec.speech


def _open_repository(uri: str) -> Checkpoint:
    """Return a model of the Hugging Face hub, of which only the settings are downloaded."""
    weights = Asset(uri, only=huggingface.FILES)
    settings = hub.fetch_settings(uri.removeprefix("hf:"))
    if settings is None:  # not reachable, which is reported when the weights are fetched
        return Checkpoint(ModelSpec(uri, LanguageSpec(weights), speech=_get_speech()))
    spec = huggingface.make_spec(uri, settings, weights)
    return Checkpoint(dataclasses.replace(spec, speech=_get_speech()))


def _find_folder(name: str) -> Path | None:
    """Return the folder with this path, or None if there is none."""
    try:
        folder = resolve(name)
        return folder if folder.is_dir() else None
    except (OSError, ValueError, MmtuiError):  # not a path: too long, a NUL, a URL
        return None


def read(folder: Path) -> Checkpoint:
    """Read a checkpoint and check the hashes of its files.

    Raises:
        InputError: A file is missing or damaged, spec.json is malformed or of another version, or
            the model in a folder without spec.json is not supported.
    """
    path = folder / SPEC_FILE
    if not path.exists() and (folder / huggingface.CONFIG_FILE).exists():
        spec = huggingface.make_spec(folder.name, folder, Asset(str(folder.resolve())))
        return Checkpoint(dataclasses.replace(spec, speech=_get_speech()))
    if not path.exists():
        raise InputError(
            f"{folder} is not a checkpoint: {SPEC_FILE} is missing",
            "pass the folder of a checkpoint, a folder in Hugging Face's layout, or a GGUF file",
        )
    try:
        text = read_text(path)
    except InputError as error:
        raise InputError(f"{folder} is not a checkpoint: {error}", error.hint) from error
    try:
        spec = ModelSpec.from_json(text)
    except InputError as error:
        raise InputError(f"{folder}: {error}", error.hint) from error
    for pin in spec.parts:
        if not fetch.is_intact(folder / pin.name, pin):
            raise InputError(
                f"{folder}: {pin.name} is missing or damaged", "copy or train the checkpoint again"
            )
    spec = dataclasses.replace(
        spec,
        **{
            role: dataclasses.replace(part, weights=_resolve(part.weights, folder))
            for role in ("language", "vision", "speech")
            if (part := getattr(spec, role)) is not None
        },
        projector=dataclasses.replace(
            spec.projector,
            weights=spec.projector.weights and _resolve(spec.projector.weights, folder),
        ),
    )
    names = {pin.name for pin in spec.parts}
    has_adapter = any(name.startswith(f"{ADAPTER_FOLDER}/") for name in names)
    return Checkpoint(
        spec,
        projector=folder / PROJECTOR_FILE if PROJECTOR_FILE in names else None,
        adapter=folder / ADAPTER_FOLDER if has_adapter else None,
    )


def write(
    folder: Path,
    spec: ModelSpec,
    projector: "Mapping[str, Tensor] | None" = None,
    adapter: Path | None = None,
    language: Path | None = None,
) -> None:
    """Write a checkpoint, replacing the one in `folder`; other files there are kept.

    The files are written to a temporary folder and renamed, spec.json last. If that is interrupted,
    `read` finds files that do not match spec.json.

    Args:
        folder: The checkpoint's folder; it is created if needed.
        spec: The specification; its `parts` are replaced by the files that are written.
        projector: The state dict of the projector.
        adapter: A folder with a PEFT adapter, which is copied.
        language: A folder with a language model, which is moved because a copy may not fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".new-", ignore_cleanup_errors=True) as name:
        temporary = Path(name)
        if projector is not None:
            fetch.save_tensors(projector, temporary / PROJECTOR_FILE)
            trained = dataclasses.replace(spec.projector, weights=None)
            spec = dataclasses.replace(spec, projector=trained)
        if adapter is not None:
            _copy_folder(temporary / ADAPTER_FOLDER, adapter, shutil.copyfile)
        if language is not None:
            _copy_folder(temporary / LANGUAGE_FOLDER, language, shutil.move)
            weights = dataclasses.replace(spec.language, weights=Asset(LANGUAGE_FOLDER))
            spec = dataclasses.replace(spec, language=weights)
        pins = [
            Pin(path.relative_to(temporary).as_posix(), path.stat().st_size, hashes.compute(path))
            for path in sorted(temporary.rglob("*"))
            if path.is_file()
        ]
        complete = dataclasses.replace(spec, parts=tuple(pins))
        (temporary / SPEC_FILE).write_text(json.dumps(complete.to_json(), indent=2) + "\n")
        for part in (PROJECTOR_FILE, ADAPTER_FOLDER, LANGUAGE_FOLDER, SPEC_FILE):
            _replace(temporary / part, folder / part)


def _copy_folder(folder: Path, source: Path, transfer: Callable[[Path, Path], object]) -> None:
    """Copy or move the files of `source` to a new folder.

    The permissions of `source` are not copied: only the owner can read a temporary folder.

    Args:
        folder: The folder to create.
        source: The folder with the files.
        transfer: Copies or moves a file.
    """
    folder.mkdir()
    for path in sorted(source.iterdir()):
        if path.is_dir():
            _copy_folder(folder / path.name, path, transfer)
        else:
            transfer(path, folder / path.name)


def _replace(new: Path, target: Path) -> None:
    """Move the file or folder `new` to `target`; if it does not exist, only remove `target`."""
    if target.is_dir():
        target.replace(new.with_name(f"old-{target.name}"))
    else:
        target.unlink(missing_ok=True)
    if new.exists():
        new.replace(target)


def _resolve(asset: Asset, folder: Path) -> Asset:
    """Resolve a relative path of an asset against the checkpoint's folder."""
    if asset.uri.startswith(("hf:", "pypi:")):
        return asset
    return dataclasses.replace(asset, uri=str(folder.resolve() / Path(asset.uri).expanduser()))


def _is_ready(preset: str) -> bool:
    """Return whether a preset's weights and projector are on this machine."""
    try:
        checkpoint = find(preset)
    except (InputError, MissingError):
        return False
    parts = (checkpoint.spec.language, checkpoint.spec.vision)
    return checkpoint.can_see and all(part and fetch.locate(part.weights) for part in parts)


def get_user_models_folder() -> Path:
    """Return the folder of the user's trained presets."""
    from platformdirs import user_data_path

    return user_data_path("mmtui") / "models"
