import pytest

from mmtui.text import one_line, printable


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("a\x1b[2Jb", "a[2Jb"),
        ("\x1b]52;c;aGk=\x07", "]52;c;aGk="),
        ("\x9b31mred", "31mred"),
        ("bell\x07 back\x08 nul\x00 del\x7f", "bell back nul del"),
        ("one\r\ntwo\rthree", "one\ntwothree"),
        ("\u202egpj.exe\u2066x\u200f", "gpj.exex"),
        ("tab\tand\nnewline stay", "tab\tand\nnewline stay"),
        ("half \ud83d", "half \N{REPLACEMENT CHARACTER}"),
        ("naïve 日本 👩‍👩‍👧", "naïve 日本 👩‍👩‍👧"),
    ],
)
def test_control_and_bidirectional_characters_are_removed(hostile, shown):
    assert printable(hostile) == shown
    shown.encode()


def test_only_tab_and_newline_are_kept_of_the_control_characters():
    every = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
    assert printable(every) == "\t\n"


def test_a_stream_can_be_cleaned_in_pieces():
    text = "a\x1b]0;x\x07b\x9b1mc"
    assert "".join(map(printable, text)) == printable(text)


def test_line_breaks_are_escaped_in_one_line():
    assert one_line("a\nb\tc\x1b[0m") == r"a\nb\tc[0m"
