"""Text is found in pictures, upright or not, and in the order in which people read it."""

import json
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from mmtui.pipeline.reading.reader import TextReader

RECEIPT = ["CORNER SHOP", "Milk 1.20", "Bread 2.40", "TOTAL 3.60"]


@pytest.fixture(scope="module")
def reader() -> TextReader:
    return TextReader(threads=1)


def draw_text(
    size: tuple[int, int], texts: Sequence[tuple[int, int, str]], height: int = 28, **colours: str
) -> Image.Image:
    """Draw texts at their positions (x, y), black on white by default."""
    image = Image.new("RGB", size, colours.get("background", "white"))
    drawing, font = ImageDraw.Draw(image), ImageFont.load_default(height)
    for x, y, text in texts:
        drawing.text((x, y), text, colours.get("colour", "black"), font)
    return image


def draw_receipt(**colours: str) -> Image.Image:
    """Draw a receipt, whose prices are far to the right of what is priced."""
    texts = [(120, 30, RECEIPT[0])]
    for number, line in enumerate(RECEIPT[1:]):
        name, price = line.split()
        texts += [(40, 100 + 60 * number, name), (360, 100 + 60 * number, price)]
    return draw_text((480, 320), texts, **colours)


def read_texts(reader: TextReader, image: Image.Image) -> list[str]:
    return [line.text for line in reader.read(image)]


def test_the_lines_of_a_receipt_include_their_prices(reader):
    lines = reader.read(draw_receipt())
    assert [line.text for line in lines] == RECEIPT
    assert all(line.confidence > 0.8 for line in lines)
    left, top, right, bottom = lines[-1].box
    assert left < 60 and right > 400 and 200 < top < bottom < 270


def test_white_on_black_is_read(reader):
    assert read_texts(reader, draw_receipt(background="black", colour="white")) == RECEIPT


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_page_is_read_in_order(reader, turns):
    turned = Image.fromarray(np.rot90(np.asarray(draw_receipt()), turns))
    lines = reader.read(turned)
    assert [line.text for line in lines] == RECEIPT
    assert all(0 <= left < right <= turned.width for left, _, right, _ in (x.box for x in lines))


def test_a_slanted_page_is_read_in_order(reader):
    slanted = draw_receipt().rotate(8, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    assert read_texts(reader, slanted) == RECEIPT


def test_columns_are_read_one_after_the_other(reader):
    left = ["The river was high", "and the bridge had", "gone in the night", "with two horses"]
    right = ["Nobody had seen it", "except an old man", "who was fishing on", "the other side"]
    texts = [(160, 20, "NEWS OF THE VALLEY")]
    texts += [(20, 80 + 40 * row, line) for row, line in enumerate(left)]
    texts += [(340, 84 + 40 * row, line) for row, line in enumerate(right)]
    page = draw_text((640, 260), texts, height=24)
    assert read_texts(reader, page) == ["NEWS OF THE VALLEY", *left, *right]


def test_small_print_of_a_screenshot_is_read(reader):
    lines = [f"Setting number {n} is on" for n in range(30)]
    texts = [(40, 30 + 30 * row, line) for row, line in enumerate(lines)]
    assert read_texts(reader, draw_text((1920, 1080), texts, height=15)) == lines


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (1, 5000), (9, 4000), (4000, 9), (5, 5)])
def test_a_picture_of_few_pixels_has_no_text(reader, size):
    assert reader.read(Image.new("RGB", size, "white")) == ()


def test_a_photo_without_text_has_none(reader):
    noise = np.random.default_rng(0).normal(128, 30, (20, 30, 3)).clip(0, 255).astype(np.uint8)
    assert reader.read(Image.fromarray(noise).resize((1000, 700))) == ()


def test_a_huge_picture_is_read(reader):
    sign = draw_text((600, 400), [(60, 120, "NO ENTRY")], height=90)
    (line,) = reader.read(sign.resize((6000, 4000)))
    assert line.text == "NO ENTRY"
    assert line.box[2] > 3000


def test_a_page_of_many_words_is_read_as_far_as_a_prompt_can_use(reader):
    texts = [
        (10 + 220 * column, 5 + 18 * row, f"word {row} {column}")
        for row in range(100)
        for column in range(8)
    ]
    page = draw_text((1800, 1820), texts, height=14)
    words = reader.read_for_prompt(page).split()
    assert words[:6] == ["word", "0", "0", "word", "0", "1"]
    assert len(words) < 400


def test_real_signs_and_packages_are_read(reader, shared):
    labels = json.loads((shared / "reading" / "labels.json").read_text())[::12]
    found = total = 0
    for label in labels:
        image = Image.open(shared / "reading" / label["image"]).convert("RGB")
        expected = Counter(re.findall(r"\w+", label["text"].lower()))
        text = " ".join(read_texts(reader, image)).lower()
        found += sum((expected & Counter(re.findall(r"\w+", text))).values())
        total += sum(expected.values())
    assert found / total > 0.8
