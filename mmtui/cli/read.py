"""`mmtui read`: print the text that is written in pictures."""

from typing import TYPE_CHECKING, Annotated

import typer

from mmtui.cli.files import check_stdin, open_pictures
from mmtui.cli.options import JsonOption, print_note
from mmtui.errors import InputError, NoTextError
from mmtui.media import Image
from mmtui.progress import print_json, print_notes, reporting
from mmtui.text import one_line, printable

if TYPE_CHECKING:
    from mmtui.pipeline.reading.picture_text import PictureText


def read(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Picture to read; - reads it from stdin. The pages of a PDF are read as pictures:"
            " scan.pdf#2 is the second.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Print the text that is written in pictures.

    The text is recognized on this machine, without a language model. If none of the pictures
    contains text, the exit code is 4.
    """
    check_stdin(files, [])
    documents: list[dict[str, object]] = []
    errors: list[InputError] = []
    for name in files:
        try:
            for image, found in _read_file(name):
                documents.append(_to_document(image, found))
                if not as_json:
                    _print_text(image, found, has_title=len(files) > 1 or len(documents) > 1)
        except InputError as error:
            errors.append(error)
            if len(files) > 1:
                print_note(f"error: {error}")
    if len(files) == 1 and errors:
        raise errors[0]
    if documents and not any(document["text"] for document in documents):
        raise NoTextError(files[0] if len(files) == 1 else "")
    if as_json:
        print_json({"images": documents})
    if errors:
        raise InputError(f"{len(errors)} of {len(files)} files can't be read")


def _read_file(name: str) -> "list[tuple[Image, PictureText]]":
    """Read a picture, or each page of a PDF."""
    from mmtui.pipeline.reading.picture_text import read_text

    with reporting() as report:
        images = list(open_pictures([name], report))
        found = []
        for done, image in enumerate(images):
            print_notes(image.notes)
            if len(images) > 1:
                report("reading text", done, len(images))
            found.append((image, read_text(image.picture)))
    return found


def _print_text(image: Image, found: "PictureText", *, has_title: bool) -> None:
    """Print the text of one picture, under its name if there are several."""
    if not found.text:
        if has_title:
            print_note(f"note: {image.name}: no text found")
        return
    if has_title:
        print(one_line(f"==> {image.name} <=="))
    print(printable(found.text), flush=True)


def _to_document(image: Image, found: "PictureText") -> dict[str, object]:
    return {
        "path": image.name,
        "sha256": image.picture.sha256,
        "size": list(found.size),
        "text": found.text,
        "lines": [
            {"text": line.text, "confidence": round(line.confidence, 4), "box": list(line.box)}
            for line in found.lines
        ],
    }
