"""`mmtrain data`: make, check and fetch data."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mmtui.chat.text import one_line
from mmtui.errors import InputError, UsageError
from mmtui.progress import print_json, reporting

app = typer.Typer(help="Make, check and fetch data.", rich_markup_mode=None, no_args_is_help=True)


@app.command()
def shapes(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")],
    images: Annotated[int, typer.Option("--images", metavar="N", min=2, help="How many.")] = 2000,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Decides what is drawn.")
    ] = 0,
) -> None:
    """Coloured shapes, with captions, dialogues, questions and text, for trying every stage."""
    from mmtrain.data.shapes import generate

    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty", "name a new folder")
    with reporting() as report:
        generate(out, images, seed, report)
    print(one_line(str(out)))


@app.command()
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="COCO, LLaVA or RedPajama data.")],
    model: Annotated[
        str, typer.Option("--model", metavar="M", help="Whose tokens to count.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Count examples, broken images, odd rows and tokens; exit code 4 if images are broken."""
    with reporting() as report:
        from mmtrain.data.check import check as read
        from mmtrain.parts import find, tokenizer_of

        found = read(path, tokenizer_of(find(model), report), report)
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            for line in value if isinstance(value, list) else [value]:
                print(one_line(f"{name.replace('_', ' '):14} {_shown(line)}"))
    if found.get("broken_images"):
        raise typer.Exit(InputError.exit_code)


@app.command()
def coco2017(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Takes 40 GB while it works.")],
) -> None:
    """Fetch the official COCO 2017 archives, or tell what to put where."""
    with reporting() as report:
        from mmtrain.data.coco2017 import fetch

        fetch(out, report)
    print(one_line(f"{out} is ready: mmtrain align --data {out}"))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
