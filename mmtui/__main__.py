"""The entry point."""

import sys
from typing import NoReturn

from mmtui.entry import run


def main() -> NoReturn:
    sys.argv[1:] = _with_id(sys.argv[1:])
    run("mmtui")


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
