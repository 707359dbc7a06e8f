"""Questions about pictures for an evaluation: questions.json beside images/.

questions.json is a list of {"image", "question", "answer"}, or of {"image", "question",
"answers"} with the answers of several people.
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
    def reference_answers(self) -> tuple[str, ...]:
        """The answers that are not blank."""
        answers = [*(self.answers or []), self.answer]
        texts = [str(answer) for answer in answers if answer is not None]
        return tuple(text for text in texts if text.strip())


@dataclass(frozen=True)
class Question:
    """A question about a picture, with the answers of one or more people."""

    picture: Path
    text: str
    answers: tuple[str, ...]


def is_layout(root: Path) -> bool:
    """Return whether a folder holds questions for an evaluation."""
    return (root / QUESTIONS_FILE).is_file()


def load_questions(root: Path, limit: int | None = None) -> tuple[list[Question], list[str]]:
    """Load the questions of a folder.

    Args:
        root: The folder with questions.json.
        limit: Number of usable questions to load; None loads all.

    Returns:
        The questions, and notes about what was skipped.

    Raises:
        InputError: The folder is in another layout, or more than a few images are missing.
    """
    file = root / QUESTIONS_FILE
    if not file.is_file():
        raise InputError(
            f"{root} contains no {QUESTIONS_FILE}", "put questions.json beside images/"
        )
    try:
        items = TypeAdapter(list[_Item]).validate_python(read_json(file))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise InputError(f"{file} is not a list of questions: {field}: {first['msg']}") from None
    skipped = SkipReport()
    answered = []
    for number, item in enumerate(items, 1):
        if not item.reference_answers:
            skipped.add("it has no answer", f"question {number}")
        elif not item.question.strip():
            skipped.add("its question is empty", f"question {number}")
        else:
            answered.append((number, item))
    finder = FileFinder("image", [root / "images"])
    questions = []
    for number, item in answered[:limit]:
        if picture := finder.find(item.image):
            questions.append(Question(picture, item.question, item.reference_answers))
        else:
            skipped.add("its image is missing", f"question {number}, {item.image!r}")
    finder.raise_for_missing(file, "put questions.json beside images/")
    notes = skipped.notes("question", QUESTIONS_FILE)
    if not questions:
        raise InputError(f"{file} contains no question with an answer", "; ".join(notes) or None)
    return questions, notes
