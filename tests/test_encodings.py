"""Text is decoded from every common encoding; anything else is refused."""

import io

import numpy as np
import pytest
from PIL import Image

from mmtui.encodings import decode
from mmtui.errors import InputError

TEXT = "What is a naïve café?\nIt costs 5 €.\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-32"])
def test_text_in_common_encodings_is_decoded(encoding):
    assert decode(TEXT.encode(encoding)) == TEXT


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_utf_16_and_utf_32_are_decoded_without_a_byte_order_mark(encoding):
    for text in (TEXT, "Почему небо голубое?", "天空 为什么 是蓝色的?\n"):
        assert decode(text.encode(encoding)) == text


def test_utf_8_and_latin_1_are_not_mistaken_for_each_other():
    for text in ("", "é", "为什么天空是蓝色的?", "\x1b[31mred\x1b[0m\a\b\n", "一" * 100, "🙂"):
        assert decode(text.encode()) == text
    assert decode("Où est l'été?".encode("latin-1")) == "Où est l'été?"
    mostly = "日本語のテキスト".encode() + b"\xff" + "です".encode()
    assert decode(mostly) == "日本語のテキスト�です"


def _picture(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((40, 30), 80).convert("RGB").save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_picture_is_refused_with_the_right_option(kind):
    with pytest.raises(InputError, match="a picture") as refused:
        decode(_picture(kind))
    assert refused.value.hint == "mmtui ask --image - < FILE"


def test_binary_data_and_recordings_are_refused():
    noise = np.random.default_rng(0).bytes(1000)
    russian = "Почему небо голубое, и почему трава зелёная?".encode("cp1251")
    for data in (b"\0", b"\0" * 100, noise, b"\x01\x02\x03", b"Hi\0there", russian):
        with pytest.raises(InputError, match="is not text"):
            decode(data)
    for head in (b"RIFF\x24\0\0\0WAVEfmt ", b"\0\0\0\x20ftypM4A ", b"ID3\x04\0\0"):
        with pytest.raises(InputError, match="a recording"):
            decode(head + noise)
