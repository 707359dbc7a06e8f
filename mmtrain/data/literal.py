"""Text as data: special tokens that are written in it are text like any other."""

from typing import Any

from tokenizers import Tokenizer as Core


def literal_core(tokenizer: Any) -> Core:
    """A copy of a tokenizer's core that never makes a special token of a text.

    "<|endoftext|>" in a document about tokenizers becomes the tokens of its characters: the one
    end that a document has is the one that is put after it.
    """
    core = Core.from_str(tokenizer.backend_tokenizer.to_str())
    core.no_truncation()
    core.no_padding()
    core.encode_special_tokens = True
    return core
