"""Truncation of conversations that are longer than the model's context."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

from mmtui.errors import InputError, TooLongError
from mmtui.pipeline.prompt import Turn
from mmtui.pipeline.sequence import Position, count_common

CountTokens = Callable[[Sequence[Turn]], int]  # the length of turns with the chat template

_QUESTIONS = ("A", "1")  # two that start with different tokens


class FittedPrompt(NamedTuple):
    """A prompt that leaves room for an answer.

    Attributes:
        turns: The turns that are kept.
        sequence: Their positions.
        room: The number of positions that are free.
    """

    turns: Sequence[Turn]
    sequence: list[Position]
    room: int


def fit_prompt(
    turns: Sequence[Turn],
    encode: Callable[[Sequence[Turn]], list[Position]],
    context_length: int,
    max_tokens: int,
    model: str,
) -> FittedPrompt:
    """Encode a conversation, without its oldest turns if there is no room for an answer.

    Args:
        turns: The conversation.
        encode: Returns the positions of turns.
        context_length: The number of positions that the model was trained for.
        max_tokens: Length limit of the answer.
        model: The name of the model, for the error.

    Raises:
        TooLongError: Even the last turn is longer than the context.
        InputError: The prompt is empty.
    """
    sequence = encode(turns)
    if not sequence:
        raise InputError(f"the chat template of {model} gives an empty prompt", "use another model")
    limit = context_length - min(max_tokens, context_length // 4)
    if len(sequence) > limit:
        turns = truncate_turns(turns, lambda part: len(encode(part)), limit)
        sequence = encode(turns)
    room = context_length - len(sequence)
    if room < 1:
        raise TooLongError(
            f"the conversation is {len(sequence)} tokens long, {1 - room} too many for {model}",
            f"shorten it to {context_length - 1} tokens, or use a model with a longer context",
        )
    return FittedPrompt(turns, sequence, room)


def find_known_start(
    turns: Sequence[Turn], fit: Callable[[Sequence[Turn]], FittedPrompt]
) -> list[Position]:
    """Return what prompts have in common, whatever the text of the last turn will be.

    Args:
        turns: The conversation, with a question that lacks its text.
        fit: Returns the prompt of a conversation.

    Raises:
        TooLongError: Even the last turn is longer than the context.
    """
    *before, last = turns
    first, second = (
        fit([*before, replace(last, content=(*last.content, question))]).sequence
        for question in _QUESTIONS
    )
    return first[: count_common(first, second)]


def truncate_turns(
    turns: Sequence[Turn], count_tokens: CountTokens, max_tokens: int
) -> Sequence[Turn]:
    """Remove the oldest rounds of a conversation that is too long.

    A round is a question and its answer. The system prompt and the last question are always kept.
    When the limit is exceeded, rounds are removed down to half of it, so that the next prompts
    start with the same rounds and can reuse the KV cache. If the answer to continue is too long,
    its first half is removed, repeatedly if needed.

    Args:
        turns: The conversation.
        count_tokens: Returns the length of turns in tokens, with the chat template.
        max_tokens: The maximum length in tokens.

    Returns:
        The remaining turns, which are still too long if the last question is.
    """
    if count_tokens(turns) <= max_tokens:
        return turns
    system = [turn for turn in turns[:1] if turn.role == "system"]
    rounds: list[list[Turn]] = []
    for turn in turns[len(system) :]:
        if turn.role == "user" or not rounds:
            rounds.append([])
        rounds[-1].append(turn)
    sizes = [count_tokens(round) for round in rounds]
    available = max_tokens - (count_tokens([*system, *rounds[0]]) - sizes[0])
    first, used = 0, 0
    for number, size in enumerate(sizes):  # replay the conversation
        used += size
        if used > available:
            while used > available // 2 and first < number:
                used -= sizes[first]
                first += 1
    kept = [*system, *chain(*rounds[first:])]
    while (
        count_tokens(kept) > max_tokens and first < len(rounds) - 1
    ):  # the lengths of rounds do not add up exactly
        first += 1
        kept = [*system, *chain(*rounds[first:])]
    while kept[-1].role == "assistant" and count_tokens(kept) > max_tokens:
        text = "".join(part for part in kept[-1].content if isinstance(part, str))
        if len(text) < 2:
            break
        kept[-1] = Turn("assistant", (text[len(text) // 2 :],))
    return kept
