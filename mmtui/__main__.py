"""The `mmtui` program."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from mmtui.entry import load_command_line, run, silence_libraries


def main() -> NoReturn:
    """Run the command line, or open the chat if there are no arguments."""
    sys.argv[1:] = add_resume_value(sys.argv[1:])
    run("mmtui", _load_chat if _has_no_arguments() else lambda: load_command_line("mmtui"))


def _has_no_arguments() -> bool:
    """Return whether the chat can open without a parser, whose import takes as long as half of it.

    A shell that completes a command line sets _MMTUI_COMPLETE and passes no arguments.
    """
    return not sys.argv[1:] and "_MMTUI_COMPLETE" not in os.environ


def _load_chat() -> Callable[[], None]:
    silence_libraries()
    from mmtui.cli.chat import chat

    return chat


def add_resume_value(arguments: list[str]) -> list[str]:
    """Add "latest" to `--resume` without a value; Typer has no options with optional values."""
    completed: list[str] = []
    for argument, following in zip(arguments, [*arguments[1:], "-"], strict=False):
        completed.append(argument)
        if argument == "--resume" and following.startswith("-"):
            completed.append("latest")
    return completed


if __name__ == "__main__":
    main()
