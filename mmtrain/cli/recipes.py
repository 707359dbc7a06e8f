"""Commands of `mmtrain data` that make data sets."""

from pathlib import Path
from typing import Annotated

import typer

from mmtui.errors import UsageError
from mmtui.files import check_destination
from mmtui.paths import resolve
from mmtui.progress import print_notes, reporting
from mmtui.text import one_line

OutFolder = Annotated[
    Path,
    typer.Option("--out", parser=resolve, metavar="DIR", help="Folder to write, new or empty."),
]
PictureSeedOption = Annotated[
    int,
    typer.Option(
        "--seed",
        metavar="N",
        min=0,
        help="Random seed. The same seed draws the same pictures; change it for other ones.",
    ),
]


def shapes(
    out: OutFolder,
    images: Annotated[
        int,
        typer.Option(
            "--images",
            metavar="N",
            min=2,
            help="Number of pictures to draw; a tenth of them is for validation.",
        ),
    ] = 2000,
    seed: PictureSeedOption = 0,
) -> None:
    """Generate a small data set of coloured shapes.

    It has captions, dialogues, questions and text, so that every stage can be tried without a
    download.
    """
    from mmtrain.data.shapes import generate

    _check_new(out)
    with reporting() as report:
        generate(out, images, seed, report)
    print(one_line(str(out)))


def mix(
    out: OutFolder,
    captions: Annotated[
        list[Path] | None,
        typer.Option(
            "--captions",
            parser=resolve,
            metavar="DIR",
            help="Folder in the layout of COCO, with captions or labels. May be repeated.",
        ),
    ] = None,
    dialogues: Annotated[
        list[Path] | None,
        typer.Option(
            "--dialogues",
            parser=resolve,
            metavar="PATH",
            help="LLaVA-Instruct JSON, a file or a folder, with or without pictures. May be"
            " repeated.",
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(
            "--text",
            parser=resolve,
            metavar="PATH",
            help="RedPajama text, a file or a folder. Each passage is split: the first half is the"
            " question, the second the answer. Such rows keep the language model from forgetting."
            " May be repeated.",
        ),
    ] = None,
    captions_per_photo: Annotated[
        int,
        typer.Option(
            "--captions-per-photo",
            metavar="N",
            min=0,
            help="Teach as descriptions only the N captions of a photo that agree most with its"
            " other captions, by CIDEr-D. 0 teaches all.",
        ),
    ] = 0,
    pseudo_labels: Annotated[
        int,
        typer.Option(
            "--pseudo-labels",
            metavar="N",
            min=0,
            max=16,
            help="Ask every short question about N other pictures too, and answer with the vision"
            " tower's predictions. 0 adds none.",
        ),
    ] = 0,
    elsewhere: Annotated[
        int,
        typer.Option("--elsewhere", min=0, max=16, hidden=True, help="Former --pseudo-labels."),
    ] = 0,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Preset or checkpoint folder whose vision tower predicts for --pseudo-labels.",
        ),
    ] = "smol",
    seed: Annotated[
        int,
        typer.Option(
            "--seed",
            metavar="N",
            min=0,
            help="Random seed of the questions. The same seed asks the same questions.",
        ),
    ] = 0,
) -> None:
    """Mix captions, labels, dialogues and text into one LLaVA-Instruct data set.

    A tenth of the pictures is held out. --out also gets tests about them: name/, present/,
    answer/, yes-no/, colour/ and which/ for `mmtrain eval vqa`, captions/ for `mmtrain eval
    captions`. A COCO data set counts as labels if every caption reads "A photo of a ...".
    """
    if not captions and not dialogues:
        raise UsageError(
            "there are no pictures to ask about", "pass --captions DIR or --dialogues PATH"
        )
    _check_new(out)
    with reporting() as report:
        from mmtrain.recipes.mix import mix as make

        look = None
        if factor := pseudo_labels or elsewhere:
            from mmtrain.model import loading

            look = loading.load_feature_store(loading.find_checkpoint(model), report).compute_means
        sources = captions or [], dialogues or [], text or []
        notes = make(*sources, out, seed, captions_per_photo, factor, look, report)
    print_notes(notes)
    print(one_line(str(out)))


