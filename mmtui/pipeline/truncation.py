"""Truncation of conversations that are longer than the model's context."""

from collections.abc import Callable, Sequence
from itertools import chain

from mmtui.pipeline.prompt import Turn

CountTokens = Callable[[Sequence[Turn]], int]  # the length of turns with the chat template


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
