"""What of a long conversation goes to the model."""

from itertools import pairwise

import pytest

from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.truncation import truncate_turns

SYSTEM = Turn("system", ("s" * 10,))


def length(turns) -> int:
    """A letter is a token, and each turn has 2 around it."""
    return sum(len(turn.content[0]) + 2 for turn in turns)


def rounds(count: int, size: int = 20) -> list[Turn]:
    made = []
    for n in range(count):
        made += [Turn("user", (f"{n:<{size}}",)), Turn("assistant", ("a" * size,))]
    return made[:-1]  # the last question has no answer yet


def test_what_fits_is_left_alone():
    turns = [SYSTEM, *rounds(3)]
    assert truncate_turns(turns, length, length(turns)) == turns


@pytest.mark.parametrize("system", [[SYSTEM], []])
def test_the_oldest_rounds_go_and_the_system_prompt_and_the_question_stay(system):
    turns = [*system, *rounds(30)]
    kept = list(truncate_turns(turns, length, 300))
    assert kept[: len(system)] == system
    assert kept[len(system) :] == turns[len(turns) - len(kept) + len(system) :]
    assert kept[len(system)].role == "user"
    assert length(kept) <= 300


def test_a_full_conversation_keeps_its_beginning_for_turns_to_come():
    """So that the cache of what was read is of use; else every turn would read all anew."""
    begins = []
    for count in range(8, 40):
        kept = truncate_turns([SYSTEM, *rounds(count)], length, 300)
        assert length(kept) <= 300
        begins.append(kept[1].content)
    changes = sum(before != after for before, after in pairwise(begins))
    assert 0 < changes <= len(begins) // 3


def test_the_last_question_stays_however_long_it_is():
    turns = [SYSTEM, *rounds(4), Turn("assistant", ("x",)), Turn("user", ("q" * 999,))]
    assert truncate_turns(turns, length, 300) == [SYSTEM, turns[-1]]


def test_of_an_answer_that_fills_the_context_its_end_goes_on():
    question, answer = Turn("user", ("q" * 50,)), Turn("assistant", ("b" * 600 + "e" * 200,))
    kept = truncate_turns([SYSTEM, *rounds(2), answer, question, answer], length, 300)
    assert kept == [SYSTEM, question, Turn("assistant", ("e" * 200,))]
    hopeless = Turn("user", ("q" * 999,))
    assert truncate_turns([hopeless, answer], length, 300) == [hopeless, Turn("assistant", ("e",))]


def test_sizes_that_do_not_add_up_are_measured():
    turns = rounds(12)
    kept = truncate_turns(turns, lambda part: length(part) + 3 * len(part) ** 2, 300)
    assert length(kept) + 3 * len(kept) ** 2 <= 300
    assert kept[-1] == turns[-1]
