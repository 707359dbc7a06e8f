"""`mmtrain eval`: evaluate a model on held-out data."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from mmtui.errors import UsageError
from mmtui.files import check_destination
from mmtui.paths import resolve
from mmtui.pipeline.assets.spec import EngineName, SpeechChoice
from mmtui.progress import print_json, print_notes, reporting
from mmtui.text import one_line

if TYPE_CHECKING:
    from mmtrain.evaluation.scores import Scores

app = typer.Typer(
    help="Evaluate a model on held-out data.", rich_markup_mode=None, no_args_is_help=True
)

Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="Model to evaluate: a preset or a checkpoint folder. auto: the one that $MMTUI_MODEL"
        " names, unless $MMTUI_ENDPOINT is set; else phi2 if it and a projector for it are on this"
        " machine, else smol.",
    ),
]
Batch = Annotated[
    int,
    typer.Option(
        "--batch",
        metavar="N",
        min=1,
        help="Prompts per batch. Lower it if memory runs out; the scores don't depend on it in"
        " fp32.",
    ),
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        "--predictions",
        parser=resolve,
        metavar="FILE",
        help="Write every prediction and its references to FILE, one JSON object per line."
        " Default: not written.",
    ),
]
Sheet = Annotated[
    Path,
    typer.Option(
        "--sheet",
        parser=resolve,
        metavar="FILE",
        help="PNG to write, with the pictures of the best and the worst predictions. By default it"
        " is in the current folder.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the scores as one JSON document.")]


def _data_option(metavar: str, layout: str) -> OptionInfo:
    """Return --data of a command, whose help describes the layout."""
    option: OptionInfo = typer.Option(
        "--data", parser=resolve, metavar=metavar, help=f"Data to evaluate on: {layout}."
    )
    return option


def _limit_option(unit: str) -> OptionInfo:
    """Return --limit of a command, which counts `unit`, such as "questions"."""
    option: OptionInfo = typer.Option(
        "--limit", metavar="N", min=1, help=f"Evaluate only the first N {unit}. Default: all."
    )
    return option


@app.command()
def captions(
    data: Annotated[
        Path,
        _data_option(
            "DIR",
            "a folder in the layout of COCO, with annotations/captions_val2017.json and val2017/",
        ),
    ],
    model: Model = "auto",
    limit: Annotated[int | None, _limit_option("captioned pictures")] = None,
    batch: Batch = 16,
    predictions: Predictions = None,
    sheet: Sheet = Path("eval-captions.png"),
    as_json: Json = False,
) -> None:
    """Evaluate captions: CIDEr-D, BLEU-4 and the loss per token."""
    _check_destinations(predictions, sheet)
    with reporting() as report:
        from mmtrain.evaluation import captions as task
        from mmtrain.evaluation.image_check import drop_broken_images
        from mmtrain.model import loading

        found = loading.find_vision_checkpoint(model)
        items, notes = task.load_images(data, limit)
        store = loading.load_feature_store(found, report)
        items, broken = drop_broken_images(items, lambda item: [item.image], store)
        components, generator = loading.load_generator(found, store, report)
        scores = task.evaluate(components, generator, items, batch, report)
    _report(scores, notes + broken, predictions, sheet, as_json)


@app.command()
def vqa(
    data: Annotated[
        Path,
        _data_option("DIR", "a folder with questions.json and images/"),
    ],
    model: Model = "auto",
    limit: Annotated[int | None, _limit_option("questions")] = None,
    batch: Batch = 16,
    predictions: Predictions = None,
    sheet: Sheet = Path("eval-vqa.png"),
    as_json: Json = False,
) -> None:
    """Evaluate short answers about pictures: exact match, mentioned answers and VQA accuracy."""
    _check_destinations(predictions, sheet)
    with reporting() as report:
        from mmtrain.data.vqa import load_questions
        from mmtrain.evaluation import vqa as task
        from mmtrain.evaluation.image_check import drop_broken_images
        from mmtrain.model import loading

        found = loading.find_vision_checkpoint(model)
        asked, notes = load_questions(data, limit)
        store = loading.load_feature_store(found, report)
        asked, broken = drop_broken_images(asked, lambda question: question.all_pictures, store)
        _, generator = loading.load_generator(found, store, report)
        scores = task.evaluate(generator, asked, batch, report)
    _report(scores, notes + broken, predictions, sheet, as_json)


@app.command()
def speech(
    data: Annotated[
        Path,
        _data_option("DIR", "a folder with recordings and transcripts.tsv"),
    ],
    model: Model = "auto",
    speech_model: Annotated[
        SpeechChoice,
        typer.Option(
            "--speech",
            help="Speech model to evaluate: base or tiny.en of Whisper; auto is that of --model.",
        ),
    ] = "auto",
    limit: Annotated[int | None, _limit_option("recordings")] = None,
    predictions: Predictions = None,
    as_json: Json = False,
) -> None:
    """Evaluate speech recognition: word error rate.

    It is computed without case and punctuation, and with Whisper's normalizer of English text,
    which published figures are computed with.
    """
    _check_destinations(predictions)
    with reporting() as report:
        from mmtrain.data import transcripts
        from mmtrain.evaluation import speech as task
        from mmtui.pipeline.assets import fetch
        from mmtui.pipeline.assets.checkpoint import find
        from mmtui.pipeline.assistant import Assistant

        found = find(model)
        recordings, notes = transcripts.load_recordings(data, limit, report)
        assistant = Assistant(found, report, speech=speech_model)
        if assistant.spec.speech is not None:  # else a smaller model might be used instead
            fetch.fetch(assistant.spec.speech.weights, report)
        scores = task.evaluate(assistant, recordings, report)
    _report(scores, notes, predictions, None, as_json)


@app.command()
def text(
    data: Annotated[
        Path,
        _data_option("PATH", "RedPajama's JSON lines, plain or compressed, a file or a folder"),
    ],
    model: Model = "auto",
    limit: Annotated[int | None, _limit_option("documents")] = None,
    batch: Batch = 4,
    engine: Annotated[
        EngineName,
        typer.Option(
            "--engine",
            help="Engine that computes the perplexity. torch: full precision if it fits."
            " llamacpp: quantized, as in chats with llama.cpp.",
        ),
    ] = "torch",
    as_json: Json = False,
) -> None:
    """Evaluate the language model on text: perplexity per token and per byte."""
    with reporting() as report:
        from mmtrain.evaluation import text as task
        from mmtrain.model.loading import load_for_scoring, load_llamacpp
        from mmtui.pipeline.assets.checkpoint import find

        found = find(model)
        documents, notes = task.load_documents(data, limit)
        if engine == "llamacpp":
            scorer: task.TextScorer = task.LlamaCppScorer(load_llamacpp(found, report))
        else:
            scorer = task.TorchScorer(load_for_scoring(found, report).language)
        scores = task.evaluate(scorer, documents, batch, report)
    _report(scores, notes, None, None, as_json)


def _check_destinations(predictions: Path | None, sheet: Path | None = None) -> None:
    """Raise an error for files that can't be written, before anything is computed."""
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise UsageError(f"{sheet} does not end in .png", "pass --sheet a file name with .png")
    for file in (predictions, sheet):
        if file is not None:
            check_destination(file)


def _report(
    scores: "Scores", notes: list[str], predictions: Path | None, sheet: Path | None, as_json: bool
) -> None:
    """Print the notes and the scores, and write the requested files."""
    from mmtrain.evaluation.scores import write_predictions, write_sheet

    print_notes([*notes, *scores.notes])
    if as_json:
        print_json(scores.values)
    else:
        for name, value in scores.values.items():
            print(f"{one_line(name):24} {_format(value)}")
    if predictions is not None:
        write_predictions(scores.predictions, predictions)
    if sheet is not None:
        write_sheet(scores.predictions, sheet)
        print(one_line(f"the best and the worst predictions are in {sheet}"), file=sys.stderr)


def _format(value: float | int | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"
