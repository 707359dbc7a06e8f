"""Every `mmtrain` command. What is heavy is imported by the command that needs it."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import mmtui
from mmtrain.data.cli import app as data_app
from mmtrain.evaluation.cli import app as eval_app
from mmtrain.export_cli import app as export_app
from mmtui.entry import silence_libraries
from mmtui.errors import UsageError
from mmtui.paths import resolve
from mmtui.progress import reporting
from mmtui.text import one_line

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mmtrain.launch import Common, Where
    from mmtui.pipeline.assets import Report

app = typer.Typer(
    name="mmtrain",
    help="Trains the models of mmtui, in three stages: pretrain, align, finetune.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(data_app, name="data")
app.add_typer(eval_app, name="eval")
app.add_typer(export_app, name="export")

ALIGNED = Path("runs/align")  # where a bare `align` leaves its model, a bare `finetune` begins
Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data", parser=resolve, metavar="PATH", help="Data; may be repeated. Else $MMTRAIN_DATA."
    ),
]
Model = Annotated[
    str, typer.Option("--model", metavar="M", help="A preset or a checkpoint folder.")
]
Steps = Annotated[int, typer.Option("--steps", metavar="N", min=1, help="Steps of the optimizer.")]
Out = Annotated[
    Path | None, typer.Option("--out", parser=resolve, metavar="DIR", help="Default: runs/STAGE.")
]
Resume = Annotated[
    str | None,
    typer.Option("--resume", metavar="auto|DIR", help="Go on where the run in --out, or DIR, was."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Stop after the pre-flight.")]
Batch = Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Rows at once.")]
Accumulation = Annotated[
    int, typer.Option("--accumulation", metavar="N", min=1, help="Batches that make a step.")
]
Rate = Annotated[float, typer.Option("--lr", metavar="X", min=0, help="Peak learning rate.")]
Warmup = Annotated[
    int, typer.Option("--warmup", metavar="N", min=0, help="A tenth of the run at most.")
]
Decay = Annotated[float, typer.Option("--weight-decay", metavar="X", min=0, help="Of matrices.")]
Clip = Annotated[
    float, typer.Option("--clip", metavar="X", min=0, help="Longest gradient; 0: any.")
]
Optimizer = Annotated[
    Literal["auto", "adamw", "adam8bit", "paged-adam8bit"],
    typer.Option("--optimizer", help="auto: 8-bit Adam on a GPU, AdamW elsewhere."),
]
PrecisionOption = Annotated[
    Literal["auto", "bf16", "fp32"],
    typer.Option("--precision", help="auto: bf16 where the device computes in it."),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Decides order and chance.")]
EvalEvery = Annotated[int, typer.Option("--eval-every", metavar="N", min=1, help="In steps.")]
SaveEvery = Annotated[int, typer.Option("--save-every", metavar="N", min=1, help="In steps.")]
ValLimit = Annotated[
    int, typer.Option("--val-limit", metavar="N", min=0, help="Held-out examples looked at.")
]
Track = Annotated[
    Literal["tensorboard", "wandb"] | None, typer.Option("--track", help="Log there too.")
]
MaxLength = Annotated[
    int, typer.Option("--max-length", metavar="N", min=8, help="Longest dialogue, in tokens.")
]
Mirror = Annotated[bool, typer.Option("--mirror", help="Half of the pictures left to right.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"mmtrain {mmtui.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and warnings.")] = False,
) -> None:
    if debug:
        os.environ["MMTUI_DEBUG"] = "1"
    else:
        silence_libraries()


@app.command()
def pretrain(
    data: Data = None,
    model: Model = "auto",
    size: Annotated[
        str, typer.Option("--size", metavar="phi-2|170m|nano|FILE", help="Or a config.json.")
    ] = "nano",
    block: Annotated[
        int, typer.Option("--block", metavar="N", min=8, help="Tokens in a row.")
    ] = 256,
    validation: Annotated[
        list[Path] | None,
        typer.Option(
            "--validation", parser=resolve, metavar="PATH", help="Else one document in 100."
        ),
    ] = None,
    steps: Steps = 4000,
    out: Out = None,
    resume: Resume = None,
    dry_run: DryRun = False,
    batch: Batch = 4,
    accumulation: Accumulation = 1,
    lr: Rate = 1e-3,
    warmup: Warmup = 100,
    weight_decay: Decay = 0.1,
    clip: Clip = 1.0,
    optimizer: Optimizer = "auto",
    precision: PrecisionOption = "auto",
    seed: Seed = 0,
    eval_every: EvalEvery = 200,
    save_every: SaveEvery = 500,
    val_limit: ValLimit = 200,
    track: Track = None,
) -> None:
    """A Phi language model from random weights, on RedPajama text (.jsonl, .gz, .zst)."""
    common = _common(
        data, model, precision, {"language": lr}, steps, batch, accumulation, warmup, weight_decay,
        clip, optimizer, seed, eval_every, save_every, val_limit,
    )  # fmt: skip
    where = _where("pretrain", out, resume, dry_run, track)
    with _reporting() as report:
        from mmtrain.launch import run_pretrain

        run_pretrain(common, where, size, block, validation or [], report)


@app.command()
def align(
    data: Data = None,
    model: Model = "auto",
    projector: Annotated[
        Literal["linear", "mlp"], typer.Option("--projector", help="mlp: two layers, GELU.")
    ] = "linear",
    init: Annotated[
        Literal["concepts", "ridge", "random"],
        typer.Option("--init", help="Where the projector begins."),
    ] = "ridge",
    steps: Steps = 2000,
    out: Out = None,
    resume: Resume = None,
    dry_run: DryRun = False,
    batch: Batch = 16,
    accumulation: Accumulation = 1,
    lr: Rate = 1e-3,
    warmup: Warmup = 50,
    weight_decay: Decay = 0.0,
    clip: Clip = 1.0,
    optimizer: Optimizer = "auto",
    precision: PrecisionOption = "auto",
    max_length: MaxLength = 512,
    mirror: Mirror = False,
    seed: Seed = 0,
    eval_every: EvalEvery = 200,
    save_every: SaveEvery = 100,
    val_limit: ValLimit = 500,
    track: Track = None,
) -> None:
    """The projector alone, on captions (COCO 2017) or dialogues (LLaVA-Instruct)."""
    common = _common(
        data, model, precision, {"projector": lr}, steps, batch, accumulation, warmup,
        weight_decay, clip, optimizer, seed, eval_every, save_every, val_limit,
    )  # fmt: skip
    where = _where("align", out, resume, dry_run, track)
    with _reporting() as report:
        from mmtrain.launch import run_align

        run_align(common, where, projector, init, max_length, _views(mirror), report)


@app.command()
def finetune(
    data: Data = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            parser=resolve,
            metavar="DIR",
            help="The checkpoint to begin with; default: runs/align.",
        ),
    ] = None,
    model: Model = "auto",
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", parser=resolve, metavar="DIR", help="Where the JSON's images are."
        ),
    ] = None,
    quantize: Annotated[
        Literal["nf4", "none"], typer.Option("--quantize", help="Of the frozen language model.")
    ] = "nf4",
    rank: Annotated[int, typer.Option("--rank", metavar="R", min=1, help="Of the adapters.")] = 64,
    alpha: Annotated[int, typer.Option("--alpha", metavar="A", min=1, help="Their scale.")] = 16,
    dropout: Annotated[
        float, typer.Option("--dropout", metavar="P", min=0, max=0.9, help="In the adapters.")
    ] = 0.1,
    patch_dropout: Annotated[
        float, typer.Option("--patch-dropout", metavar="P", min=0, max=0.9, help="Of features.")
    ] = 0.0,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Less memory, a third more time.")
    ] = False,
    steps: Steps = 2000,
    out: Out = None,
    resume: Resume = None,
    dry_run: DryRun = False,
    batch: Batch = 8,
    accumulation: Accumulation = 2,
    projector_lr: Annotated[
        float, typer.Option("--projector-lr", metavar="X", min=0, help="Peak learning rate.")
    ] = 2e-5,
    lora_lr: Annotated[
        float, typer.Option("--lora-lr", metavar="X", min=0, help="Peak learning rate.")
    ] = 2e-4,
    warmup: Warmup = 50,
    weight_decay: Decay = 0.0,
    clip: Clip = 1.0,
    optimizer: Optimizer = "auto",
    precision: PrecisionOption = "auto",
    max_length: MaxLength = 1024,
    mirror: Mirror = False,
    seed: Seed = 0,
    eval_every: EvalEvery = 200,
    save_every: SaveEvery = 100,
    val_limit: ValLimit = 300,
    track: Track = None,
) -> None:
    """The projector and LoRA over the language model, on dialogues (LLaVA-Instruct)."""
    rates = {"projector": projector_lr, "language": lora_lr}
    if from_ is None and model == "auto" and ALIGNED.is_dir():
        from_ = ALIGNED
    if from_ is not None and not from_.is_dir():
        raise UsageError(f"{from_} is no folder", "--from takes what `mmtrain align` wrote")
    common = _common(
        data, str(from_) if from_ else model, precision, rates, steps, batch, accumulation, warmup,
        weight_decay, clip, optimizer, seed, eval_every, save_every, val_limit,
    )  # fmt: skip
    where = _where("finetune", out, resume, dry_run, track)
    with _reporting() as report:
        from mmtrain.launch import run_finetune
        from mmtrain.stages.finetune import Lora

        lora = Lora(rank, alpha, dropout)
        views = _views(mirror)
        run_finetune(
            common, where, lora, patch_dropout, quantize, checkpointing, images, max_length, views,
            report,
        )  # fmt: skip


@app.command()
def plot(
    runs: Annotated[
        list[Path], typer.Argument(metavar="OUT...", parser=resolve, help="Folders of runs.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=resolve,
            metavar="FILE",
            help="The picture to write; .png, .jpg, .webp, .svg and .pdf name its format.",
        ),
    ] = Path("loss.png"),
) -> None:
    """Draw the losses of runs over each other."""
    from mmtrain.plotting import plot as draw

    draw(runs, out)
    print(one_line(str(out)))


def _reporting() -> "AbstractContextManager[Report]":
    """A bar in one of the processes that make a run; the others are silent."""
    if os.environ.get("RANK", "0") == "0":
        return reporting()
    from mmtui.pipeline.assets import silent

    return nullcontext(silent)


def _common(
    data: list[Path] | None, model: str, precision: Any, rates: dict[str, float], steps: int,
    batch: int, accumulation: int, warmup: int, decay: float, clip: float, optimizer: Any,
    seed: int, eval_every: int, save_every: int, val_limit: int,
) -> "Common":  # fmt: skip
    from mmtrain.launch import Common
    from mmtrain.stage import Options

    options = Options(
        steps, batch, accumulation, rates, min(warmup, steps // 10), decay, clip, optimizer,
        seed, eval_every, save_every, val_limit,
    )  # fmt: skip
    return Common(data or [], model, precision, options)


def _where(
    stage: str, out: Path | None, resume: str | None, dry_run: bool, track: str | None
) -> "Where":
    from mmtrain.launch import Where

    if resume not in (None, "auto"):
        if out is not None and out != resolve(resume):
            raise UsageError("--resume DIR and --out name different folders", "leave --out away")
        out = resolve(resume)
    return Where(out or Path("runs") / stage, resume, dry_run, track)


def _views(mirror: bool) -> Any:
    return ("plain", "mirrored") if mirror else ("plain",)
