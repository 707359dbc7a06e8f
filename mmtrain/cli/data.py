"""`mmtrain data`: generate, check, mix and download training data."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mmtrain.cli import recipes
from mmtui.paths import resolve
from mmtui.progress import print_json, reporting
from mmtui.text import one_line

app = typer.Typer(
    help="Generate, check, mix and download training data.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

for recipe in (recipes.shapes, recipes.mix, recipes.reading, recipes.captions, recipes.chats):
    app.command()(recipe)


@app.command()
def check(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            parser=resolve,
            help="File or folder of COCO, LLaVA-Instruct or RedPajama data.",
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            parser=resolve,
            metavar="DIR",
            help="Folder of the pictures that LLaVA-Instruct data refers to. Default: images/ or"
            " train2017/ beside the data file, or else the folder of that file.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Preset or checkpoint folder whose tokenizer counts the tokens. auto: phi2 if its"
            " weights are downloaded and there is a GPU, else smol.",
        ),
    ] = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as one JSON document.")
    ] = False,
) -> None:
    """Report what training would find in a data set.

    Counts examples, tokens, broken pictures and rows that are skipped. The exit code is 4 if
    training would refuse the data.
    """
    with reporting() as report:
        from mmtrain.data.check import check as read
        from mmtrain.model.loading import find_checkpoint, load_tokenizer

        found = read(path, images, load_tokenizer(find_checkpoint(model), report), report)
    first, *others = found.reports
    if as_json:
        print_json(first | ({"also": others} if others else {}))
    else:
        for facts in found.reports:
            for name, value in facts.items():
                for line in value if isinstance(value, list) else [value]:
                    print(one_line(f"{name.replace('_', ' '):14} {_format(line)}"))
    for refusal in found.refusals[1:]:
        print(one_line(f"note: another layout is refused too: {refusal}"), file=sys.stderr)
    if found.refusals:
        raise found.refusals[0]


@app.command()
def coco2017(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=resolve,
            metavar="DIR",
            help="Folder to write. The archives and their pictures need 40 GB of disk space.",
        ),
    ],
) -> None:
    """Download COCO 2017, or explain which files to put where if there is no network."""
    with reporting() as report:
        from mmtrain.data.coco2017 import fetch

        fetch(out, report)
    print(one_line(f"{out} is ready: mmtrain align --data {out}"))


def _format(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
