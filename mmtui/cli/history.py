"""`mmtui history`: list, search, export and delete conversations."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmtui.cli.arguments import TextCommand
from mmtui.cli.options import JsonOption
from mmtui.errors import UsageError
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

Id = Annotated[
    str, typer.Argument(metavar="ID", help="Id of a conversation; its beginning is enough.")
]
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
def search(
    words: Annotated[
        list[str], typer.Argument(metavar="WORD", help="Words or parts of words to find.")
    ],
    limit: Limit = 20,
    as_json: JsonOption = False,
) -> None:
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
