"""The options of a training run.

Each option is declared once, as a field of a dataclass. The field gives the option its name on the
command line, in the code and in run.json, its help text, its default and its range.
"""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import typer
from annotated_types import Ge, Le

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

# The options that a resumed run accepts on the command line, because they don't change what is
# trained. `data`, `images`, `validation` and `model` may point to a copy with the same content.
CHANGEABLE_ON_RESUME = frozenset(
    {
        "data",
        "images",
        "validation",
        "model",
        "steps",
        "eval_every",
        "save_every",
        "save_minutes",
        "val_limit",
        "track",
    }
)


def get_flag(name: str) -> str:
    """Return the command-line flag of a field: "--save-every" for "save_every"."""
    return "--" + name.replace("_", "-")


def _value(metavar: str, help_text: str) -> Any:
    return typer.Option(metavar=metavar, help=help_text)


def _choice(help_text: str) -> Any:
    return typer.Option(help=help_text)


def _path(metavar: str, help_text: str) -> Any:
    return typer.Option(metavar=metavar, parser=resolve, help=help_text)


# Options that several stages have with different defaults.
Steps = Annotated[
    int,
    Ge(1),
    _value(
        "N",
        "Optimizer steps of the whole run. Raise it together with --resume to prolong a"
        " finished run.",
    ),
]
Batch = Annotated[
    int,
    Ge(1),
    _value(
        "N",
        "Rows per forward pass and process. Lower it if memory runs out, and raise"
        " --accumulation to keep the rows per step.",
    ),
]
Accumulation = Annotated[
    int,
    Ge(1),
    _value(
        "N",
        "Batches whose gradients are accumulated into one optimizer step. A step trains on"
        " batch x accumulation x processes rows.",
    ),
]
LearningRate = Annotated[
    float,
    Ge(0),
    _value("LR", "Peak learning rate. Lower it if the loss jumps or becomes NaN."),
]
Warmup = Annotated[
    int,
    Ge(0),
    _value(
        "N",
        "Steps over which the learning rate rises linearly to its peak, at most a tenth of"
        " --steps. A cosine then lowers it to a tenth of the peak.",
    ),
]
WeightDecay = Annotated[
    float,
    Ge(0),
    _value(
        "X",
        "Weight decay of AdamW on weight matrices; biases and norms are never decayed. 0 turns it"
        " off.",
    ),
]
ValLimit = Annotated[
    int,
    Ge(0),
    _value(
        "N",
        "Maximum number of held-out rows in a validation, spread over the validation data. Lower"
        " it to validate faster; 0 turns validation off.",
    ),
]
SaveEvery = Annotated[
    int,
    Ge(1),
    _value("N", "Steps between two saves. A save writes the model and the state for --resume."),
]
MaxLength = Annotated[
    int,
    Ge(8),
    _value(
        "N",
        "Maximum length of a row in tokens, including the patches of its pictures. Longer"
        " dialogues lose their last turns. Lower it to save memory.",
    ),
]
Mirror = Annotated[
    bool,
    typer.Option(
        "--mirror",
        help='Data augmentation: mirror half of the pictures and swap "left" and "right" in their'
        " texts. Doubles the pictures that the vision tower encodes before the first step.",
    ),
]
Checkpointing = Annotated[
    bool,
    typer.Option(
        "--checkpointing",
        help="Gradient checkpointing: recompute activations in the backward pass instead of"
        " storing them. Uses far less memory; a step takes about a third longer.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """How a run is started. These options belong to one start of a run and not to run.json."""

    out: Annotated[
        Path | None,
        _path(
            "DIR",
            "Folder of the run, new or empty: the model, run.json, metrics, samples and the state"
            " for --resume are written to it. Default: runs/STAGE.",
        ),
    ] = None
    config: Annotated[
        Path | None,
        _path(
            "FILE",
            "Start a new run with the options in FILE, the run.json of another run. Options on the"
            " command line override those in the file.",
        ),
    ] = None
    resume: Annotated[
        str | None,
        _value(
            "auto|DIR",
            "Continue the run in DIR with the options in its run.json; options that don't change"
            " what is trained, such as --steps and --save-every, may be given again. auto:"
            " continue the run in --out, or start one if there is none.",
        ),
    ] = None
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the plan of the run (parameters, data, memory, time) and exit. Nothing is"
            " trained or written, and no weights are downloaded.",
        ),
    ] = False
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Start even if the run seems to need more memory than is free."
        ),
    ] = False
    explicit: frozenset[str] = frozenset()
    """The names of the run options that were given on the command line."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options that all stages share."""

    stage: ClassVar[StageName]
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    data: Annotated[
        list[Path] | None,
        _path(
            "PATH",
            "Training data: a file or a folder in a layout that `mmtrain data check` accepts. May"
            " be repeated. Default: $MMTRAIN_DATA, else generated pictures of coloured shapes.",
        ),
    ] = None
    model: Annotated[
        str,
        _value(
            "MODEL",
            "Model to start from: a preset (smol, phi2) or a checkpoint folder. auto: phi2 if its"
            " weights are downloaded and there is a GPU, else smol.",
        ),
    ] = "auto"
    steps: Steps
    batch: Batch
    accumulation: Accumulation = 1
    warmup: Warmup = 50
    weight_decay: WeightDecay = 0.0
    clip: Annotated[
        float,
        Ge(0),
        _value("X", "L2 norm to which gradients are clipped; 0 turns clipping off."),
    ] = 1.0
    optimizer: Annotated[
        OptimizerName,
        _choice(
            "Optimizer. adamw keeps its moments in fp32; adam8bit keeps them in 8 bits, in a"
            " quarter of the memory; paged-adam8bit also moves them to CPU memory when the GPU is"
            " full. auto: adam8bit on a GPU, else adamw.",
        ),
    ] = "auto"
    precision: Annotated[
        Precision,
        _choice(
            "Number format of the computation. auto: bf16 if the device supports it natively,"
            " else fp32. Choose fp32 to compare runs exactly.",
        ),
    ] = "auto"
    seed: Annotated[
        int,
        Ge(0),
        _value("N", "Random seed for the order of rows, new weights and dropout."),
    ] = 0
    eval_every: Annotated[int, Ge(1), _value("N", "Steps between two validations.")] = 200
    save_every: SaveEvery = 100
    save_minutes: Annotated[
        float,
        Ge(0),
        _value(
            "MIN",
            "Minutes after which the run is saved even if --save-every is not due; 0 turns this"
            " off.",
        ),
    ] = 10.0
    val_limit: ValLimit = 200
    track: Annotated[
        Tracker | None,
        _choice("Experiment tracker that also receives the metrics. Default: none."),
    ] = None

    @property
    @abstractmethod
    def learning_rates(self) -> dict[str, float]:
        """The peak learning rate of each trained part of the model, by the part's name."""

    @property
    def warmup_steps(self) -> int:
        """The steps of warmup: `warmup`, at most a tenth of the run."""
        return min(self.warmup, self.steps // 10)

    def count_rows_per_step(self, processes: int) -> int:
        """Return the number of rows in an optimizer step, over all processes."""
        return self.batch * self.accumulation * processes


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(RunOptions):
    """The options of pretraining, which trains a Phi language model from random weights."""

    stage: ClassVar[StageName] = "pretrain"

    size: Annotated[
        str,
        _value(
            "phi-2|170m|nano|FILE",
            "Size of the language model, or a config.json of a Phi in the format of transformers.",
        ),
    ] = "nano"
    block: Annotated[
        int,
        Ge(8),
        _value(
            "N",
            "Tokens in a row. It is also the context length of the trained model. Lower it to save"
            " memory.",
        ),
    ] = 256
    validation: Annotated[
        list[Path] | None,
        _path(
            "PATH",
            "Text to validate on, a file or a folder. May be repeated. Default: one document in"
            " 100 of the training data is held out.",
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
    def learning_rates(self) -> dict[str, float]:
        return {"language": self.lr}


@dataclass(frozen=True, kw_only=True)
class AlignOptions(RunOptions):
    """The options of alignment, which trains the projector alone."""

    stage: ClassVar[StageName] = "align"

    projector: Annotated[
        ProjectorKind,
        _choice("Architecture of the projector: one linear layer, or two with a GELU between."),
    ] = "linear"
    init: Annotated[
        ProjectorInit,
        _choice(
            "Initial weights of the projector. ridge: a ridge regression from picture features to"
            " the embeddings of their captions. concepts: from the vision tower's class names to"
            " their embeddings. random: random weights.",
        ),
    ] = "ridge"
    steps: Steps = 2000
    batch: Batch = 16
    lr: LearningRate = 1e-3
    max_length: MaxLength = 512
    mirror: Mirror = False
    val_limit: ValLimit = 500

    @property
    def learning_rates(self) -> dict[str, float]:
        return {"projector": self.lr}

    @property
    def views(self) -> tuple["View", ...]:
        """The views of a picture that training draws from."""
        return _list_views(self.mirror)


@dataclass(frozen=True, kw_only=True)
class FinetuneOptions(RunOptions):
    """The options of finetuning, which trains the projector and LoRA on the language model."""

    stage: ClassVar[StageName] = "finetune"

    images: Annotated[
        Path | None,
        _path(
            "DIR",
            "Folder of the pictures that LLaVA-Instruct data refers to. Default: images/,"
            " train2017/ or the folder of the data file itself.",
        ),
    ] = None
    quantize: Annotated[
        Quantize,
        _choice(
            "Storage of the frozen language model. nf4: 4 bits per weight, a quarter of the memory"
            " of bf16 (QLoRA). none: unquantized, which is faster if it fits.",
        ),
    ] = "nf4"
    rank: Annotated[
        int | None,
        Ge(1),
        _value(
            "R",
            "Rank of the LoRA matrices. Higher ranks can learn more and take more memory."
            " Default: the rank of the model's adapter, else 64.",
        ),
    ] = None
    alpha: Annotated[
        int | None,
        Ge(1),
        _value(
            "A",
            "LoRA scaling: the adapter's output is multiplied by alpha / rank. Default: the alpha"
            " of the model's adapter, else 16.",
        ),
    ] = None
    dropout: Annotated[
        float | None,
        Ge(0),
        Le(0.9),
        _value(
            "P",
            "Dropout probability on the inputs of LoRA layers. Raise it if the validation loss"
            " rises. Default: the dropout of the model's adapter, else 0.1.",
        ),
    ] = None
    patch_dropout: Annotated[
        float,
        Ge(0),
        Le(0.9),
        _value(
            "P",
            "Dropout probability on the patch features before the projector. Raise it if the"
            " validation loss rises.",
        ),
    ] = 0.0
    checkpointing: Checkpointing = False
    steps: Steps = 2000
    batch: Batch = 8
    accumulation: Accumulation = 2
    projector_lr: Annotated[
        float,
        Ge(0),
        _value("LR", "Peak learning rate of the projector. Lower it if the loss jumps."),
    ] = 2e-5
    lora_lr: Annotated[
        float,
        Ge(0),
        _value("LR", "Peak learning rate of the LoRA matrices. Lower it if the loss jumps."),
    ] = 2e-4
    max_length: MaxLength = 1024
    mirror: Mirror = False
    val_limit: ValLimit = 300

    @property
    def learning_rates(self) -> dict[str, float]:
        return {"projector": self.projector_lr, "language": self.lora_lr}

    @property
    def views(self) -> tuple["View", ...]:
        """The views of a picture that training draws from."""
        return _list_views(self.mirror)


def _list_views(mirror: bool) -> tuple["View", ...]:
    return ("plain", "mirrored") if mirror else ("plain",)
