"""Every `mmtrain` command. What is heavy is imported by the command that needs it."""

import inspect
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import typer

import mmtui
from mmtrain.cli.data import app as data_app
from mmtrain.cli.evaluate import app as eval_app
from mmtrain.cli.export import app as export_app
from mmtrain.options import AlignOptions, FinetuneOptions, PretrainOptions, RunOptions
from mmtui.entry import silence_libraries
from mmtui.errors import UsageError
from mmtui.paths import resolve
from mmtui.progress import reporting
from mmtui.text import one_line

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mmtui.pipeline.assets.fetch import Report

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
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", parser=resolve, metavar="DIR", help="Folder of the run. Default: runs/STAGE."
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="auto|DIR",
        help="Go on with the run in DIR, or with the one in --out if there is one. It keeps its"
        " options; more --steps prolong it.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print the plan and stop; no weights are fetched."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Train even if the plan needs more memory than is free.")
]


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


Options = TypeVar("Options", bound=RunOptions)


def _with_options(kind: type[Options]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of `kind` as its options.

    The command is called with `options`, and with `typed`: the names of those that stand on the
    command line.
    """
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in fields(kind)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def parsed(context: typer.Context, **values: Any) -> None:
            typed = {
                name
                for name in names
                if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
            }
            options = kind(**{name: values.pop(name) for name in names})
            command(options=options, typed=typed, **values)

        own = [
            parameter
            for parameter in inspect.signature(command, eval_str=True).parameters.values()
            if parameter.name not in ("options", "typed")
        ]
        taken = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=hints[field.name],
            )
            for field in fields(kind)
        ]
        context = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )
        parameters = [
            context,
            *taken,
            *(own_.replace(kind=inspect.Parameter.KEYWORD_ONLY) for own_ in own),
        ]
        parsed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        parsed.__annotations__ = {p.name: p.annotation for p in parameters}
        parsed.__name__, parsed.__doc__ = command.__name__, command.__doc__
        return parsed

    return decorate


@app.command()
@_with_options(PretrainOptions)
def pretrain(
    options: PretrainOptions,
    typed: set[str],
    out: Out = None,
    resume: Resume = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Train a Phi language model from random weights, on RedPajama text (.jsonl, .gz, .zst)."""
    _run(options, typed, out, resume, dry_run, force)


@app.command()
@_with_options(AlignOptions)
def align(
    options: AlignOptions,
    typed: set[str],
    out: Out = None,
    resume: Resume = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Train the projector alone, on captions (COCO 2017) or dialogues (LLaVA-Instruct)."""
    _run(options, typed, out, resume, dry_run, force)


@app.command()
@_with_options(FinetuneOptions)
def finetune(
    options: FinetuneOptions,
    typed: set[str],
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            parser=resolve,
            metavar="DIR",
            help="As --model, of a folder. Default: runs/align if it is there.",
        ),
    ] = None,
    out: Out = None,
    resume: Resume = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Train the projector and LoRA over the language model, on dialogues (LLaVA-Instruct)."""
    if from_ is not None:
        if not from_.is_dir():
            raise UsageError(f"{from_} is no folder", "--from takes what `mmtrain align` wrote")
        options, typed = replace(options, model=str(from_)), {*typed, "model"}
    elif options.model == "auto" and ALIGNED.is_dir():
        options = replace(options, model=str(ALIGNED))
    _run(options, typed, out, resume, dry_run, force)


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
    from mmtrain.run.plotting import plot as draw

    draw(runs, out)
    print(one_line(str(out)))


def _run(
    options: RunOptions,
    typed: set[str],
    out: Path | None,
    resume: str | None,
    dry_run: bool,
    force: bool,
) -> None:
    if resume not in (None, "auto"):
        place = resolve(resume)
        if out is not None and out != place:
            raise UsageError("--resume DIR and --out name different folders", "leave --out away")
        out = place
    with _reporting() as report:
        from mmtrain.run.launch import Launch, launch

        how = Launch(
            out=out or Path("runs") / options.stage,
            resume=resume,
            dry_run=dry_run,
            force=force,
            typed=frozenset(typed),
        )
        launch(options, how, report)


def _reporting() -> "AbstractContextManager[Report]":
    """A bar in one of the processes that make a run; the others are silent."""
    if os.environ.get("RANK", "0") == "0":
        return reporting()
    from mmtui.pipeline.assets.fetch import silent

    return nullcontext(silent)
