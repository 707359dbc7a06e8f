"""`mmtrain export`: copy, convert or merge trained models."""

import math
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from mmtui.errors import UsageError
from mmtui.paths import resolve
from mmtui.progress import reporting
from mmtui.text import one_line


class _ModelByDefault(TyperGroup):
    """A group whose subcommand `model` may be left out: `export RUN DIR`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["model", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


app = typer.Typer(
    cls=_ModelByDefault,
    help="Export a trained model: `export RUN DIR`, `export gguf` for llama.cpp, `export hf` for"
    " transformers, or `export merge` to average models.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command()
def model(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", parser=resolve, help="Folder of the run or checkpoint to export."
        ),
    ],
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DIR|PRESET",
            help="Folder to write, new or an earlier export. A preset, phi2 or smol: install the"
            " model as that preset for the current user.",
        ),
    ],
) -> None:
    """Copy the model of a run in bf16, at half the size, without the training state.

    The word `model` may be left out.
    """
    from mmtrain.export.checkpoint import export

    print(one_line(str(export(run, destination))))


@app.command()
def gguf(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Run, checkpoint folder or preset; its language model is a Phi or a Llama.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            parser=resolve,
            help="Folder to write, new or an earlier export. `mmtui --model DIR` uses it.",
        ),
    ],
    quantize: Annotated[
        Literal["q4_0", "q8_0", "f16", "f32"],
        typer.Option(
            "--quantize",
            help="Number format of the weight matrices. q4_0 is the smallest and fastest, f32 the"
            " most exact. The mmproj is f16, or f32 with f32.",
        ),
    ] = "q8_0",
) -> None:
    """Convert a model for llama.cpp: a GGUF of the language model, and the projector.

    The adapter is merged into the language model. For other programs, the vision tower is written
    as an mmproj beside the GGUF if it is a CLIP or SigLIP, and a Modelfile for Ollama.
    """
    with reporting() as report:
        from mmtrain.export.gguf import export_gguf

        written = export_gguf(checkpoint, out, quantize, report, _notify)
    print(one_line(str(written)))


def _notify(text: str) -> None:
    print(one_line(text), file=sys.stderr)


@app.command()
def hf(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT",
            help="Run, checkpoint folder or preset with a CLIP or SigLIP tower.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="DIR", parser=resolve, help="Folder to write, new or empty."),
    ],
    dtype: Annotated[
        Literal["bf16", "fp32"],
        typer.Option(
            "--dtype", help="Number format of the weights. fp32 is exact and twice as large."
        ),
    ] = "bf16",
) -> None:
    """Convert a model to a LLaVA checkpoint for transformers and vLLM.

    The adapter is merged into the language model. The folder needs nothing of mmtui.
    """
    with reporting() as report:
        from mmtrain.export.llava import export_llava

        written = export_llava(checkpoint, out, dtype, report)
    print(one_line(str(written)))


def _parse_weighted(text: str) -> tuple[str, float]:
    name, _, weight = text.rpartition("=")
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not name or not math.isfinite(number):
        raise UsageError(f"{text!r} is not MODEL=WEIGHT", "write, for example, smol=0.5")
    return name, number


@app.command()
def merge(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL=WEIGHT",
            help="Runs, checkpoint folders or presets, and how much each counts. The weights sum to"
            " 1, and may be negative.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            parser=resolve,
            help="Folder to write, new or an earlier export. `mmtui --model DIR` uses it.",
        ),
    ],
) -> None:
    """Merge models that were trained from the same one: a weighted sum of what was trained.

    `smol=0.5 runs/a=0.5` averages a model and a run that started from it; the result often keeps
    more of the old abilities than the run (arXiv:2109.01903). `runs/a=1 runs/b=1 smol=-1` adds what
    two runs that started from smol have learned (arXiv:2212.04089). A model without an adapter
    counts as one whose adapter changes nothing. The settings are those of the first model.
    """
    from mmtrain.export.merge import export_merged

    print(one_line(str(export_merged([_parse_weighted(text) for text in models], out))))
