"""Contact sheets show texts completely, and the best and worst predictions in order."""

import pytest
from PIL import Image, ImageFont

from mmtrain.evaluation import contact_sheet, scores
from mmtrain.evaluation.scores import Prediction


@pytest.mark.parametrize("text", ["W" * 300, "a long answer " * 40, "one\n\ntwo", "漢字" * 90])
def test_a_long_text_is_wrapped_and_not_cut(text):
    length = ImageFont.load_default(13).getlength
    lines = contact_sheet._wrap(text, length)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(length(line) <= contact_sheet.CELL for line in lines)


def test_a_sheet_grows_with_its_longest_text(tmp_path):
    heights = []
    for name, text in (("short", "a cat"), ("long", "a cat on a mat " * 30)):
        contact_sheet.draw_sheet([(None, text)], tmp_path / f"{name}.png")
        heights.append(Image.open(tmp_path / f"{name}.png").height)
    assert heights[1] > heights[0] + 10 * contact_sheet.LINE


def test_the_best_and_the_worst_are_sorted_by_score(monkeypatch, tmp_path):
    drawn = []
    monkeypatch.setattr(scores.contact_sheet, "draw_sheet", lambda cells, _: drawn.extend(cells))
    order = [3, 9, 0, 17, 12, 5, 1, 16, 8, 2, 11, 4, 15, 7, 10, 13, 6, 14]
    scores.write_sheet(
        [Prediction(str(n), f"answer {n}", ["reference"], float(n)) for n in order],
        tmp_path / "sheet.png",
    )
    shown = [float(text.split()[0]) for _, text in drawn]
    assert shown == [17, 16, 15, 14, 13, 12, 11, 10, 0, 1, 2, 3, 4, 5, 6, 7]
