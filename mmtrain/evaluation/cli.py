"""`mmtrain eval`: score a model on data that it never saw."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmtui.paths import resolve
from mmtui.pipeline.spec import EngineName
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
Model = Annotated[str, typer.Option("--model", metavar="M", help="A preset or a checkpoint.")]
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
    with reporting() as report:
        from mmtrain.evaluation import captions as task
        from mmtrain.parts import that_answers

        parts, answerer = that_answers(model, report)
        scores = task.evaluate(parts, answerer, data, limit, batch, report)
    _tell(scores, predictions, sheet, as_json)


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
    with reporting() as report:
        from mmtrain.evaluation import vqa as task
        from mmtrain.parts import that_answers

        parts, answerer = that_answers(model, report)
        scores = task.evaluate(parts, answerer, data, limit, batch, report)
    _tell(scores, predictions, sheet, as_json)


@app.command()
def speech(
    data: Data,
    model: Model = "auto",
    limit: Limit = None,
    predictions: Predictions = None,
    as_json: Json = False,
) -> None:
    """The word error rate, on sound files beside transcripts.tsv."""
    with reporting() as report:
        from mmtrain.evaluation import speech as task
        from mmtui.pipeline.assistant import Assistant
        from mmtui.pipeline.checkpoint import find

        scores = task.evaluate(Assistant(find(model), report), data, limit, report)
    _tell(scores, predictions, None, as_json)


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
        from mmtrain.parts import quantized, to_score

        if engine == "llamacpp":
            reader: task.Reader = task.LlamaReader(quantized(model, report))
        else:
            reader = task.TorchReader(to_score(model, report).language)
        scores = task.evaluate(reader, data, limit, batch, report)
    _tell(scores, None, None, as_json)


def _tell(scores: "Scores", predictions: Path | None, sheet: Path | None, as_json: bool) -> None:
    from mmtrain.evaluation.scores import write_predictions, write_sheet

    if as_json:
        print_json(scores.values)
    else:
        for name, value in scores.values.items():
            shown = f"{value:,.4f}" if isinstance(value, float) else f"{value:,}"
            print(f"{one_line(name):22} {shown}")
    if predictions is not None:
        write_predictions(scores.predictions, predictions)
    if sheet is not None:
        write_sheet(scores.predictions, sheet)
        print(one_line(f"the best and the worst are in {sheet}"), file=sys.stderr)
