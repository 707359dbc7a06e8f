"""`mmtrain eval`: score a model on data that it never saw."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmtui.errors import UsageError
from mmtui.files import check_destination
from mmtui.paths import resolve
from mmtui.pipeline.assets.spec import EngineName
from mmtui.progress import print_json, reporting
from mmtui.text import one_line

if TYPE_CHECKING:
    from mmtrain.evaluation.scores import Scores

app = typer.Typer(
    help="Score a model on data that it never saw.", rich_markup_mode=None, no_args_is_help=True
)

Data = Annotated[
    Path, typer.Option("--data", parser=resolve, metavar="PATH", help="What to score on.")
]
Model = Annotated[
    str,
    typer.Option("--model", metavar="M", help="Model to score: a preset or a checkpoint folder."),
]
Batch = Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Items at once.")]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Only the first N items.")
]
Predictions = Annotated[
    Path | None,
    typer.Option("--predictions", parser=resolve, metavar="FILE", help="One JSON object a line."),
]
Sheet = Annotated[
    Path,
    typer.Option(
        "--sheet", parser=resolve, metavar="FILE", help="A PNG of the best and the worst."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command()
def captions(
    data: Data,
    model: Model = "auto",
    limit: Limit = None,
    batch: Batch = 16,
    predictions: Predictions = None,
    sheet: Sheet = Path("eval-captions.png"),
    as_json: Json = False,
) -> None:
    """CIDEr-D, BLEU-4 and the loss per token, on COCO's layout."""
    _check_destinations(predictions, sheet)
    with reporting() as report:
        from mmtrain.evaluation import captions as task
        from mmtrain.evaluation.image_check import drop_broken_images
        from mmtrain.model import loading

        found = loading.find_vision_checkpoint(model)
        items, notes = task.read(data, limit)
        store = loading.load_feature_store(found, report)
        items, broken = drop_broken_images(items, lambda item: item.image, store)
        components, generator = loading.load_generator(found, store, report)
        scores = task.evaluate(components, generator, items, batch, report)
    _report(scores, notes + broken, predictions, sheet, as_json)


@app.command()
def vqa(
    data: Data,
    model: Model = "auto",
    limit: Limit = None,
    batch: Batch = 16,
    predictions: Predictions = None,
    sheet: Sheet = Path("eval-vqa.png"),
    as_json: Json = False,
) -> None:
    """Exact match and VQA accuracy, on questions.json beside images/."""
    _check_destinations(predictions, sheet)
    with reporting() as report:
        from mmtrain.data.vqa import load_questions
        from mmtrain.evaluation import vqa as task
        from mmtrain.evaluation.image_check import drop_broken_images
        from mmtrain.model import loading

        found = loading.find_vision_checkpoint(model)
        asked, notes = load_questions(data, limit)
        store = loading.load_feature_store(found, report)
        asked, broken = drop_broken_images(asked, lambda question: question.picture, store)
        _, generator = loading.load_generator(found, store, report)
        scores = task.evaluate(generator, asked, batch, report)
    _report(scores, notes + broken, predictions, sheet, as_json)


@app.command()
def speech(
    data: Data,
    model: Model = "auto",
    limit: Limit = None,
    predictions: Predictions = None,
    as_json: Json = False,
) -> None:
    """The word error rate, on sound files beside transcripts.tsv."""
    _check_destinations(predictions)
    with reporting() as report:
        from mmtrain.data import transcripts
        from mmtrain.evaluation import speech as task
        from mmtui.pipeline.assets.checkpoint import find
        from mmtui.pipeline.assistant import Assistant

        found = find(model)
        recordings, notes = transcripts.read(data, limit, report)
        scores = task.evaluate(Assistant(found, report), recordings, report)
    _report(scores, notes, predictions, None, as_json)


@app.command()
def text(
    data: Data,
    model: Model = "auto",
    limit: Limit = None,
    batch: Batch = 4,
    engine: Annotated[
        EngineName, typer.Option("--engine", help="llamacpp: as it is quantized.")
    ] = "torch",
    as_json: Json = False,
) -> None:
    """Perplexity per token and per byte, on RedPajama's layout."""
    with reporting() as report:
        from mmtrain.evaluation import text as task
        from mmtrain.model.loading import load_for_scoring, load_llamacpp
        from mmtui.pipeline.assets.checkpoint import find

        found = find(model)
        documents, notes = task.read(data, limit)
        if engine == "llamacpp":
            reader: task.Reader = task.LlamaReader(load_llamacpp(found, report))
        else:
            reader = task.TorchReader(load_for_scoring(found, report).language)
        scores = task.evaluate(reader, documents, batch, report)
    _report(scores, notes, None, None, as_json)


def _check_destinations(predictions: Path | None, sheet: Path | None = None) -> None:
    """Refuse what could not be written, before anything is computed."""
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UsageError(f"{sheet} does not end in .png", "the sheet is a PNG")
    for file in (predictions, sheet):
        if file is not None:
            check_destination(file)


def _report(
    scores: "Scores", notes: list[str], predictions: Path | None, sheet: Path | None, as_json: bool
) -> None:
    """Print the notes and the scores, and write the files that were asked for."""
    from mmtrain.evaluation.scores import write_predictions, write_sheet

    for note in [*notes, *scores.notes]:
        print(one_line(f"note: {note}"), file=sys.stderr)
    if as_json:
        print_json(scores.values)
    else:
        for name, value in scores.values.items():
            print(f"{one_line(name):22} {_shown(value)}")
    if predictions is not None:
        write_predictions(scores.predictions, predictions)
    if sheet is not None:
        write_sheet(scores.predictions, sheet)
        print(one_line(f"the best and the worst are in {sheet}"), file=sys.stderr)


def _shown(value: float | int | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"
