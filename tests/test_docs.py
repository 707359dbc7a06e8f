"""The documentation names only files that are in the tree, and commands that exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import mmtrain.cli.app
import mmtui.cli.app
from mmtui.__main__ import add_resume_value

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
# A path in backticks that starts at the root of the repository, such as `mmtui/paths.py`.
_PATH = re.compile(r"`((?:mmtui|mmtrain|tests|docs)/[\w./-]*)`")
# A line of a block of code that starts with one of the commands; the rest of it is another command.
_COMMAND = re.compile(
    r"^(?: {4}|\$ )?((?:mmtui|mmtrain)(?: [^#|<>&\n]*)?)(?:[#|<>&].*)?$", re.MULTILINE
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$|((?:^    .*\n)+)", re.MULTILINE | re.DOTALL)
_NOTE = re.compile(r"^!!! .*\n(?:(?: {4}.*)?\n)+", re.MULTILINE)  # prose that is indented
_APPS = {
    "mmtui": typer.main.get_command(mmtui.cli.app.app),
    "mmtrain": typer.main.get_command(mmtrain.cli.app.app),
}


def find_commands(page: str) -> Iterator[list[str]]:
    """Yield the words of each command line in the blocks of code of a page."""
    for language, fenced, indented in _BLOCK.findall(_NOTE.sub("", page)):
        if language not in ("", "sh", "console"):
            continue
        code = fenced + indented
        for line in _COMMAND.findall(code.replace("\\\n", " ")):
            yield shlex.split(line)


def parse(name: str, arguments: list[str]) -> None:
    """Parse a command line without running the command.

    Raises:
        TyperException: There is no such command, option or value.
    """
    command, context = _APPS[name], None
    while True:
        context = command.make_context(name, list(arguments), parent=context)
        rest = [*getattr(context, "_protected_args", []), *context.args]
        if not rest:
            return
        name, command, arguments = command.resolve_command(context, rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_blocks_of_code_can_be_parsed(page: Path) -> None:
    for name, *arguments in find_commands(page.read_text("utf-8")):
        parse(name, add_resume_value(arguments))


@pytest.mark.parametrize("page", ["README.md", "docs/chatting.md"])
def test_pages_have_commands(page: str) -> None:
    assert list(find_commands((ROOT / page).read_text("utf-8")))


def test_wrong_commands_are_found() -> None:
    page = (
        "Text:\n\n    mmtui ask --sped Hi   # aloud\n\n```sh\nmmtrain aligned \\\n    --lr 1\n```\n"
    )
    commands = list(find_commands(page))
    assert commands == [["mmtui", "ask", "--sped", "Hi"], ["mmtrain", "aligned", "--lr", "1"]]
    for name, *arguments in commands:
        with pytest.raises(typer.TyperException):
            parse(name, arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = _PATH.findall(page.read_text("utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []
