"""The end of an answer."""

from dataclasses import dataclass
from typing import Literal

StopReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Reply:
    """The end of an answer.

    Attributes:
        text: The whole answer.
        stop_reason: "stop" if the model ended the answer, "length" if it was cut off.
        prompt_tokens: Positions of the prompt, the patches of pictures included.
        cached_tokens: How many of these were in the KV cache.
        completion_tokens: Tokens of the answer.
        first_token_s: Seconds until the first token; None if the answer was cancelled before.
        decode_tokens_per_s: Speed after the first token; None for a single token.
        dropped: Number of oldest turns that were left out, because the context was full.
        full: Whether the answer was cut off because the context was full.
        repeats: Whether the answer was cut off because it repeated itself without end.
    """

    text: str
    stop_reason: StopReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_s: float | None
    decode_tokens_per_s: float | None
    dropped: int = 0
    full: bool = False
    repeats: bool = False
