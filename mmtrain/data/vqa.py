"""Questions about pictures to score on: questions.json beside images/.

questions.json is a list of {"image", "question", "answer"}, or of {"image", "question",
"answers"} with what several people answered.
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from mmtrain.data.llava import QUESTIONS_FILE
from mmtrain.data.referenced_files import FileFinder
from mmtrain.data.skip_report import SkipReport
from mmtui.errors import InputError
from mmtui.files import read_json

_Answer = str | int | float


class _Item(BaseModel):
    image: str
    question: str
    answer: _Answer | None = None
    answers: list[_Answer] | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The answers that say something."""
        answers = [*(self.answers or []), self.answer]
        texts = [str(answer) for answer in answers if answer is not None]
        return tuple(text for text in texts if text.strip())


@dataclass(frozen=True)
class Question:
    """What is asked about a picture, and what people answered, one of them or several."""

    picture: Path
    text: str
    answers: tuple[str, ...]


def is_layout(root: Path) -> bool:
    return (root / QUESTIONS_FILE).is_file()


def load_questions(root: Path, limit: int | None = None) -> tuple[list[Question], list[str]]:
    """The questions, or the first `limit` of them, and notes of what was left out.

    Raises:
        InputError: The folder is in another layout, or more than a few images are missing.
    """
    file = root / QUESTIONS_FILE
    if not file.is_file():
        raise InputError(
            f"{root} holds no {QUESTIONS_FILE}", "the layout is questions.json beside images/"
        )
    try:
        items = TypeAdapter(list[_Item]).validate_python(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{file} is no list of questions: {where} {first['msg']}") from None
    skipped = SkipReport()
    asked = []
    for number, item in enumerate(items, 1):
        if not item.given:
            skipped.add("it has no answer", f"question {number}")
        elif not item.question.strip():
            skipped.add("it asks nothing", f"question {number}")
        else:
            asked.append((number, item))
    pictures = FileFinder("image", [root / "images"])
    questions = []
    for number, item in asked[:limit]:
        if picture := pictures.find(item.image):
            questions.append(Question(picture, item.question, item.given))
        else:
            skipped.add("its image is missing", f"question {number}, {item.image!r}")
    pictures.raise_for_missing(file, "the layout is questions.json beside images/")
    notes = skipped.notes("question", QUESTIONS_FILE)
    if not questions:
        raise InputError(f"{file} holds no question with an answer", "; ".join(notes) or None)
    return questions, notes
