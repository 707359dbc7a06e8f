"""What the type of smol's merged weights costs in scores, and how fast each decodes.

    python tests/bench/quantization.py --captions DATA/captions --questions reading/text

Merges the adapter into the language model with each type, and answers the questions of
`mmtrain eval captions` and `mmtrain eval vqa` with llama.cpp. Prints one JSON document: the bytes
of the weights, CIDEr-D, the share of replies that mention the answer, and the tokens/s of the
fastest of three answers.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from gguf import LlamaFileType

from mmtrain.data.coco import CAPTION_QUESTION
from mmtrain.data.dataset import Content
from mmtrain.data.vqa import load_questions
from mmtrain.evaluation import captions, vqa
from mmtrain.model.generation import AnswerGenerator
from mmtui.bench.measure import describe_machine
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import Asset
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.gguf import conversion, layout, writer
from mmtui.pipeline.input_files import read_picture
from mmtui.pipeline.prompt import Role, Turn
from mmtui.pipeline.reply import Reply

TYPES = ("bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
# Types that are not offered otherwise.
FILE_TYPES = {name: LlamaFileType[f"MOSTLY_{name.upper()}"] for name in TYPES}
MAX_TOKENS = 48
STORY = "Tell me a long story about a lighthouse at the end of the world."


class Answers:
    """Generates answers with llama.cpp, one by one; `AnswerGenerator` does so in batches."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant

    def generate(
        self,
        dialogues: Sequence[Sequence[tuple[Role, Content]]],
        batch: int,
        *,
        report: Report = ignore_progress,
    ) -> list[str]:
        answers = []
        for number, dialogue in enumerate(dialogues):
            report("answering", number, len(dialogues))
            turns = [
                Turn(role, tuple(read_picture(p) if isinstance(p, Path) else p for p in content))
                for role, content in dialogue
            ]
            answers.append(answer(self._assistant, turns).text)
        return answers


def answer(assistant: Assistant, turns: Sequence[Turn]) -> Reply:
    *_, reply = assistant.reply(turns, max_tokens=MAX_TOKENS)
    assert isinstance(reply, Reply)
    return reply


def quantize(smol: Checkpoint, kind: str, folder: Path) -> Checkpoint:
    """Return smol with its adapter merged into weights of a type."""
    source = fetch.fetch(smol.spec.language.weights)
    assert smol.adapter
    merged = conversion.to_gguf(source, smol.adapter, "auto", ignore_progress)
    folder.mkdir()
    conversion.copy_tokenizer(merged.folder, folder)
    layout.FILE_TYPES.update(FILE_TYPES)
    model = folder / "model.gguf"
    writer.merge_adapter(source, model, cast("Any", kind), smol.adapter)
    language = dataclasses.replace(smol.spec.language, weights=Asset(str(model)))
    return dataclasses.replace(
        smol, spec=dataclasses.replace(smol.spec, language=language), adapter=None
    )


def measure(model: Checkpoint, images: Path, questions: Path, limit: int | None) -> dict[str, Any]:
    assistant = Assistant(model, engine="llamacpp", prompt_lookup=False)
    answers = Answers(assistant)
    items, _ = captions.load_images(images, limit)
    described = answers.generate([[("user", (i.image, CAPTION_QUESTION))] for i in items], 1)
    cider, _ = captions.cider_d(described, [list(item.captions) for item in items])
    asked, _ = load_questions(questions, limit)
    scores = vqa.evaluate(cast("AnswerGenerator", answers), asked, 1, ignore_progress)
    speeds = [answer(assistant, [Turn("user", (STORY,))]).decode_tokens_per_s for _ in range(3)]
    return {
        "bytes": Path(model.spec.language.weights.uri).stat().st_size,
        "cider_d": cider,
        "mentioned": scores.values["mentioned"],
        "tokens_per_s": max(speed for speed in speeds if speed),
    }


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--captions", type=Path, required=True)
    options.add_argument("--questions", type=Path, required=True)
    options.add_argument("--limit", type=int, help="pictures and questions to use")
    arguments = options.parse_args()
    smol, found = checkpoint.find("smol"), {}
    for kind in TYPES:
        print(kind, file=sys.stderr)
        with tempfile.TemporaryDirectory() as name:
            model = quantize(smol, kind, Path(name) / "weights")
            found[kind] = measure(model, arguments.captions, arguments.questions, arguments.limit)
    print(json.dumps({"machine": describe_machine(), "types": found}, indent=2))


if __name__ == "__main__":
    main()
