"""The options of a run.

An option is a field here and nowhere else: it has the same name on the command line, in the code
and in run.json.
"""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import typer

from mmtui.paths import resolve

if TYPE_CHECKING:
    from mmtrain.data.features import View

StageName = Literal["pretrain", "align", "finetune"]
Precision = Literal["auto", "bf16", "fp32"]
OptimizerName = Literal["auto", "adamw", "adam8bit", "paged-adam8bit"]
Tracker = Literal["tensorboard", "wandb"]
ProjectorKind = Literal["linear", "mlp"]
ProjectorInit = Literal["concepts", "ridge", "random"]
Quantize = Literal["nf4", "none"]

# These change no weight that a run ends with. The data and the model may lie elsewhere: what is in
# them must be the same.
CHANGEABLE = frozenset(
    {
        "data", "images", "validation", "model", "steps", "eval_every", "save_every",
        "save_minutes", "val_limit", "track",
    }
)  # fmt: skip


def _number(flag: str, unit: str, text: str, least: float = 0, most: float | None = None) -> object:
    return typer.Option(flag, metavar=unit, min=least, max=most, help=text)


def _path(flag: str, unit: str, text: str) -> object:
    return typer.Option(flag, metavar=unit, parser=resolve, help=text)


Steps = Annotated[int, _number("--steps", "N", "Steps of the optimizer in the whole run.", 1)]
Batch = Annotated[
    int, _number("--batch", "N", "Rows that one process passes through the model at once.", 1)
]
Accumulation = Annotated[
    int, _number("--accumulation", "N", "Batches whose gradients are summed into one step.", 1)
]
LearningRate = Annotated[float, _number("--lr", "X", "Peak learning rate.")]
Warmup = Annotated[
    int,
    _number(
        "--warmup",
        "N",
        "Steps in which the learning rate rises to its peak; at most a tenth of the run.",
    ),
]
WeightDecay = Annotated[
    float,
    _number("--weight-decay", "X", "Decay of weight matrices; biases and norms do not decay."),
]
ValLimit = Annotated[
    int,
    _number(
        "--val-limit", "N", "Most held-out rows that a validation reads; 0 turns validation off."
    ),
]
SaveEvery = Annotated[int, _number("--save-every", "N", "Steps between two saves.", 1)]
MaxLength = Annotated[
    int,
    _number(
        "--max-length",
        "N",
        "Most tokens in a row, pictures included; a longer dialogue loses its last turns.",
        8,
    ),
]
Mirror = Annotated[
    bool,
    typer.Option(
        "--mirror",
        help="Mirror half of the pictures, and exchange left and right in what is said of them.",
    ),
]
Checkpointing = Annotated[
    bool,
    typer.Option(
        "--checkpointing",
        help="Compute activations twice instead of keeping them: far less memory, a third more"
        " time.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every stage takes."""

    stage: ClassVar[StageName]

    data: Annotated[
        list[Path] | None,
        _path(
            "--data",
            "PATH",
            "Data to train on; may be repeated. Default: $MMTRAIN_DATA, else synthetic shapes.",
        ),
    ] = None
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="M",
            help="The model to begin with: a preset or a checkpoint folder. auto: phi2 where its"
            " weights and a GPU are, else smol.",
        ),
    ] = "auto"
    steps: Steps
    batch: Batch
    accumulation: Accumulation = 1
    warmup: Warmup = 50
    weight_decay: WeightDecay = 0.0
    clip: Annotated[
        float,
        _number("--clip", "X", "L2 norm to which gradients are clipped; 0 turns clipping off."),
    ] = 1.0
    optimizer: Annotated[
        OptimizerName,
        typer.Option(
            "--optimizer",
            help="auto: Adam with 8-bit moments on a GPU, AdamW elsewhere. A paged one moves its"
            " moments to the CPU's memory where the GPU's is full.",
        ),
    ] = "auto"
    precision: Annotated[
        Precision,
        typer.Option(
            "--precision",
            help="Number format of activations. auto: bf16 where the device computes in it, else"
            " fp32.",
        ),
    ] = "auto"
    seed: Annotated[
        int, _number("--seed", "N", "Seed of the order of rows, of new weights and of dropout.")
    ] = 0
    eval_every: Annotated[
        int, _number("--eval-every", "N", "Steps between two validations.", 1)
    ] = 200
    save_every: SaveEvery = 100
    save_minutes: Annotated[
        float,
        _number(
            "--save-minutes",
            "N",
            "Save after so many minutes, too; 0 leaves it to --save-every alone.",
        ),
    ] = 10.0
    val_limit: ValLimit = 200
    track: Annotated[
        Tracker | None, typer.Option("--track", help="Send metrics to this tracker, too.")
    ] = None

    @property
    @abstractmethod
    def rates(self) -> dict[str, float]:
        """Peak learning rates, by the part of the model that is trained."""

    @property
    def warmup_steps(self) -> int:
        return min(self.warmup, self.steps // 10)

    def window(self, processes: int) -> int:
        """Rows in a step, over all processes."""
        return self.batch * self.accumulation * processes


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(RunOptions):
    """A Phi language model from random weights."""

    stage: ClassVar[StageName] = "pretrain"

    size: Annotated[
        str,
        typer.Option(
            "--size",
            metavar="phi-2|170m|nano|FILE",
            help="Size of the model, or a config.json in the form of a hub model's.",
        ),
    ] = "nano"
    block: Annotated[
        int, _number("--block", "N", "Tokens in a row; the context of the model.", 8)
    ] = 256
    validation: Annotated[
        list[Path] | None,
        _path(
            "--validation",
            "PATH",
            "Text to validate on; may be repeated. Default: one document in 100 of the data.",
        ),
    ] = None
    checkpointing: Checkpointing = False
    steps: Steps = 4000
    batch: Batch = 4
    lr: LearningRate = 1e-3
    warmup: Warmup = 100
    weight_decay: WeightDecay = 0.1
    save_every: SaveEvery = 500

    @property
    def rates(self) -> dict[str, float]:
        return {"language": self.lr}


@dataclass(frozen=True, kw_only=True)
class AlignOptions(RunOptions):
    """The projector alone."""

    stage: ClassVar[StageName] = "align"

    projector: Annotated[
        ProjectorKind,
        typer.Option(
            "--projector", help="Form of the projector: one linear layer, or two with a GELU."
        ),
    ] = "linear"
    init: Annotated[
        ProjectorInit,
        typer.Option(
            "--init",
            help="Where the projector begins: at the names of what the tower knows, at a ridge"
            " regression on the captions, or at random.",
        ),
    ] = "ridge"
    steps: Steps = 2000
    batch: Batch = 16
    lr: LearningRate = 1e-3
    max_length: MaxLength = 512
    mirror: Mirror = False
    val_limit: ValLimit = 500

    @property
    def rates(self) -> dict[str, float]:
        return {"projector": self.lr}

    @property
    def views(self) -> tuple["View", ...]:
        return _views(self.mirror)


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(RunOptions):
    """The projector, and LoRA over the language model."""

    stage: ClassVar[StageName] = "finetune"

    images: Annotated[
        Path | None,
        _path("--images", "DIR", "Folder of the pictures that the data names."),
    ] = None
    quantize: Annotated[
        Quantize,
        typer.Option("--quantize", help="Keep the frozen language model in 4 bits, or do not."),
    ] = "nf4"
    rank: Annotated[
        int | None,
        _number(
            "--rank", "R", "Rank of the adapters. Default: that of the model's adapter, else 64.", 1
        ),
    ] = None
    alpha: Annotated[
        int | None,
        _number(
            "--alpha",
            "A",
            "Adapters are scaled by alpha / rank. Default: that of the model's adapter, else 16.",
            1,
        ),
    ] = None
    dropout: Annotated[
        float | None,
        _number(
            "--dropout",
            "P",
            "Share of an adapter's inputs that is dropped. Default: that of the model's adapter,"
            " else 0.1.",
            0,
            0.9,
        ),
    ] = None
    patch_dropout: Annotated[
        float,
        _number(
            "--patch-dropout",
            "P",
            "Share of the numbers of patch features that is dropped.",
            0,
            0.9,
        ),
    ] = 0.0
    checkpointing: Checkpointing = False
    steps: Steps = 2000
    batch: Batch = 8
    accumulation: Accumulation = 2
    projector_lr: Annotated[
        float, _number("--projector-lr", "X", "Peak learning rate of the projector.")
    ] = 2e-5
    lora_lr: Annotated[float, _number("--lora-lr", "X", "Peak learning rate of the adapters.")] = (
        2e-4
    )
    max_length: MaxLength = 1024
    mirror: Mirror = False
    val_limit: ValLimit = 300

    @property
    def rates(self) -> dict[str, float]:
        return {"projector": self.projector_lr, "language": self.lora_lr}

    @property
    def views(self) -> tuple["View", ...]:
        return _views(self.mirror)


def _views(mirror: bool) -> tuple["View", ...]:
    """How pictures are shown: upright only, or mirrored half of the time."""
    return ("plain", "mirrored") if mirror else ("plain",)


def flag(name: str) -> str:
    """The option of the command line that sets a field."""
    return "--" + name.replace("_", "-")
