"""A loop is distinguished from text that only looks like one."""

import base64
import itertools
from collections.abc import Iterator

import pytest

from mmtui.pipeline.assistant import Assistant
from mmtui.pipeline.engines.repetition import MIN_REPEATS, MIN_TOKENS, Repetition
from mmtui.pipeline.engines.torch_engine import TorchEngine
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.reply import Reply


def count_until_detected(tokens) -> int | None:
    repetition = Repetition()
    return next((at for at, token in enumerate(tokens, 1) if repetition.push(token)), None)


@pytest.mark.parametrize("period", [1, 2, 3, 7, 20, 45, 100, 256])
def test_a_loop_is_reported_after_a_few_rounds_whatever_comes_before(period):
    before = list(range(1000, 1300))
    count = count_until_detected([*before, *itertools.islice(itertools.cycle(range(period)), 5000)])
    assert count == len(before) + max(MIN_TOKENS, MIN_REPEATS * period)


POEM = "\n".join(
    f"And miles to go before I sleep,\nAnd {n} more, and promises to keep." for n in range(9)
)
REFRAIN = "\n\n".join(f"{verse}\nYeah, yeah, yeah!\nYeah, yeah, yeah!" for verse in "abcdefgh")
TABLE = "| a | b | c |\n|---|---|---|\n" + "\n".join(f"| {n} | 0 | 0 |" for n in range(50))
CODE = "int a[8][8] = {\n" + "    {0, 0, 0, 0, 0, 0, 0, 0},\n" * 8 + "};\n"
BOARD = "  a b c d e f g h\n" + "\n".join(f"{n} . . . . . . . ." for n in range(8, 0, -1))
BOX = "+" + "-" * 40 + "+\n" + ("|" + " " * 40 + "|\n") * 6 + "+" + "-" * 40 + "+"


@pytest.mark.parametrize(
    "text",
    [
        POEM, REFRAIN, TABLE, CODE, BOARD, BOX, "ha " * 40, "=" * 100, "Z" * 100,
        ", ".join(map(str, range(300))), "1, 2, 3, " * 9,
        "\n".join(f"{n} x 7 = {n * 7}" for n in range(60)),
        base64.b64encode(b"\0" * 60 + bytes(range(200))).decode(), "buffalo " * 8,
    ],
)  # fmt: skip
def test_what_only_looks_like_a_loop_is_none(text):
    """Letter by letter, in which there are more repeats than in tokens."""
    assert count_until_detected(text.encode()) is None


def repeat(tokens: range) -> Iterator[int]:
    while True:
        yield from tokens


def test_a_loop_ends_the_answer_and_its_end_says_so(tiny, monkeypatch):
    assistant = Assistant(tiny, engine="torch")
    turns = [Turn("user", ("Go on",))]
    for loop, count in ((range(40, 43), MIN_TOKENS), (range(40, 90), None)):
        monkeypatch.setattr(TorchEngine, "stream", lambda *_, loop=loop: repeat(loop))
        *_, reply = assistant.reply(turns, max_tokens=400)
        assert isinstance(reply, Reply)
        assert (reply.completion_tokens, reply.repeats) == (count or 400, count is not None)
        assert (reply.stop_reason, reply.full) == ("length", False)
