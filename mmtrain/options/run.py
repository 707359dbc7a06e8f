"""The options that all stages share, and those of a start."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import typer
from annotated_types import Ge

from mmtrain.options.fields import (
    AUTO,
    Accumulation,
    Batch,
    SaveEvery,
    Steps,
    ValLimit,
    Warmup,
    WeightDecay,
    choice_option,
    path_option,
    value_option,
)

StageName = Literal["pretrain", "align", "finetune"]
Precision = Literal["auto", "bf16", "fp32"]
OptimizerName = Literal["auto", "adamw", "adam8bit", "paged-adam8bit"]
Tracker = Literal["tensorboard", "wandb"]

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


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """How a run is started. These options belong to one start of a run and not to run.json."""

    out: Annotated[
        Path | None,
        path_option(
            "DIR",
            "Folder of the run, new or empty: the model, run.json, metrics, samples and the state"
            " for --resume are written to it. Default: runs/STAGE.",
        ),
    ] = None
    config: Annotated[
        Path | None,
        path_option(
            "FILE",
            "Start a new run with the options in FILE, the run.json of another run. Options on the"
            " command line override those in the file.",
        ),
    ] = None
    resume: Annotated[
        str | None,
        value_option(
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
        path_option(
            "PATH",
            "Training data: captions in the layout of COCO, or LLaVA-Instruct dialogues, a file or"
            " a folder. May be repeated. Default: $MMTRAIN_DATA, else generated pictures of"
            " coloured shapes.",
        ),
    ] = None
    model: Annotated[
        str,
        value_option(
            "MODEL",
            f"Model to start from: a preset (smol, phi2) or a checkpoint folder. auto: {AUTO}.",
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
        value_option("X", "L2 norm to which gradients are clipped; 0 turns clipping off."),
    ] = 1.0
    optimizer: Annotated[
        OptimizerName,
        choice_option(
            "Optimizer. adamw keeps its moments in fp32; adam8bit keeps them in 8 bits, in a"
            " quarter of the memory; paged-adam8bit also moves them to CPU memory when the GPU is"
            " full. auto: adam8bit on a GPU (adamw with FSDP), else adamw.",
        ),
    ] = "auto"
    precision: Annotated[
        Precision,
        choice_option(
            "Number format of the computation. auto: bf16 if the device supports it natively,"
            " else fp32. Choose fp32 to compare runs exactly.",
        ),
    ] = "auto"
    seed: Annotated[
        int,
        Ge(0),
        value_option("N", "Random seed for the order of rows, new weights and dropout."),
    ] = 0
    eval_every: Annotated[int, Ge(1), value_option("N", "Steps between two validations.")] = 200
    save_every: SaveEvery = 100
    save_minutes: Annotated[
        float,
        Ge(0),
        value_option(
            "MIN",
            "Minutes after which the run is saved even if --save-every is not due; 0 turns this"
            " off.",
        ),
    ] = 10.0
    val_limit: ValLimit = 200
    track: Annotated[
        Tracker | None,
        choice_option("Experiment tracker that also receives the metrics. Default: none."),
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
