"""Truncation of conversations that exceed the context."""

from itertools import pairwise

import pytest

from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.truncation import truncate_turns

SYSTEM = Turn("system", ("s" * 10,))


def count_tokens(turns) -> int:
    """Count the letters, and 2 more tokens for each turn."""
    return sum(len(turn.content[0]) + 2 for turn in turns)


def make_rounds(count: int, size: int = 20) -> list[Turn]:
    turns = []
    for n in range(count):
        turns += [Turn("user", (f"{n:<{size}}",)), Turn("assistant", ("a" * size,))]
    return turns[:-1]  # the last question has no answer yet


def test_a_short_conversation_is_not_truncated():
    turns = [SYSTEM, *make_rounds(3)]
    assert truncate_turns(turns, count_tokens, count_tokens(turns)) == turns


@pytest.mark.parametrize("system", [[SYSTEM], []])
def test_the_oldest_rounds_are_removed(system):
    turns = [*system, *make_rounds(30)]
    kept = list(truncate_turns(turns, count_tokens, 300))
    assert kept[: len(system)] == system
    assert kept[len(system) :] == turns[len(turns) - len(kept) + len(system) :]
    assert kept[len(system)].role == "user"
    assert count_tokens(kept) <= 300


def test_the_next_turns_start_with_the_same_rounds():
    """Otherwise, no turn could reuse the KV cache."""
    begins = []
    for count in range(8, 40):
        kept = truncate_turns([SYSTEM, *make_rounds(count)], count_tokens, 300)
        assert count_tokens(kept) <= 300
        begins.append(kept[1].content)
    changes = sum(before != after for before, after in pairwise(begins))
    assert 0 < changes <= len(begins) // 3


def test_the_last_question_is_never_removed():
    turns = [SYSTEM, *make_rounds(4), Turn("assistant", ("x",)), Turn("user", ("q" * 999,))]
    assert truncate_turns(turns, count_tokens, 300) == [SYSTEM, turns[-1]]


def test_an_answer_that_fills_the_context_keeps_its_end():
    question, answer = Turn("user", ("q" * 50,)), Turn("assistant", ("b" * 600 + "e" * 200,))
    kept = truncate_turns([SYSTEM, *make_rounds(2), answer, question, answer], count_tokens, 300)
    assert kept == [SYSTEM, question, Turn("assistant", ("e" * 200,))]
    too_long = Turn("user", ("q" * 999,))
    assert truncate_turns([too_long, answer], count_tokens, 300) == [
        too_long,
        Turn("assistant", ("e",)),
    ]


def test_lengths_that_do_not_add_up_are_counted_again():
    turns = make_rounds(12)
    kept = truncate_turns(turns, lambda part: count_tokens(part) + 3 * len(part) ** 2, 300)
    assert count_tokens(kept) + 3 * len(kept) ** 2 <= 300
    assert kept[-1] == turns[-1]
