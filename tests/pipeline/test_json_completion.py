"""JSON documents that were cut off can be parsed."""

import json

import pytest

from mmtui.pipeline.json_completion import find_json_end

DOCUMENT = {
    "a": [1, -2.5e-3, {"b": None, "c": True}],
    'k\\"\u1234': 'x\n\u20ac\\ "q[{',
    "e": [],
    "f": {},
    "n": [0.5, "", False, [[]]],
}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_document_is_completed_wherever_it_was_cut_off(indent, ascii_only):
    text = json.dumps(DOCUMENT, indent=indent, ensure_ascii=ascii_only)
    for length in range(len(text)):
        assert isinstance(json.loads(text[:length] + find_json_end(text[:length])), dict | None)
    assert find_json_end(text) == ""


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("", "null"),
        ('"a cat', '"a cat"'),
        ("-", "-0"),
        ("[1.", "[1.0]"),
        ('{"name": "Fel', '{"name": "Fel"}'),
        ('{"name": "Felix", "li', '{"name": "Felix", "li":null}'),
        ('{"likes": ["cats", ', '{"likes": ["cats", null]}'),
        ("no JSON", "no JSON"),
    ],
)
def test_brackets_and_texts_are_closed(text, completed):
    assert text + find_json_end(text) == completed
