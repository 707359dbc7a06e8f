"""Questions about pictures for an evaluation: questions.json beside images/.

questions.json is a list of {"image", "question", "answer"}. "images" lists several pictures of one
message, "answers" several accepted answers, and "wrong" answers that make a reply wrong.
"earlier" lists {"image" or "images", "question"} of messages that the model answers first.
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


class _Message(BaseModel):
    image: str | None = None
    images: list[str] | None = None
    question: str

    @property
    def image_names(self) -> list[str]:
        return [self.image] if self.image is not None else self.images or []


class _Item(_Message):
    answer: _Answer | None = None
    answers: list[_Answer] | None = None
    wrong: list[_Answer] = []
    earlier: list[_Message] = []

    @property
    def reference_answers(self) -> tuple[str, ...]:
        """The answers that are not blank."""
        answers = [*(self.answers or []), self.answer]
        texts = [str(answer) for answer in answers if answer is not None]
        return tuple(text for text in texts if text.strip())


@dataclass(frozen=True)
class Message:
    """A message to the model: pictures, and the text after them."""

    pictures: tuple[Path, ...]
    text: str


@dataclass(frozen=True)
class Question(Message):
    """A question about pictures, with the answers of one or more people.

    Attributes:
        answers: The accepted answers.
        wrong: Answers that make a reply wrong, also beside an accepted one.
        earlier: Messages that the model answers before the question.
    """

    answers: tuple[str, ...]
    wrong: tuple[str, ...] = ()
    earlier: tuple[Message, ...] = ()

    @property
    def all_pictures(self) -> tuple[Path, ...]:
        """The pictures of all messages, in order."""
        messages = (*self.earlier, self)
        return tuple(picture for message in messages for picture in message.pictures)


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
        elif not any(message.image_names for message in (item, *item.earlier)):
            skipped.add("it has no image", f"question {number}")
        else:
            answered.append((number, item))
    finder = FileFinder("image", [root / "images"])
    questions = []
    for number, item in answered[:limit]:
        names = [name for message in (item, *item.earlier) for name in message.image_names]
        missing = [name for name in names if finder.find(name) is None]
        if missing:
            skipped.add("its image is missing", f"question {number}, {missing[0]!r}")
        else:
            questions.append(_to_question(item, finder))
    finder.raise_for_missing(file, "put questions.json beside images/")
    notes = skipped.notes("question", QUESTIONS_FILE)
    if not questions:
        raise InputError(f"{file} contains no question with an answer", "; ".join(notes) or None)
    return questions, notes


def _to_question(item: _Item, finder: FileFinder) -> Question:
    return Question(
        _find_pictures(item, finder),
        item.question,
        item.reference_answers,
        tuple(map(str, item.wrong)),
        tuple(Message(_find_pictures(part, finder), part.question) for part in item.earlier),
    )


def _find_pictures(message: _Message, finder: FileFinder) -> tuple[Path, ...]:
    found = (finder.find(name) for name in message.image_names)
    return tuple(picture for picture in found if picture is not None)
