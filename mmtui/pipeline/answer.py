"""An answer that grows token by token, up to its end."""

import time
from collections.abc import Collection, Iterator

from mmtui.pipeline.engines.detokenizer import Detokenizer
from mmtui.pipeline.engines.repetition import Repetition
from mmtui.pipeline.json_completion import find_json_end
from mmtui.pipeline.reply import Reply, StopReason


class Answer:
    """The text of an answer.

    Attributes:
        stop_reason: Why it ends: "length" unless it has ended before its length limit.
        tokens: The number of its tokens.
        repeats: Whether it ended because it repeated itself without end.
        is_complete: Whether it has ended.
    """

    def __init__(
        self,
        detokenizer: Detokenizer,
        stop_ids: Collection[int],
        max_tokens: int,
        room: int,
        start: float,
    ) -> None:
        """Start an empty answer.

        Args:
            detokenizer: Converts its tokens to text, up to a stop text.
            stop_ids: The tokens that end it.
            max_tokens: Its length limit.
            room: How many tokens the context has room for.
            start: When it was asked for, in seconds of `time.perf_counter`.
        """
        self._detokenizer, self._stop_ids = detokenizer, stop_ids
        self._limit, self._room = min(max_tokens, room), room
        self._repetition = Repetition()
        self._pieces: list[str] = []
        self._start = start
        self._times: list[float] = []  # of each token, a stop token included
        self.stop_reason: StopReason = "length"
        self.tokens = 0
        self.repeats = False
        self.is_complete = self._limit <= 0

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    def push(self, token: int) -> str:
        """Append a token; return the text that it completes, which may be empty."""
        self._times.append(time.perf_counter())
        if token in self._stop_ids:
            self.end("stop")
            return ""
        self.tokens += 1
        piece = self._keep(self._detokenizer.push(token))
        if self._detokenizer.is_stopped:
            self.end("stop")
        else:
            self.repeats = self._repetition.push(token)
            self.is_complete = self.repeats or self.tokens == self._limit
        return piece

    def end(self, reason: StopReason) -> None:
        """End the answer."""
        self.stop_reason, self.is_complete = reason, True

    def flush(self, *, is_document: bool) -> Iterator[str]:
        """Yield the rest of the text, once the answer has ended.

        Args:
            is_document: Whether it is a JSON document, which is completed if it was cut off.
        """
        if piece := self._keep(self._detokenizer.flush().rstrip()):
            yield piece
        is_cut_off = is_document and self.stop_reason != "cancelled"
        if is_cut_off and (piece := self._keep(find_json_end(self.text))):
            yield piece

    def to_reply(self, *, prompt_tokens: int, cached_tokens: int, dropped: int) -> Reply:
        """Return the end of the answer, with its measurements; `Reply` describes the arguments."""
        times = self._times
        seconds = times[-1] - times[0] if len(times) > 1 else None
        return Reply(
            text=self.text,
            stop_reason=self.stop_reason,
            prompt_tokens=prompt_tokens,
            cached_tokens=cached_tokens,
            completion_tokens=self.tokens,
            first_token_s=times[0] - self._start if times else None,
            decode_tokens_per_s=None if seconds is None else (len(times) - 1) / seconds,
            dropped=dropped,
            full=self.stop_reason == "length" and self.tokens == self._room,
            repeats=self.repeats,
        )

    def _keep(self, piece: str) -> str:
        if piece:
            self._pieces.append(piece)
        return piece
