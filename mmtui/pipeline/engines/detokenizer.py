"""Token ids -> text that can be shown at once."""

from collections.abc import Callable, Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from mmtui.pipeline.engines.llama_tokenizer import LlamaTokenizer
from mmtui.pipeline.tokenizer import ChatTokenizer


class Detokenizer:
    """Gives out text as soon as it is certain.

    A character comes out whole or not at all; white space at either end of the answer and
    whatever may turn out to be one of the `stops` is held back. `ended`: a stop was written.
    """

    def __init__(self, tokenizer: ChatTokenizer | LlamaTokenizer, stops: Sequence[str]) -> None:
        self._decode: Callable[[int], str] = (
            tokenizer.make_decoder()
            if isinstance(tokenizer, LlamaTokenizer)
            else _Decoder(tokenizer.backend_tokenizer)
        )
        self._stops = stops
        self._held = ""
        self._begun = False
        self.is_stopped = False

    def push(self, token: int) -> str:
        self._held += self._decode(token)
        for stop in self._stops:
            before, found, _ = self._held.partition(stop)
            if found:
                self._held, self.is_stopped = before, True
                return self.flush()
        return self._give(len(self._held) - self._beginning_of_a_stop())

    def flush(self) -> str:
        """What was held back, at the end of the answer."""
        return self._give(len(self._held))

    def _give(self, end: int) -> str:
        text = self._held[:end].rstrip()
        self._held = self._held[len(text) :] if text else self._held
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        return text

    def _beginning_of_a_stop(self) -> int:
        return max(
            (
                n
                for stop in self._stops
                for n in range(1, len(stop))
                if self._held.endswith(stop[:n])
            ),
            default=0,
        )


class _Decoder:
    """Returns the text of one token after the other."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def __call__(self, token: int) -> str:
        try:
            piece = self._stream.step(self._tokenizer, token)
        except Exception:  # its own kind: bytes that are no text changed what it had given out
            self._stream = DecodeStream(skip_special_tokens=True)
            piece = self._stream.step(self._tokenizer, token)
        return piece or ""
