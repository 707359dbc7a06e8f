"""`mmtui history` and `mmtui config`: the commands for conversations and settings."""

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
    from mmtui.chat.history.conversation_index import Summary
    from mmtui.chat.history.history import History

history = typer.Typer(
    help="List, search, export and delete conversations.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
config = typer.Typer(
    help="Show and edit the settings.", rich_markup_mode=None, no_args_is_help=True
)

Id = Annotated[
    str, typer.Argument(metavar="ID", help="Id of a conversation; its beginning is enough.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Limit = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, help="Maximum number of conversations.")
]


@contextmanager
def _open_history() -> "Iterator[History]":
    from mmtui.chat.history.history import History

    history = History(notify=_warn)
    try:
        yield history
    finally:
        history.close()


def _warn(message: str, hint: str | None) -> None:
    print(f"warning: {one_line(message)}", file=sys.stderr)
    if hint:
        print(f"hint: {one_line(hint)}", file=sys.stderr)


@history.command("list")
def list_(limit: Limit = 20, as_json: JsonOption = False) -> None:
    """List conversations, the most recent first."""
    with _open_history() as stored:
        _print(stored.newest(limit), as_json)


@history.command(cls=TextCommand)
def search(words: list[str], limit: Limit = 20, as_json: JsonOption = False) -> None:
    """Find conversations by words in a message, a transcript or the title.

    All words must occur in one message. Parts of words match too; case and accents are ignored.
    """
    with _open_history() as stored:
        _print(stored.search(" ".join(words), limit), as_json)


@history.command()
def show(id: Id) -> None:
    """Print a conversation as Markdown."""
    from mmtui.chat.export import to_markdown

    with _open_history() as stored:
        print(printable(to_markdown(stored.conversation(id))), end="")


@history.command()
def export(
    id: Id,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", parser=resolve, help="File to write: .md, .html or .json."),
    ],
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE if it exists.")] = False,
) -> None:
    """Write a conversation to a file; HTML includes its pictures and recordings."""
    from mmtui.chat.export import write_export

    with _open_history() as stored:
        write_export(stored.conversation(id), file, stored.file, force)
    print(one_line(str(file)))


@history.command(cls=TextCommand)
def rename(
    id: Id, title: Annotated[list[str], typer.Argument(metavar="TITLE", help="New title.")]
) -> None:
    """Rename a conversation."""
    if not (new := " ".join(title).strip()):
        raise UsageError("a title can't be empty", "mmtui history rename ID TITLE")
    with _open_history() as stored:
        stored.rename(stored.conversation(id).id, new)
    print(one_line(new))


@history.command()
def delete(id: Id) -> None:
    """Delete a conversation; it can be restored for a day."""
    with _open_history() as stored:
        full_id = stored.conversation(id).id
        stored.delete(full_id)
    print(f"deleted; `mmtui history restore {full_id[:8]}` restores it")


@history.command()
def restore(id: Id) -> None:
    """Restore a deleted conversation."""
    with _open_history() as stored:
        print(one_line(stored.conversation(stored.restore(id)).title))


@config.command()
def path() -> None:
    """Print the path of the settings file."""
    from mmtui.chat.config import get_path

    print(one_line(str(get_path())))


@config.command("show")
def show_config(as_json: JsonOption = False) -> None:
    """Show the settings, with those of the environment."""
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
    """Edit the settings in $VISUAL or $EDITOR, and check them afterwards."""
    from mmtui.chat.config import TEMPLATE, Config, get_path
    from mmtui.frontends.tui.keymap import find_problems

    file = get_path()
    variable = next((name for name in ("VISUAL", "EDITOR") if os.environ.get(name, "").strip()), "")
    if not variable:
        raise UsageError(
            f"no editor is set; the file is {file}", "set EDITOR, for example EDITOR=nano"
        )
    command = _get_editor(variable)
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(TEMPLATE, "utf-8")
    except OSError as error:
        raise MmtuiError(
            f"the settings can't be written: {file}: {error.strerror}",
            "set XDG_CONFIG_HOME to another folder",
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


def _get_editor(variable: str) -> list[str]:
    """Return the command in $VISUAL or $EDITOR: a program and its options.

    The program's path may have spaces.
    """
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


def _print(summaries: "list[Summary]", as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "id": each.id,
                    "title": each.title,
                    "updated": each.updated.isoformat(),
                    "messages": each.messages,
                    "snippet": each.snippet,
                }
                for each in summaries
            ]
        )
        return
    for each in summaries:
        when = each.updated.astimezone()
        print(one_line(f"{each.id[:8]}  {when:%Y-%m-%d %H:%M}  {each.title}"))
        if each.snippet:
            print(one_line(f"          {each.snippet}"))
    if not summaries:
        print("no conversations found", file=sys.stderr)
