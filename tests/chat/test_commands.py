"""Command lines: each text is a command, a message, or refused with a cure."""

import pytest

from mmtui.chat.commands import BY_NAME, parse
from mmtui.errors import UsageError


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("/quit", "quit", ""),
        ("/Help", "help", ""),
        ("/NEW  \n", "new", ""),
        ("/image  a b.png ", "image", "a b.png"),
        ("/copy code", "copy", "code"),
        ("/edit /quit", "edit", "/quit"),
        ("/history\tno tea", "history", "no tea"),
    ],
)
def test_a_slash_and_a_name_are_a_command(text, name, argument):
    assert parse(text) == (BY_NAME[name], argument)


@pytest.mark.parametrize(
    "text",
    [
        " /quit now",
        "/usr/bin is what?",
        "/photo.png",
        "//quit",
        "/* C */",
        "1/2",
        "/no, really",
        "",
    ],
)
def test_what_begins_otherwise_is_a_message(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("/quit now", "/quit takes no argument"),
        ("/New ideas please", "/new takes no argument"),
        ("/drop it", "/drop takes no argument"),
        ("/copy everything", "/copy takes code or all, not everything"),
        ("/theme pink", "/theme takes dark or light, not pink"),
        ("/nonsense really", "there is no command /nonsense"),
        ("/", "there is no command /"),
        ("/quit\nnow", "/quit takes no argument"),
        ("/image\nx", "/image takes one line"),
        ("/system Be brief.\nBe kind.", "/system takes one line"),
    ],
)
def test_what_is_neither_is_refused_with_a_cure(text, says):
    with pytest.raises(UsageError, match=says) as refusal:
        parse(text)
    assert "start it with a space" in refusal.value.hint or "asks for more" in refusal.value.hint
