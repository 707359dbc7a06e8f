"""Words in the messages of a conversation."""

import pytest

from mmtui.chat.conversation import Conversation
from mmtui.chat.finding import find_hits
from mmtui.chat.history.search import find_spans, fold


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("A cat, a Cat", "CAT", ["cat", "Cat"]),
        ("Café, cafe\u0301, CAFE", "cafe", ["Café", "cafe", "CAFE"]),
        ("two   words,\ntwo\twords", "two words", ["two   words", "two\twords"]),
        ("Straße", "strasse", ["Straße"]),
        ("aaaa", "aa", ["aa", "aa"]),
        ("火山と火", "火", ["火", "火"]),
        ("nothing", "cat", []),
        ("nothing", " ", []),
    ],
)
def test_case_accents_and_spaces_are_ignored(text, words, found):
    spans = find_spans(text, fold(words))
    assert [text[start:end] for start, end in spans] == found


def test_replies_are_searched_as_they_are_shown():
    conversation = Conversation()
    question = conversation.say("**not bold**")
    answer = conversation.answer()
    answer.text = "A *very* **big**\n`cat` ([link](http://cat.example))\n\n```\ncat\n```\n\n- cat"
    assert [hit.message for hit in find_hits(conversation.thread, "**not")] == [question.id]
    assert [hit.number for hit in find_hits(conversation.thread, "cat")] == [0, 1, 2]
    assert len(find_hits(conversation.thread, "very big cat (link)")) == 1
    assert not find_hits(conversation.thread, "example")