def reading(
    out: OutFolder,
    images: Annotated[
        int,
        typer.Option("--images", metavar="N", min=1, help="Number of pictures with text to draw."),
    ] = 2000,
    photos: Annotated[
        list[Path] | None,
        typer.Option(
            "--photos",
            parser=resolve,
            metavar="DIR",
            help="Folder in the layout of COCO captions. Text is drawn on its photos; photos"
            " without text teach that nothing is written there. May be repeated.",
        ),
    ] = None,
    labelled: Annotated[
        Path | None,
        typer.Option(
            "--labelled",
            parser=resolve,
            metavar="DIR",
            help="Folder of pictures with text beside labels.json, a list of {image, text}. Half of"
            " them is held out.",
        ),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(
            "--text",
            parser=resolve,
            metavar="PATH",
            help="RedPajama text, a file or a folder, whose words and names are drawn. Without it,"
            " they are few. May be repeated.",
        ),
    ] = None,
    fonts: Annotated[
        list[Path] | None,
        typer.Option(
            "--fonts",
            parser=resolve,
            metavar="DIR",
            help="Folder with .ttf or .otf fonts to draw with, beside those of Matplotlib. May be"
            " repeated.",
        ),
    ] = None,
    seed: PictureSeedOption = 0,
) -> None:
    """Generate a data set that teaches to read the text in pictures.

    Draws signs, receipts, book covers, screens and other papers, and asks what is written in them.
    All pictures are read by the text recognition whose words the model gets beside a picture;
    answers that it did not recognize are left out. --out also gets text/ and no-text/, tests for
    `mmtrain eval vqa` with other words, fonts and layouts.
    """
    _check_new(out)
    with reporting() as report:
        from mmtrain.data.texts import read_files
        from mmtrain.recipes.reading.dataset import write_reading
        from mmtrain.recipes.reading.sources import Locations

        locations = Locations(photos or [], labelled, text or [], fonts or [])
        notes = write_reading(
            locations, out, images, seed, lambda files: read_files(files, report), report
        )
    print_notes(notes)
    print(one_line(str(out)))


def chats(
    out: Annotated[
        Path,
        typer.Option(
            "--out", parser=resolve, metavar="FILE", help="LLaVA-Instruct JSON file to write."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Preset or checkpoint folder whose language model answers, without its adapter.",
        ),
    ] = "smol",
    limit: Annotated[
        int,
        typer.Option("--limit", metavar="N", min=1, help="Maximum number of questions to answer."),
    ] = 400,
    batch: Annotated[
        int,
        typer.Option(
            "--batch",
            metavar="N",
            min=1,
            help="Questions per batch. Lower it if memory runs out.",
        ),
    ] = 16,
) -> None:
    """Record what a language model answers to questions without pictures.

    Finetuning on these dialogues, too, keeps the model from forgetting how to answer them
    (replay).
    """
    if out.suffix != ".json":
        raise UsageError(f"{out} does not end in .json", "pass --out a file name with .json")
    check_destination(out)
    with reporting() as report:
        from mmtrain.recipes.replay import write_replay

        count = write_replay(model, out, limit, batch, report)
    print(one_line(f"{out}: {count} answers"))


def captions(
    out: OutFolder,
    captions: Annotated[
        list[Path],
        typer.Option(
            "--captions",
            parser=resolve,
            metavar="DIR",
            help="Folder in the layout of COCO, with several captions for each photo. May be"
            " repeated.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", metavar="MODEL", help="Preset or checkpoint folder that captions the photos."
        ),
    ] = "smol",
    photos: Annotated[
        int,
        typer.Option(
            "--photos", metavar="N", min=2, help="Maximum number of photos, drawn at random."
        ),
    ] = 2000,
    samples: Annotated[
        int,
        typer.Option("--samples", metavar="N", min=2, help="Captions to sample for each photo."),
    ] = 5,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            metavar="T",
            min=0.01,
            help="Sampling temperature. Higher ones give more varied captions.",
        ),
    ] = 0.5,
    batch: Annotated[
        int,
        typer.Option(
            "--batch", metavar="N", min=1, help="Photos per batch. Lower it if memory runs out."
        ),
    ] = 32,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", min=0, help="Random seed of the photos and of the captions."
        ),
    ] = 0,
) -> None:
    """Let a model caption photos, and keep the best captions.

    Finetuning on them teaches the model to choose among what it would say anyway (rejection
    sampling). Of each photo, up to two are kept: those that agree most with the captions of
    people, by CIDEr-D.
    """
    _check_new(out)
    with reporting() as report:
        from mmtrain.recipes.sampled_captions import SamplingOptions, write_sampled_captions

        options = SamplingOptions(photos, samples, temperature, batch, seed)
        count, notes = write_sampled_captions(model, captions, out, options, report)
    print_notes(notes)
    print(one_line(f"{out}: {count} captions"))


def _check_new(folder: Path) -> None:
    """Raise UsageError unless a folder is missing or empty."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "choose a new folder")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", "choose a new folder")
