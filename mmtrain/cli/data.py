"""`mmtrain data`: make, check and fetch data."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mmtui.errors import UsageError
from mmtui.files import check_destination
from mmtui.paths import resolve
from mmtui.progress import print_json, reporting
from mmtui.text import one_line

app = typer.Typer(help="Make, check and fetch data.", rich_markup_mode=None, no_args_is_help=True)


@app.command()
def shapes(
    out: Annotated[
        Path,
        typer.Option(
            "--out", parser=resolve, metavar="DIR", help="Folder to write: a new or an empty one."
        ),
    ],
    images: Annotated[int, typer.Option("--images", metavar="N", min=2, help="How many.")] = 2000,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Decides what is drawn.")
    ] = 0,
) -> None:
    """Coloured shapes, with captions, dialogues, questions and text, for trying every stage."""
    from mmtrain.data.shapes import generate

    _must_be_new(out)
    with reporting() as report:
        generate(out, images, seed, report)
    print(one_line(str(out)))


@app.command()
def mix(
    out: Annotated[
        Path,
        typer.Option(
            "--out", parser=resolve, metavar="DIR", help="Folder to write: a new or an empty one."
        ),
    ],
    captions: Annotated[
        list[Path] | None,
        typer.Option(
            "--captions", parser=resolve, metavar="DIR", help="COCO layout; captions or labels."
        ),
    ] = None,
    dialogues: Annotated[
        list[Path] | None,
        typer.Option(
            "--dialogues",
            parser=resolve,
            metavar="PATH",
            help="LLaVA-Instruct, with pictures or not.",
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", parser=resolve, metavar="PATH", help="RedPajama text."),
    ] = None,
    elsewhere: Annotated[
        int,
        typer.Option(
            "--elsewhere",
            metavar="N",
            min=0,
            max=16,
            help="Ask short questions of N other pictures each, answered as is likely there.",
        ),
    ] = 0,
    model: Annotated[
        str, typer.Option("--model", metavar="M", help="Whose tower looks for --elsewhere.")
    ] = "smol",
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Decides what is asked.")
    ] = 0,
) -> None:
    """One set of dialogues out of captions, labels, dialogues and text, with tests beside it.

    All three may be repeated. A COCO set whose captions say "A photo of a ..." is one of labels.
    """
    if not captions and not dialogues:
        raise UsageError("there are no pictures to ask about", "name --captions or --dialogues")
    _must_be_new(out)
    with reporting() as report:
        from mmtrain.recipes.mix import mix as make

        look = None
        if elsewhere:
            from mmtrain.model import loading

            look = loading.load_feature_store(loading.find_checkpoint(model), report).means
        sources = captions or [], dialogues or [], text or []
        notes = make(*sources, out, seed, elsewhere, look, report)
    for note in notes:
        print(one_line(f"note: {note}"), file=sys.stderr)
    print(one_line(str(out)))


@app.command()
def chats(
    out: Annotated[
        Path, typer.Option("--out", parser=resolve, metavar="FILE", help="JSON file to write.")
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="M", help="Whose answers, without its adapter.")
    ] = "smol",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Questions.")] = 400,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="At once.")] = 16,
) -> None:
    """What a plain language model answers to plain questions, for finetune to keep."""
    if out.suffix != ".json":
        raise UsageError(f"{out} does not end in .json", "the file is LLaVA-Instruct JSON")
    check_destination(out)
    with reporting() as report:
        from mmtrain.recipes.replay import write

        count = write(model, out, limit, batch, report)
    print(one_line(f"{out}: {count} answers"))


@app.command()
def check(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", parser=resolve, help="COCO, LLaVA or RedPajama data.")
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", parser=resolve, metavar="DIR", help="Where the images of LLaVA data are."
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", metavar="M", help="Whose tokens to count.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Count examples, broken images, odd rows and tokens; exit code 4 for what is refused."""
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
                    print(one_line(f"{name.replace('_', ' '):14} {_shown(line)}"))
    for refusal in found.refusals[1:]:
        print(one_line(f"note: also refused: {refusal}"), file=sys.stderr)
    if found.refusals:
        raise found.refusals[0]


@app.command()
def coco2017(
    out: Annotated[
        Path,
        typer.Option("--out", parser=resolve, metavar="DIR", help="Takes 40 GB while it works."),
    ],
) -> None:
    """Fetch the official COCO 2017 archives, or tell what to put where."""
    with reporting() as report:
        from mmtrain.data.coco2017 import fetch

        fetch(out, report)
    print(one_line(f"{out} is ready: mmtrain align --data {out}"))


def _must_be_new(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "name a new folder")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", "name a new folder")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
