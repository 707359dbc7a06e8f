"""The `mmtrain` command. Heavy libraries are imported by the subcommand that needs them."""

import inspect
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_type_hints

import typer
from annotated_types import Ge, Le
from typer.models import OptionInfo

import mmtui
from mmtrain.cli.data import app as data_app
from mmtrain.cli.evaluate import app as eval_app
from mmtrain.cli.export import app as export_app
from mmtrain.options import AlignOptions, FinetuneOptions, PretrainOptions, RunOptions, StartOptions
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
    help="Train the models of mmtui in three stages: pretrain, align, finetune.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(data_app, name="data")
app.add_typer(eval_app, name="eval")
app.add_typer(export_app, name="export")

ALIGN_FOLDER = Path("runs/align")  # the default --out of `align`
Options = TypeVar("Options", bound=RunOptions)


def _print_version(requested: bool) -> None:
    if requested:
        print(f"mmtrain {mmtui.__version__}")
        raise typer.Exit


@app.callback()
def _set_up(
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            help="Show the traceback of an error, and the warnings of libraries. Use it to report"
            " a bug.",
        ),
    ] = False,
) -> None:
    if debug:
        os.environ["MMTUI_DEBUG"] = "1"
    else:
        silence_libraries()


def _add_options(kind: type[Options]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds the fields of two dataclasses to a command as its options.

    The command is called with `options`, a `kind`, and `start`, a `StartOptions`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def parse(context: typer.Context, **values: Any) -> None:
            start = StartOptions(
                **{field.name: values.pop(field.name) for field in _list_options(StartOptions)},
                explicit=frozenset(
                    field.name for field in fields(kind) if _is_explicit(context, field.name)
                ),
            )
            options = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            command(options=options, start=start, **values)

        signature = inspect.signature(command, eval_str=True)
        parameters = [
            inspect.Parameter(
                "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
            ),
            *_make_parameters(kind),
            *(p for name, p in signature.parameters.items() if name not in ("options", "start")),
            *_make_parameters(StartOptions),
        ]
        parse.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        parse.__annotations__ = {p.name: p.annotation for p in parameters}
        parse.__name__, parse.__doc__ = command.__name__, command.__doc__
        return parse

    return decorate


def _list_options(kind: type[RunOptions | StartOptions]) -> list["Field[Any]"]:
    """Return the fields of a dataclass that are options of the command line."""
    return [field for field in fields(kind) if field.name != "explicit"]


def _make_parameters(kind: type[RunOptions | StartOptions]) -> list[inspect.Parameter]:
    """Return the options of a dataclass as parameters that Typer understands."""
    hints = get_type_hints(kind, include_extras=True)
    parameters = []
    for field in _list_options(kind):
        hint = hints[field.name]
        for limit in hint.__metadata__:
            if isinstance(limit, Ge):
                _get_option(hint).min = cast("float", limit.ge)
            elif isinstance(limit, Le):
                _get_option(hint).max = cast("float", limit.le)
        parameters.append(
            inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hint
            )
        )
    return parameters


def _get_option(hint: Any) -> OptionInfo:
    return next(part for part in hint.__metadata__ if isinstance(part, OptionInfo))


def _is_explicit(context: typer.Context, name: str) -> bool:
    """Return whether an option was given on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@app.command()
@_add_options(PretrainOptions)
def pretrain(options: PretrainOptions, start: StartOptions) -> None:
    """Train a Phi language model from random weights on text.

    The text is RedPajama's JSON lines in .jsonl, .jsonl.gz or .jsonl.zst files.
    """
    _launch(options, start)


@app.command()
@_add_options(AlignOptions)
def align(options: AlignOptions, start: StartOptions) -> None:
    """Train the projector between a frozen vision tower and a frozen language model.

    The data are captions in the layout of COCO 2017, or LLaVA-Instruct dialogues.
    """
    _launch(options, start)


@app.command()
@_add_options(FinetuneOptions)
def finetune(
    options: FinetuneOptions,
    start: StartOptions,
    *,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            parser=resolve,
            metavar="DIR",
            help="Folder of the aligned model to start from; the same as --model DIR. Default:"
            " runs/align if it exists.",
        ),
    ] = None,
) -> None:
    """Train the projector, and LoRA on the language model, on LLaVA-Instruct dialogues."""
    if from_ is not None:
        if "model" in start.explicit:
            raise UsageError("--from and --model both name a model to start from", "pass only one")
        if not from_.is_dir():
            raise UsageError(f"{from_} is not a folder", "pass --from the folder of an align run")
        options = replace(options, model=str(from_))
        start = replace(start, explicit=start.explicit | {"model"})
    elif options.model == "auto" and ALIGN_FOLDER.is_dir():
        options = replace(options, model=str(ALIGN_FOLDER))
    _launch(options, start)


@app.command()
def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", parser=resolve, help="Folders of the runs to draw."),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=resolve,
            metavar="FILE",
            help="Picture to write. Its suffix selects the format: .png, .jpg, .webp, .svg or"
            " .pdf.",
        ),
    ] = Path("loss.png"),
) -> None:
    """Plot the training and validation losses of runs in one figure."""
    from mmtrain.run.plotting import plot as draw

    draw(runs, out)
    print(one_line(str(out)))


@app.command("import")
def import_(
    release: Annotated[
        Path,
        typer.Argument(
            metavar="RELEASE",
            parser=resolve,
            help="Folder of the release, with ft_projection.pth and qlora_adaptor/.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            parser=resolve,
            help="Folder to write, new or an earlier import. `mmtui --model DIR` uses it.",
        ),
    ],
    language: Annotated[
        str,
        typer.Option(
            "--language",
            metavar="MODEL",
            help="Phi-2, the language model of the release: hf:OWNER/NAME or a folder.",
        ),
    ] = "hf:microsoft/phi-2",
    vision: Annotated[
        str,
        typer.Option(
            "--vision",
            metavar="MODEL",
            help="TinyCLIP in Hugging Face's layout, its vision tower: hf:OWNER/NAME or a folder.",
        ),
    ] = "hf:wkcn/TinyCLIP-ViT-61M-32-Text-29M-LAION400M",
) -> None:
    """Import the projector and the QLoRA adapter that the original project released.

    The checkpoint keeps its prompt, and features before the tower's last layer norm.
    """
    from mmtrain.original_release import import_release

    print(one_line(str(import_release(release, out, language, vision))))


def _launch(options: RunOptions, start: StartOptions) -> None:
    with _report_progress() as report:
        from mmtrain.run.launch import launch

        launch(options, start, report)


def _report_progress() -> "AbstractContextManager[Report]":
    """Show a progress bar in the first process of a run; the other processes show nothing."""
    if os.environ.get("RANK", "0") == "0":
        return reporting()
    from mmtui.pipeline.assets.fetch import ignore_progress

    return nullcontext(ignore_progress)
