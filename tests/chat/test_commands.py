"""Parsing command lines: a text is a command, a message, or an error with a hint."""

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
def test_a_slash_and_a_known_name_are_a_command(text, name, argument):
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
def test_other_texts_are_messages(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/quit now", "/quit takes no argument"),
        ("/New ideas please", "/new takes no argument"),
        ("/drop it", "/drop takes no argument"),
        ("/copy everything", "/copy takes code or all, not everything"),
        ("/theme pink", "/theme takes dark or light or contrast or terminal, not pink"),
        ("/nonsense really", "there is no command /nonsense"),
        ("/", "there is no command /"),
        ("/quit\nnow", "/quit takes no argument"),
        ("/image\nx", "/image takes one line"),
        ("/system Be brief.\nBe kind.", "/system takes one line"),
    ],
)
def test_an_invalid_command_is_an_error_with_a_hint(text, message):
    with pytest.raises(UsageError, match=message) as raised:
        parse(text)
    hint = raised.value.hint
    assert "start it with a space" in hint or "opens a dialog" in hint
