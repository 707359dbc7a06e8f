"""The entry point."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from mmtui.entry import command_line, run, silence_libraries


def main() -> NoReturn:
    sys.argv[1:] = _with_id(sys.argv[1:])
    run("mmtui", _chat if _says_nothing() else lambda: command_line("mmtui"))


def _says_nothing() -> bool:
    """Whether there is nothing to parse: to load what does it is a third of the chat's start."""
    return not sys.argv[1:] and "_MMTUI_COMPLETE" not in os.environ  # of a shell's completion


def _chat() -> Callable[[], None]:
    silence_libraries()
    from mmtui.cli.chat import chat

    return chat


def _with_id(arguments: list[str]) -> list[str]:
    """`--resume` alone means the latest; Typer has no option whose value may be left out."""
    given: list[str] = []
    for argument, following in zip(arguments, [*arguments[1:], "-"], strict=False):
        given.append(argument)
        if argument == "--resume" and following.startswith("-"):
            given.append("latest")
    return given


if __name__ == "__main__":
    main()
