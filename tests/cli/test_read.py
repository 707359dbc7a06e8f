"""`mmtui read` prints the text that is written in pictures."""

import io

import pytest
from command_line import assert_error
from PIL import Image, ImageDraw, ImageFont


def draw_sign(text: str) -> bytes:
    image = Image.new("RGB", (400, 200), "white")
    ImageDraw.Draw(image).text((40, 70), text, "black", ImageFont.load_default(40))
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def sign(tmp_path):
    path = tmp_path / "sign.png"
    path.write_bytes(draw_sign("NO ENTRY"))
    return path


@pytest.fixture
def blank(tmp_path):
    path = tmp_path / "blank.png"
    path.write_bytes(draw_sign(""))
    return path


def test_the_text_of_a_picture_is_printed(mmtui, sign):
    assert mmtui("read", sign).out == "NO ENTRY\n"


def test_json_has_the_places_of_the_lines(mmtui, sign):
    run = mmtui("read", sign, "--json")
    (image,) = run.json["images"]
    assert list(image) == ["path", "sha256", "size", "text", "lines"]
    assert (image["path"], image["size"], image["text"]) == (str(sign), [400, 200], "NO ENTRY")
    (line,) = image["lines"]
    left, top, right, bottom = line["box"]
    assert 0 < left < 60 and 40 < top < bottom < 140 and 200 < right < 400
    assert line["confidence"] > 0.8


def test_a_picture_is_read_from_stdin(mmtui):
    assert mmtui("read", "-", stdin=draw_sign("WAY OUT")).out == "WAY OUT\n"


def test_without_text_the_exit_code_is_4(mmtui, blank):
    assert_error(mmtui("read", blank), 4, r"blank.png: no text found", "small")
    assert_error(mmtui("read", blank, "--json"), 4, r"blank.png: no text found")


def test_several_files_are_read_although_one_is_missing(mmtui, sign, blank, tmp_path):
    run = mmtui("read", blank, tmp_path / "none.png", sign)
    assert run.code == 4
    assert run.out == f"==> {sign} <==\nNO ENTRY\n"
    assert f"note: {blank}: no text found" in run.err
    assert f"error: no such file: {tmp_path / 'none.png'}" in run.err
    assert "1 of 3 files can't be read" in run.err


def test_what_is_not_a_picture_is_refused(mmtui, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert_error(mmtui("read", tmp_path / "a.png"), 4, "a.png: this is not a picture")
    assert_error(mmtui("read"), 2, "FILE")
