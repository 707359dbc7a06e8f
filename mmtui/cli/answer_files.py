"""`mmtui ask --save-media`: pictures and sounds that a server's model returns."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mmtui.chat.attachments import LoadedFile
from mmtui.chat.reply_files import save_bytes
from mmtui.cli.options import print_note
from mmtui.endpoint.address import Endpoint
from mmtui.errors import InputError, MmtuiError, UsageError
from mmtui.paths import resolve

SaveMediaOption = Annotated[
    Path | None,
    typer.Option(
        "--save-media",
        parser=resolve,
        metavar="FOLDER",
        help="Folder for the pictures and the sound that a server's model returns; it is created,"
        " and no file in it is replaced. The model is asked for them if the server reports that it"
        " makes some.",
    ),
]
_NOUNS = {"image": "a picture", "audio": "a sound"}


def check_save_media(folder: Path | None, endpoint: Endpoint | None) -> None:
    """Check the folder of `--save-media` before an answer is generated.

    Raises:
        UsageError: There is no server.
        InputError: It is a file, or can't be written to.
    """
    if folder is None:
        return
    if endpoint is None:
        raise UsageError("--save-media needs a server", "models on this machine return only text")
    existing = next(
        parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent)
    )
    if not existing.is_dir():
        raise InputError(f"{existing} is not a folder", "choose another name")
    if not os.access(existing, os.W_OK):
        raise InputError(f"{existing} can't be written to", "choose another folder")


def keep_files(
    files: Sequence[LoadedFile], folder: Path | None
) -> tuple[list[dict[str, object]], MmtuiError | None]:
    """Save the files of an answer, and name them on standard error.

    Args:
        files: The pictures and sounds.
        folder: Where they are saved; None only says what there is.

    Returns:
        An entry of `ask --json` for each, whose path is None if the file is not saved, and the
        error of the first one that can't be saved.
    """
    entries: list[dict[str, object]] = []
    problem: MmtuiError | None = None
    for file in files:
        what = f"{_NOUNS[file.kind]}, {file.detail}"
        path: Path | None = None
        if folder is None:
            print_note(f"the answer has {what}; it is not kept; ask again with --save-media FOLDER")
        else:
            try:
                path = save_bytes(file.data, file.name, folder)
                print_note(f"saved as {path}: {what}")
            except MmtuiError as error:
                problem = problem or error
        entries.append(
            {
                "kind": file.kind,
                "path": None if path is None else str(path),
                "sha256": hashlib.sha256(file.data).hexdigest(),
                "bytes": len(file.data),
                "detail": file.detail,
            }
        )
    return entries, problem
