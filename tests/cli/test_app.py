"""`mmtui` itself: its help, its version, and options before a command."""

import re

import pytest
from command_line import assert_error


def test_the_version_and_the_help_are_printed(mmtui):
    assert re.fullmatch(r"mmtui \d+\.\d+\.\d+\n", mmtui("--version").out)
    assert "ask" in mmtui("--help").out


@pytest.mark.parametrize(
    "option", [("--engine", "torch"), ("--model", "smol"), ("--image", "x.jpg"), ("--plain",)]
)
def test_an_option_of_the_chat_before_a_command_is_refused(mmtui, option):
    assert_error(mmtui(*option, "ask", "Hi"), 2, f"{option[0]} before ask is an option of the chat")
