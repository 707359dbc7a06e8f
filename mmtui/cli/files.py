"""The pictures and documents of `mmtui ask`, from files or stdin."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

from mmtui.cli.question import open_pipe
from mmtui.errors import UsageError
from mmtui.media import Document, Image
from mmtui.paths import resolve
from mmtui.pipeline.documents.page_ranges import encode_ranges, parse_ranges, split_ranges
from mmtui.pipeline.documents.reading import draw_pages, is_pdf

if TYPE_CHECKING:
    from mmtui.pipeline.assets.fetch import Report


def check_stdin(pictures: Sequence[str], documents: Sequence[str]) -> None:
    """Raise UsageError if stdin would be read for more than one file."""
    for option, names in (("image", pictures), ("file", documents)):
        if names.count("-") > 1:
            raise UsageError(f"--{option} - can be given only once: there is one stdin")
    if "-" in pictures and "-" in documents:
        raise UsageError("--image - and --file - read the same stdin", "name one of the files")


def open_pictures(names: Sequence[str], report: "Report") -> Iterator[Image]:
    """Yield the pictures of `--image`; the pages of a PDF are pictures, too.

    Args:
        names: The paths, with pages as in "scan.pdf#2"; "-" is stdin.
        report: Called with (step, done, total) for each page of a PDF.

    Raises:
        InputError: A file can't be read.
        UsageError: There is no picture on stdin, or pages are chosen wrongly.
    """
    for name in names:
        if name == "-":
            yield Image(_open_stdin("image", "a picture", "photo.jpg"), name)
            continue
        path_name, ranges = split_ranges(name)
        path = resolve(path_name)
        if not is_pdf(path):
            yield Image(resolve(name), name)
            continue
        for number, picture in draw_pages(path, ranges, report=report):
            yield Image(picture, f"{path}#{number}")


def open_documents(names: Sequence[str], pages: str | None, report: "Report") -> list[Document]:
    """Read the documents of `--file`.

    Args:
        names: The paths, with pages as in "report.pdf#3-7"; "-" is stdin.
        pages: The pages of the only document; None is all.
        report: Called with (step, done, total) for each page.

    Raises:
        InputError: A file can't be read.
        UsageError: There is no document on stdin, or pages are chosen wrongly.
    """
    if pages is not None and len(names) != 1:
        hint = "choose them for each: --file report.pdf#3-7"
        raise UsageError("--pages needs one --file", hint)
    documents = [_open_document(name, pages) for name in names]
    for document in documents:
        document.read(report)
    return documents


def _open_document(name: str, pages: str | None) -> Document:
    if name == "-":
        return Document(_open_stdin("file", "a document", "report.pdf"), "stdin", pages)
    path, ranges = split_ranges(name)
    if pages is not None and ranges is not None:
        raise UsageError(f"pages are chosen twice: {name} and --pages", "leave one of them out")
    if pages is not None:
        ranges = parse_ranges(pages)
    return Document(resolve(path), pages=encode_ranges(ranges))


def _open_stdin(option: str, what: str, example: str) -> BinaryIO:
    if (pipe := open_pipe()) is None:
        raise UsageError(
            f"--{option} - reads {what} from stdin", f"mmtui ask --{option} - < {example}"
        )
    return pipe
