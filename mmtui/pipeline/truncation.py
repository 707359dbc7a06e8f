"""A conversation longer than the model's context: what is oldest of it is left out."""

from collections.abc import Callable, Sequence
from itertools import chain

from mmtui.pipeline.prompt import Turn

Length = Callable[[Sequence[Turn]], int]  # in tokens, once a chat template is around them


def fitting(turns: Sequence[Turn], length: Length, room: int) -> Sequence[Turn]:
    """The system prompt and the latest rounds, of `room` tokens at most.

    A round is a question and what was answered; the last question stays, whatever its size. Of
    an answer that goes on and is too long by itself, the latest half stays, or half of that. Once
    full, rounds go until the rest is half as long, so that the turns to come find the same
    beginning, and the cache of it is of use.
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
    for number, size in enumerate(sizes):  # as the conversation went: what left it stays out
        used += size
        if used > free:
            while used > free // 2 and first < number:
                used -= sizes[first]
                first += 1
    kept = [*system, *chain(*rounds[first:])]
    while length(kept) > room and first < len(rounds) - 1:  # sizes do not add up exactly
        first += 1
        kept = [*system, *chain(*rounds[first:])]
    while kept[-1].role == "assistant" and length(kept) > room:
        text = "".join(part for part in kept[-1].content if isinstance(part, str))
        if len(text) < 2:
            break
        kept[-1] = Turn("assistant", (text[len(text) // 2 :],))
    return kept
