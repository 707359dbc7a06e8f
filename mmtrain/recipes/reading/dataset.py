"""The data set for reading: drawn and photographed text, and photos without any.

The output folder holds llava_instruct.json, llava_instruct_val.json and images/, and two tests for
`mmtrain eval vqa`: text/ and no-text/. The model gets the recognized text of a picture beside it,
so an answer that was not recognized is left out.
"""

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from mmtrain.data import llava
from mmtrain.data.skip_report import format_count
from mmtrain.recipes.held_out import write_json
from mmtrain.recipes.reading import questions, tests
from mmtrain.recipes.reading.documents import Document, Fact, write_document
from mmtrain.recipes.reading.drawing import draw
from mmtrain.recipes.reading.sources import Locations, Material, load_material
from mmtui.pipeline.assets.fetch import Report, ignore_progress

NO_TEXT_SHARE = 0.4  # photos without text, per drawn picture
MAX_FACTS = 4  # questions about a drawn picture
VALIDATION_SHARE = 0.05  # pictures of the validation part, per picture to train on

Exchanges = Iterable[tuple[str, str]]
ReadTexts = Callable[[Sequence[Path]], dict[Path, str]]


def write_reading(
    locations: Locations,
    out: Path,
    count: int,
    seed: int,
    read: ReadTexts,
    report: Report = ignore_progress,
) -> list[str]:
    """Write the set into a new folder.

    Args:
        locations: Where the material is.
        out: The folder to write.
        count: Number of pictures to draw for training.
        seed: Decides what is drawn and asked.
        read: Returns the recognized text of pictures.
        report: Called with the progress.

    Returns:
        Notes about what was left out.

    Raises:
        InputError: Data is in another layout.
    """
    train, held_out = load_material(locations)
    rng = Random(seed)
    builder = _Builder(out / "images", read, rng, report)
    validation_count = max(int(VALIDATION_SHARE * count), 1)
    for material, pictures, name in (
        (train, count, "llava_instruct.json"),
        (held_out, validation_count, "llava_instruct_val.json"),
    ):
        rows = builder.make_rows(material, pictures, held_out=material is held_out)
        rng.shuffle(rows)
        write_json(out / name, rows)
    # A fresh generator, so that the tests do not depend on the number of training pictures.
    tests.write_text_test(out / "text", held_out, Random(f"{seed} text"), report)
    tests.write_no_text_test(out / "no-text", held_out, Random(f"{seed} no text"))
    if not builder.dropped:
        return []
    return [f"{format_count(builder.dropped, 'answer')} left out: the text was not recognized"]


class _Builder:
    """Draws or copies the pictures of the set, and makes rows about them.

    Attributes:
        dropped: Number of answers that were left out.
    """

    def __init__(self, folder: Path, read: ReadTexts, rng: Random, report: Report) -> None:
        self.dropped = 0
        self._folder, self._read, self._rng, self._report = folder, read, rng, report
        self._count = 0
        folder.mkdir(parents=True)

    def make_rows(self, material: Material, count: int, *, held_out: bool) -> list[dict[str, Any]]:
        """Return rows about `count` drawn pictures, the labelled ones, and photos without text."""
        drawn = self._draw(material, count, held_out=held_out)
        photographed = {self._copy(picture.file): picture.text for picture in material.labelled}
        bare_count = min(int(NO_TEXT_SHARE * count), len(material.photos))
        bare = [self._copy(file) for file in self._rng.sample(material.photo_files, bare_count)]
        texts = self._read([*drawn, *photographed, *bare])
        rows: list[dict[str, Any]] = []
        for file, document in drawn.items():
            rows += _to_rows(file, self._ask_about(document, texts[file]))
        for file, text in photographed.items():
            rows += _to_rows(file, self._ask_for_all(text, texts[file]))
        for file in bare:
            if re.search(r"[A-Za-z0-9]", texts[file]):  # real text, or patterns that look like it
                file.unlink()
            else:
                rows += _to_rows(file, [questions.ask_about_no_text(self._rng)])
        return rows

    def _draw(self, material: Material, count: int, *, held_out: bool) -> dict[Path, Document]:
        words = material.make_words(self._rng)
        drawn: dict[Path, Document] = {}
        for number in range(count):
            self._report("drawing pictures with text", number, count)
            document = write_document(words, held_out=held_out)
            file = self._name_file(".jpg")
            image = draw(document, material.fonts, material.photo_files, self._rng)
            image.save(file, quality=88)
            drawn[file] = document
        return drawn

    def _ask_about(self, document: Document, text: str) -> Exchanges:
        """Yield questions about a document whose answers were recognized."""
        facts = questions.find_facts(document)
        recognized = [fact for fact in facts if is_in(fact.value, text)]
        self.dropped += len(facts) - len(recognized)
        for fact in self._rng.sample(recognized, min(MAX_FACTS, len(recognized))):
            yield questions.ask(fact, self._rng)
        if len(recognized) == len(facts):
            yield from questions.ask_whether(facts, self._rng)

    def _ask_for_all(self, label: str, text: str) -> Exchanges:
        """Yield questions for the text of a labelled picture, if it was recognized."""
        if is_in(label, text):
            yield questions.ask(Fact("anything", label), self._rng)
            yield questions.ask(Fact("sign", label), self._rng)
        else:
            self.dropped += 1

    def _copy(self, file: Path) -> Path:
        copy = self._name_file(file.suffix.lower())
        shutil.copyfile(file, copy)
        return copy

    def _name_file(self, suffix: str) -> Path:
        self._count += 1
        return self._folder / f"{self._count - 1:06}{suffix}"


def is_in(value: str, text: str) -> bool:
    """Return whether a text contains a value, wherever its spaces and line breaks are."""
    return re.sub(r"\s", "", value) in re.sub(r"\s", "", text)


def _to_rows(file: Path, exchanges: Exchanges) -> list[dict[str, Any]]:
    return [
        {
            "image": [file.name],
            "conversations": llava.format_exchange(f"<image>\n{question}", answer),
        }
        for question, answer in exchanges
    ]
