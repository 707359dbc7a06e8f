import random

import pytest
from tokenizers import Tokenizer, decoders, models
from tokenizers.decoders import DecodeStream
from transformers import AutoTokenizer

from mmtui.pipeline.engines.detokenizer import Detokenizer
from mmtui.pipeline.tokenizer import StreamDecoder


@pytest.fixture(scope="module")
def tokenizer(tiny_llama):
    return AutoTokenizer.from_pretrained(tiny_llama)


def pieces(tokenizer, text: str, stops: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    stream = Detokenizer(StreamDecoder(tokenizer.backend_tokenizer), stops)
    texts = []
    for token in tokenizer(text, add_special_tokens=False).input_ids:
        texts.append(stream.push(token))
        if stream.is_stopped:
            break
    return [*texts, stream.flush()], stream.is_stopped


def test_characters_come_out_whole(tokenizer):
    text = "naïve 👩‍👩‍👧 日本 ok"
    texts, _ = pieces(tokenizer, text)
    assert "".join(texts) == text
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(texts)
    assert "👩" in texts  # four bytes, four tokens, one piece


def test_half_a_character_at_the_end_is_not_shown(tokenizer):
    stream = Detokenizer(StreamDecoder(tokenizer.backend_tokenizer), ())
    ids = tokenizer("ab😀", add_special_tokens=False).input_ids
    assert "".join(stream.push(token) for token in ids[:-1]) + stream.flush() == "ab"


def test_white_space_at_the_ends_is_dropped_and_kept_within(tokenizer):
    texts, _ = pieces(tokenizer, "  \n a\n\n    b \n")
    assert "".join(texts).rstrip() == "a\n\n    b"


def test_a_stop_text_ends_the_answer_and_never_shows(tokenizer):
    texts, is_stopped = pieces(tokenizer, "Paris.\nInstruct: more", ("\nInstruct:",))
    assert is_stopped
    assert "".join(texts) == "Paris."


def test_a_stop_text_may_be_all_there_is(tokenizer):
    texts, is_stopped = pieces(tokenizer, "\nInstruct: more", ("\nInstruct:",))
    assert is_stopped
    assert "".join(texts) == ""


def test_the_beginning_of_a_stop_that_is_none_is_given_out(tokenizer):
    texts, is_stopped = pieces(tokenizer, "a\nInstruments", ("\nInstruct:",))
    assert not is_stopped
    assert "".join(texts) == "a\nInstruments"


def test_special_tokens_are_not_text(tokenizer):
    texts, _ = pieces(tokenizer, "a<|im_start|>b")
    assert "".join(texts) == "ab"


def test_bytes_that_make_no_character_do_not_end_the_answer():
    """As Gemma and Llama 2 may write them: there a byte is a token of its own."""
    words = ["a", "b", "<0xC3>", "<0xA9>", "<0xE3>"]
    core = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, [], byte_fallback=True))
    core.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    stream = Detokenizer(StreamDecoder(core), ())
    texts = "".join(stream.push(token) for token in (0, 2, 3, 4, 1)) + stream.flush()
    assert texts.startswith("a") and texts.endswith("b")


@pytest.mark.parametrize("seed", range(5))
def test_texts_that_are_remembered_do_not_change_an_answer(tokenizer, seed):
    """Parts of characters, in any order, are among the tokens."""
    core = tokenizer.backend_tokenizer
    ids = [*core.encode("naïve 👩‍👩‍👧 日本 ok" * 3).ids]
    ids += random.Random(seed).choices(range(core.get_vocab_size()), k=300)
    random.Random(seed).shuffle(ids)
    expected = DecodeStream(skip_special_tokens=True)
    texts: dict[int, str] = {}
    first, second = StreamDecoder(core, texts), StreamDecoder(core, texts)
    pieces = [expected.step(core, token) or "" for token in ids]
    assert [first(token) for token in ids] == pieces
    assert texts
    assert [second(token) for token in ids] == pieces
