"""A checkpoint: a folder with spec.json, projector.safetensors and adapter/.

The presets are checkpoints that ship in `mmtui/models`, or that the user trained and put
in the data directory under the name of the preset.
"""

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mmtui
from mmtui.errors import InputError, MissingError, UsageError
from mmtui.pipeline import assets
from mmtui.pipeline.spec import Asset, LanguageSpec, ModelSpec, Pin

if TYPE_CHECKING:
    from torch import Tensor

SPEC, PROJECTOR, ADAPTER = "spec.json", "projector.safetensors", "adapter"
SHIPPED = Path(mmtui.__file__).parent / "models"
PRESETS = ("phi2", "smol")
_HUB_LANGUAGE_FILES = (
    "config.json", "tokenizer.json", "model*.safetensors", "*.json", "*.jinja", "*.txt",
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A spec, and the trained parts that are there."""

    spec: ModelSpec
    projector: Path | None = None
    adapter: Path | None = None

    @property
    def sees(self) -> bool:
        return self.spec.vision is not None and self.projector is not None


def find(model: str) -> Checkpoint:
    """What `--model` names: a preset, a checkpoint folder or `hf:owner/name`; or "auto".

    Raises UsageError for a name of nothing, InputError for a folder that is no checkpoint.
    """
    if model == "auto":
        model = os.environ.get("MMTUI_MODEL") or "auto"
    if model == "auto":
        model = "phi2" if _is_ready("phi2") else "smol"
    if model in PRESETS:
        trained = _user_models() / model
        return read(trained if trained.exists() else SHIPPED / model)
    if model.startswith("hf:"):
        language = Asset(model, only=_HUB_LANGUAGE_FILES)
        speech = read(SHIPPED / "smol").spec.speech
        return Checkpoint(ModelSpec(model, LanguageSpec(language), speech=speech))
    with suppress(OSError):  # a name too long for a path
        if model and Path(model).is_dir():
            return read(Path(model))
    raise UsageError(
        f"there is no model {model}",
        f"a model is {' or '.join(PRESETS)}, a checkpoint folder, or hf:OWNER/NAME",
    )


def read(folder: Path) -> Checkpoint:
    """Raises InputError, naming it, for what is missing, damaged or of another version."""
    path = folder / SPEC
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{folder} is no checkpoint: {SPEC} can't be read ({error.strerror})"
        ) from error
    try:
        spec = ModelSpec.from_json(text)
    except InputError as error:
        raise InputError(f"{folder}: {error}", error.hint) from error
    for pin in spec.parts:
        if not assets.intact(folder / pin.name, pin):
            raise InputError(
                f"{folder}: {pin.name} is missing or damaged", "copy or train the checkpoint again"
            )
    names = {pin.name for pin in spec.parts}
    has_adapter = any(name.startswith(f"{ADAPTER}/") for name in names)
    return Checkpoint(
        spec,
        projector=folder / PROJECTOR if PROJECTOR in names else None,
        adapter=folder / ADAPTER if has_adapter else None,
    )


def write(
    folder: Path,
    spec: ModelSpec,
    projector: "Mapping[str, Tensor] | None" = None,
    adapter: Path | None = None,
) -> None:
    """Make the checkpoint `folder` of a projector's state and a PEFT adapter's folder.

    It appears whole, or not at all. An earlier checkpoint of that name is replaced; raises
    UsageError if the folder holds anything else.
    """
    if folder.exists() and {path.name for path in folder.iterdir()} - {SPEC, PROJECTOR, ADAPTER}:
        raise UsageError(f"{folder} holds other files than a checkpoint's", "name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    old = folder.with_name(f"{aside.name}.old")
    aside.mkdir()
    try:
        if projector is not None:
            assets.save_tensors(projector, aside / PROJECTOR)
        if adapter is not None:
            shutil.copytree(adapter, aside / ADAPTER)
        pins = [
            Pin(path.relative_to(aside).as_posix(), path.stat().st_size, assets.sha256(path))
            for path in sorted(aside.rglob("*"))
            if path.is_file()
        ]
        complete = dataclasses.replace(spec, parts=tuple(pins))
        (aside / SPEC).write_text(json.dumps(complete.to_json(), indent=2) + "\n")
        if folder.exists():
            folder.replace(old)
        aside.replace(folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError:
        if old.exists() and not folder.exists():
            old.replace(folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _is_ready(preset: str) -> bool:
    """Whether a preset is here as a whole: weights, and a trained projector."""
    try:
        checkpoint = find(preset)
    except (InputError, MissingError):
        return False
    parts = (checkpoint.spec.language, checkpoint.spec.vision)
    return checkpoint.sees and all(part and assets.locate(part.weights) for part in parts)


def _user_models() -> Path:
    from platformdirs import user_data_path

    return user_data_path("mmtui") / "models"
