"""Several conversations that one model answers together."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmtui.errors import TooLongError
from mmtui.pipeline.assets import checkpoint
from mmtui.pipeline.assets.checkpoint import Checkpoint
from mmtui.pipeline.assets.spec import Asset, LanguageSpec, ModelSpec
from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines.llama_library import find_packages
from mmtui.pipeline.engines.sampling import GREEDY, Sampling
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.reply import Reply

pytestmark = pytest.mark.skipif(not find_packages(), reason="llama.cpp is not installed")
CAT = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.fixture
def blind(tiny_llama: Path, tmp_path: Path) -> Checkpoint:
    checkpoint.write(tmp_path, ModelSpec("tiny", LanguageSpec(Asset(str(tiny_llama)), "fp32")))
    return checkpoint.read(tmp_path)


class Asked:
    """A conversation that is being answered."""

    def __init__(
        self, assistant: Assistant, text: str, max_tokens=40, sampling=GREEDY, schema=None
    ):
        self.is_cancelled = False
        self.reply: Reply | None = None
        self._text = ""
        turns = [Turn("user", (text,))]
        self._events: Iterator[str | Reply | None] = assistant.reply_in_steps(
            turns, sampling, max_tokens, lambda: self.is_cancelled, schema
        )

    def advance(self) -> None:
        """Go on until the next token must be computed, or to the end."""
        while self.reply is None and (event := next(self._events)) is not None:
            if isinstance(event, Reply):
                self.reply = event
                assert self._text == event.text
            else:
                self._text += event


def finish(assistant: Assistant, *conversations: Asked) -> list[Reply]:
    while not all(conversation.reply for conversation in conversations):
        for conversation in conversations:
            conversation.advance()
        assistant.compute()
    return [conversation.reply for conversation in conversations if conversation.reply]


def ask_alone(found: Checkpoint, *question, **options) -> str:
    assistant = Assistant(found, engine="llamacpp")
    return finish(assistant, Asked(assistant, *question, **options))[0].text


def test_each_gets_the_answer_that_it_gets_alone(blind):
    assistant = Assistant(blind, engine="llamacpp", parallel=4)
    assert assistant.parallel == 4
    questions: list[dict] = [
        {"text": "What is in this picture?"},
        {"text": "A dog and a cat. " * 40, "max_tokens": 20},
        {"text": "Describe it.", "sampling": Sampling(0.8, seed=5)},
    ]
    if "xllamacpp" in find_packages():  # which contains llguidance
        questions.append({"text": "A cat", "max_tokens": 25, "schema": json.dumps(CAT)})
    replies = finish(assistant, *(Asked(assistant, **question) for question in questions))
    assert [reply.text for reply in replies] == [ask_alone(blind, **each) for each in questions]
    assert replies[1].completion_tokens <= 20
    for question in questions:  # one after the other, with what was read
        (again,) = finish(assistant, Asked(assistant, **question))
        assert again.cached_tokens == again.prompt_tokens


def test_a_cancelled_answer_leaves_room_for_another(blind):
    assistant = Assistant(blind, engine="llamacpp", parallel=2)
    first, second = Asked(assistant, "What is this?", 500), Asked(assistant, "And this?")
    for _ in range(5):
        first.advance()
        second.advance()
        assistant.compute()
    first.is_cancelled = True
    first.advance()
    assert first.reply and first.reply.stop_reason == "cancelled"
    third = Asked(assistant, "A dog and a cat.")
    replies = finish(assistant, second, third)
    expected = [ask_alone(blind, question) for question in ("And this?", "A dog and a cat.")]
    assert [reply.text for reply in replies] == expected


def test_an_answer_that_fails_leaves_room_for_another(blind):
    assistant = Assistant(blind, engine="llamacpp", parallel=2)
    kept, failing = Asked(assistant, "What is this?"), Asked(assistant, "a b " * 3000)
    kept.advance()
    with pytest.raises(TooLongError):
        failing.advance()
    other = Asked(assistant, "A dog and a cat.")
    replies = finish(assistant, kept, other)
    expected = [ask_alone(blind, question) for question in ("What is this?", "A dog and a cat.")]
    assert [reply.text for reply in replies] == expected


def test_a_single_reply_needs_nobody_to_compute(blind):
    assistant = Assistant(blind, engine="llamacpp", parallel=3)
    *_, reply = assistant.reply([Turn("user", ("What is this?",))], max_tokens=40)
    assert isinstance(reply, Reply) and reply.text == ask_alone(blind, "What is this?")


def test_torch_answers_one_after_the_other(blind):
    assert Assistant(blind, engine="torch", parallel=3).parallel == 1
