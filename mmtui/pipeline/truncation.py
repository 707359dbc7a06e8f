"""Truncation of conversations that are longer than the model's context."""

from collections.abc import Callable, Sequence
from itertools import chain

from mmtui.pipeline.prompt import Turn

Length = Callable[[Sequence[Turn]], int]  # in tokens, with the chat template


def truncate_turns(turns: Sequence[Turn], length: Length, room: int) -> Sequence[Turn]:
    """Leave out the oldest rounds of a conversation so that it fits.

    A round is a question and its answer. The system prompt and the last question are always kept.
    When the limit is reached, rounds are removed down to half of it: the next turns then start with
    the same rounds, and the KV cache can be reused. If the answer to continue is too long, its
    first half is removed until it fits.

    Args:
        turns: The conversation.
        length: Returns the length of turns in tokens.
        room: The limit in tokens.
    """
    if length(turns) <= room:
        return turns
    system = [turn for turn in turns[:1] if turn.role == "system"]
    rounds: list[list[Turn]] = []
    for turn in turns[len(system) :]:
        if turn.role == "user" or not rounds:
            rounds.append([])
        rounds[-1].append(turn)
    sizes = [length(round) for round in rounds]
    free = room - (length([*system, *rounds[0]]) - sizes[0])
    first, used = 0, 0
    for number, size in enumerate(sizes):  # replay the conversation: a removed round stays removed
        used += size
        if used > free:
            while used > free // 2 and first < number:
                used -= sizes[first]
                first += 1
    kept = [*system, *chain(*rounds[first:])]
    while (
        length(kept) > room and first < len(rounds) - 1
    ):  # lengths of rounds do not add up exactly
        first += 1
        kept = [*system, *chain(*rounds[first:])]
    while kept[-1].role == "assistant" and length(kept) > room:
        text = "".join(part for part in kept[-1].content if isinstance(part, str))
        if len(text) < 2:
            break
        kept[-1] = Turn("assistant", (text[len(text) // 2 :],))
    return kept
