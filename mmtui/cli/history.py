"""`mmtui history` and `mmtui config`: what is kept, from the shell."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmtui.cli.arguments import TextCommand
from mmtui.errors import MmtuiError, UsageError
from mmtui.paths import resolve
from mmtui.progress import print_json
from mmtui.text import one_line, printable

if TYPE_CHECKING:
    from mmtui.chat.history.history import History, Summary

history = typer.Typer(help="Earlier conversations.", rich_markup_mode=None, no_args_is_help=True)
config = typer.Typer(help="Settings.", rich_markup_mode=None, no_args_is_help=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="Its beginning is enough.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many.")]


@contextmanager
def _opened() -> "Iterator[History]":
    from mmtui.chat.history.history import History

    opened = History(notify=_warn)
    try:
        yield opened
    finally:
        opened.close()


def _warn(message: str, hint: str | None) -> None:
    print(f"warning: {one_line(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {one_line(hint)}", file=sys.stderr)


@history.command("list")
def list_(limit: Limit = 20, as_json: JsonOption = False) -> None:
    """List conversations, the one that was written to last first."""
    with _opened() as kept:
        _print(kept.newest(limit), as_json)


@history.command(cls=TextCommand)
def search(words: list[str], limit: Limit = 20, as_json: JsonOption = False) -> None:
    """Find conversations by words in a message, a recording or the title.

    All of them must occur in one message. They may be parts of words; case and accents are ignored.
    """
    with _opened() as kept:
        _print(kept.search(" ".join(words), limit), as_json)


@history.command()
def show(id: Id) -> None:
    """A conversation as Markdown."""
    from mmtui.chat.export import to_markdown

    with _opened() as kept:
        print(printable(to_markdown(kept.conversation(id))), end="")


@history.command()
def export(
    id: Id,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", parser=resolve, help="A .md, .html or .json to be.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file.")] = False,
) -> None:
    """Write a conversation to a file; HTML has its pictures and recordings inside."""
    from mmtui.chat.export import write

    with _opened() as kept:
        write(kept.conversation(id), file, kept.file, force)
    print(one_line(str(file)))


@history.command(cls=TextCommand)
def rename(id: Id, title: Annotated[list[str], typer.Argument(metavar="TITLE")]) -> None:
    """Give a conversation another title."""
    if not (new := " ".join(title).strip()):
        raise UsageError("a title can't be empty", "mmtui history rename ID TITLE")
    with _opened() as kept:
        kept.rename(kept.conversation(id).id, new)
    print(one_line(new))


@history.command()
def delete(id: Id) -> None:
    """Delete a conversation; `restore` brings it back for a day."""
    with _opened() as kept:
        whole = kept.conversation(id).id
        kept.delete(whole)
    print(f"deleted; `mmtui history restore {whole[:8]}` brings it back")


@history.command()
def restore(id: Id) -> None:
    """Bring a deleted conversation back."""
    with _opened() as kept:
        print(one_line(kept.conversation(kept.restore(id)).title))


@config.command()
def path() -> None:
    """Where the settings are."""
    from mmtui.chat.config import path as where

    print(one_line(str(where())))


@config.command("show")
def show_config(as_json: JsonOption = False) -> None:
    """What the settings are, the file's and the environment's together."""
    from mmtui.chat.config import Config
    from mmtui.frontends.tui.keymap import find_problems

    settings = Config.load()
    for problem, cure in find_problems(settings.keys):
        print(one_line(f"note: {problem}; {cure}"), file=sys.stderr)
    if as_json:
        print_json(asdict(settings))
        return
    for key, value in asdict(settings).items():
        print(one_line(f"{key:12} {value!r}"))


@config.command()
def edit() -> None:
    """Open the settings in $VISUAL or $EDITOR; they are checked afterwards."""
    from mmtui.chat.config import TEMPLATE, Config
    from mmtui.chat.config import path as where
    from mmtui.frontends.tui.keymap import find_problems

    file = where()
    variable = next((name for name in ("VISUAL", "EDITOR") if os.environ.get(name, "").strip()), "")
    if not variable:
        raise UsageError(f"there is no editor; the file is {file}", "set EDITOR, as to nano")
    command = _editor(variable)
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(TEMPLATE, "utf-8")
    except OSError as error:
        raise MmtuiError(
            f"the settings can't be written: {file}: {error.strerror}",
            "XDG_CONFIG_HOME says in which folder they are",
        ) from error
    try:
        code = subprocess.run([*command, file], check=False).returncode
    except OSError as error:
        raise UsageError(
            f"{variable}: {command[0]} can't be started: {error.strerror}",
            f"{variable}=nano, or {variable}='\"/a path/editor\" --wait'",
        ) from error
    settings = Config.load(file)
    if code:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise MmtuiError(f"the editor, {command[0]}, ended with {how}", f"the file is {file}")
    if problems := list(find_problems(settings.keys)):
        raise UsageError(f"{file}: {'; '.join(problem for problem, _ in problems)}", problems[0][1])


def _editor(variable: str) -> list[str]:
    """The command in $VISUAL or $EDITOR: a program, whose path may have spaces, and its options."""
    command = os.environ[variable].strip()
    if program := shutil.which(os.path.expanduser(command)):  # noqa: PTH111 - may be a bare name
        return [program]
    try:
        return shlex.split(command)
    except ValueError:
        raise UsageError(
            f"{variable} has a quote that is not closed: {command}",
            f"{variable}=nano, or {variable}='\"/a path/editor\" --wait'",
        ) from None


def _print(found: "list[Summary]", as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "id": each.id, "title": each.title, "updated": each.updated.isoformat(),
                    "messages": each.messages, "snippet": each.snippet,
                }
                for each in found
            ]
        )  # fmt: skip
        return
    for each in found:
        when = each.updated.astimezone()
        print(one_line(f"{each.id[:8]}  {when:%Y-%m-%d %H:%M}  {each.title}"))
        if each.snippet:
            print(one_line(f"          {each.snippet}"))
    if not found:
        print("there is none", file=sys.stderr)
