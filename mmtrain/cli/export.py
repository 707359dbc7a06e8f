"""`mmtrain export`: what a run learnt, to be used elsewhere."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from mmtui.paths import resolve
from mmtui.progress import reporting
from mmtui.text import one_line


class _ModelByDefault(TyperGroup):
    """`export RUN DIR` is `export model RUN DIR`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["model", *args]
        rest: list[str] = super().parse_args(ctx, args)
        return rest


app = typer.Typer(
    cls=_ModelByDefault,
    help="Copy a model, to use it elsewhere: `export RUN DIR`, or as GGUF for llama.cpp.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command()
def model(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", parser=resolve, help="Run or checkpoint folder to export."),
    ],
    destination: Annotated[
        str,
        typer.Argument(
            metavar="DIR|PRESET",
            help="A new folder; phi2 or smol: it replaces that preset for you.",
        ),
    ],
) -> None:
    """Copy the model of a run, in half the bytes. The word `model` may be left out."""
    from mmtrain.export.checkpoint import export

    print(one_line(str(export(run, destination))))


@app.command()
def gguf(
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="A folder or a preset; Phi or Llama.")
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            parser=resolve,
            help="Folder to write, for --model: a new one, or an earlier export.",
        ),
    ],
    quantize: Annotated[
        Literal["q4_0", "q8_0", "f16"],
        typer.Option("--quantize", help="Number format of the weight matrices."),
    ] = "q8_0",
) -> None:
    """Write the language model as a GGUF, with the adapter merged in, beside the projector."""
    with reporting() as report:
        from mmtrain.export.checkpoint import export_gguf

        written = export_gguf(checkpoint, out, quantize, report)
    print(one_line(str(written)))


@app.command()
def between(
    one: Annotated[
        str, typer.Argument(metavar="ONE", help="First model: a checkpoint folder or a preset.")
    ],
    other: Annotated[
        str, typer.Argument(metavar="OTHER", help="Second model: a run that began from the first.")
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            parser=resolve,
            help="Folder to write, for --model: a new one, or an earlier export.",
        ),
    ],
    share: Annotated[
        float,
        typer.Option(
            "--share", metavar="X", min=0, max=1, help="Share of OTHER in the mix, from 0 to 1."
        ),
    ] = 0.5,
) -> None:
    """Mix the weights of a model and of a run that began from it, which may forget less."""
    from mmtrain.export.checkpoint import export_between

    print(one_line(str(export_between(one, other, out, share))))
