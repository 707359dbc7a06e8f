"""Text of documents: formats, pages, hostile files."""

import io
import os
from pathlib import Path

import pytest
from documents import make_docx, make_encrypted_pdf, make_pdf
from PIL import Image

from mmtui.errors import InputError, UsageError
from mmtui.pipeline.documents import conversion, document
from mmtui.pipeline.documents.document import DocumentText
from mmtui.pipeline.documents.html_tree import HtmlTree
from mmtui.pipeline.documents.page_ranges import parse_ranges
from mmtui.pipeline.documents.reading import draw_pages, read_document


@pytest.fixture
def read(tmp_path):
    def write_and_read(name: str, data: bytes, pages: str = "", **options) -> DocumentText:
        (tmp_path / name).write_bytes(data)
        ranges = parse_ranges(pages) if pages else None
        return read_document(tmp_path / name, ranges, **options)

    return write_and_read


def test_the_pages_of_a_pdf_are_read_and_those_without_text_are_named(read):
    found = read("a.pdf", make_pdf(["Hello (world)\nsecond line", "", "Third"]))
    assert found.pages == ("Hello (world)\nsecond line", "", "Third")
    (note,) = found.notes
    assert note.endswith("a.pdf: no text on page 2")
    assert DocumentText.parse("a.pdf", found.dump()).pages == found.pages


def test_chosen_pages_keep_their_numbers(read):
    pages = [f"text {number}" for number in range(1, 6)]
    assert read("a.pdf", make_pdf(pages), "2,4-").pages == ("", "text 2", "", "text 4", "text 5")
    with pytest.raises(InputError, match="has 5 pages, so there is no page 9"):
        read("a.pdf", make_pdf(pages), "2-9")
    with pytest.raises(UsageError, match="no pages to choose"):
        read("a.txt", b"text", "2")


def test_pages_without_text_are_recognized_from_their_pictures(read):
    def recognize(png: bytes) -> str:
        image = Image.open(io.BytesIO(png))
        assert max(image.size) <= 2200
        return "scanned\x1b[31m"

    found = read("scan.pdf", make_pdf(["", "typed"]), recognize=recognize)
    assert found.pages == ("scanned[31m", "typed")
    assert found.notes[0].endswith("read from pictures: page 1")
    huge = make_pdf([""], size=(144_000, 14_400))
    assert read("huge.pdf", huge, recognize=recognize).pages == ("scanned[31m",)


def test_progress_is_reported_for_each_page(read):
    steps = []
    read("a.pdf", make_pdf(["text"] * 400), report=lambda *step: steps.append(step))
    assert steps[0] == ("reading a.pdf", 1, 400) and steps[-1] == ("reading a.pdf", 400, 400)


def test_a_cancelled_reading_ends(read):
    with pytest.raises(conversion.ConversionCancelledError):
        read("a.pdf", make_pdf(["text"] * 400), is_cancelled=lambda: True)


def test_a_word_document_becomes_markdown(read):
    table = "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>cell</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    (page,) = read("a.docx", make_docx(["Dear Anna,", "see you"], table)).pages
    assert page.startswith("Dear Anna,\n\nsee you\n") and "| cell |" in page


def test_an_html_page_becomes_markdown_without_scripts(read):
    page = b"<html><style>p{}</style><script>alert(1)</script><h1>Head</h1><p>Some <b>text</b>"
    assert read("a.html", page).pages == ("# Head\n\nSome **text**",)
    assert read("renamed.txt", b"\n <!DOCTYPE html><p>text").pages == ("text",)


def test_end_tags_that_html_lets_authors_leave_out_are_implied(read):
    page = "<html><body><p>One<p>Two <b>bold</b><ul><li>a<ul><li>inner</ul><li>b</ul><h2>Head</h2>"
    table = "<table><tr><th>x<th>y<tr><td><p>1<p>2<td>3</table><dl><dt>t<dd>d<dt>u</dl>"
    (found,) = read("a.html", f"{page}{table}".encode()).pages
    assert found.startswith("One\n\nTwo **bold**\n\n* a\n  + inner\n* b\n\n## Head\n\n")
    assert "| x | y |\n| --- | --- |\n| 1  2 | 3 |" in found
    others = "<p>a<menu><li>b</menu><p>c<dialog>d</dialog><ruby>e<rp>(<rt>f<rp>)</ruby>"
    tree = HtmlTree(f"{others}<select><optgroup><option>g<optgroup><option>h</select>")
    assert not tree.select("p menu, p dialog, rt rp, rp rt, optgroup optgroup, option optgroup")
    many = "<html><ul>" + "<li>item\n" * 5000 + "</ul>" + "<p>text\n" * 5000
    assert read("b.html", many.encode()).pages[0].count("item\n") == 5000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_text_is_decoded_and_loses_control_characters(read, encoding):
    found = read("a.csv", "größe;\x1b[31mred\r\n\n\n\n1;2  \n".encode(encoding))
    assert found.pages == ("größe;[31mred\n\n1;2",)


@pytest.mark.parametrize(
    ("name", "data", "error"),
    [
        ("a.pdf", make_encrypted_pdf(), "protected by a password"),
        ("a.pdf", make_pdf(["text"] * 50)[:3000], "damaged or cut off"),
        ("a.pdf", b"%PDF-1.7 nonsense", "damaged or cut off"),
        ("a.pdf", make_pdf(["text"] * 2100), "more than 2,000, the limit"),
        ("a.pdf", make_pdf([""]), "contains no text"),
        ("a.docx", make_docx(["text"])[:300], "damaged or cut off"),
        ("a.docx", make_docx([" " * 60_000_000]), "more than 50 MB of text"),
        ("a.docx", make_docx([], "<w:tbl><w:tr><w:tc>" * 3000), "damaged or cut off"),
        (
            "a.docx",
            make_docx([], "<w:tbl><w:tr><w:tc>" * 3000 + "</w:tc></w:tr></w:tbl>" * 3000),
            "nested too deeply",
        ),
        ("a.html", b"<html>" + b"<div>" * 20_000 + b"text", "nested too deeply"),
        ("a.txt", bytes(range(256)) * 100, "is not text"),
        ("a.txt", b"\x89PNG\r\n\x1a\n" + bytes(100), "is a picture, not text"),
        ("a.txt", b" \n\t\n", "contains no text"),
        ("a.txt", b"", "the file is empty"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old Office program"),
        ("a.rtf", b"{\\rtf1 text}", "Rich Text Format"),
        ("a.zip", b"PK\x03\x04 nonsense", "damaged or cut off"),
        ("a.zip", b"PK\x03\x04" + b"PK\x01\x02" * 100_001, "more than 100,000 files, the limit"),
    ],
)
def test_a_hostile_file_is_an_error_of_one_line(read, name, data, error):
    with pytest.raises(InputError, match=error) as raised:
        read(name, data)
    assert name in str(raised.value) and "\n" not in str(raised.value)


def test_entities_of_a_word_document_are_not_expanded(read):
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">'
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    data = make_docx(["text"])
    stream = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(stream, "w") as target:
        for member in source.namelist():
            content = source.read(member).decode()
            if member == "word/document.xml":
                content = bomb + "]>" + content.replace("text", "&i;")
            target.writestr(member, content)
    with pytest.raises(InputError, match="damaged or cut off"):
        read("a.docx", stream.getvalue())


@pytest.mark.parametrize(
    ("member", "kind"),
    [("xl/workbook.xml", "an Excel workbook"), ("ppt/presentation.xml", "a PowerPoint"),
     ("META-INF/container.xml", "an EPUB"), ("content.xml", "an OpenDocument"),
     ("a.txt", "a zip archive")],
)  # fmt: skip
def test_other_archives_are_named(read, member, kind):
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(member, "")
    with pytest.raises(InputError, match=kind):
        read("a.bin", stream.getvalue())


def test_a_pipe_and_a_folder_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.pdf")
    for path, error in ((tmp_path / "pipe.pdf", "this is a pipe"), (tmp_path, "this is a folder")):
        with pytest.raises(InputError, match=error):
            read_document(path)


def test_too_large_files_are_refused(read, monkeypatch):
    monkeypatch.setattr("mmtui.pipeline.documents.reading.MAX_CHARACTERS", 1000)
    for name, data in (
        ("a.txt", b"text\n" * 300),
        ("longer.txt", b"text\n" * 1000),
        ("a.pdf", make_pdf(["text " * 20] * 20)),
    ):
        with pytest.raises(InputError, match="million characters, the limit"):
            read(name, data)
    with pytest.raises(InputError, match="is not text"):
        read("a.bin", bytes(range(256)) * 100)
    monkeypatch.setattr("mmtui.pipeline.documents.reading.MAX_BYTES", 1000)
    with pytest.raises(InputError, match="MB, the limit of a document"):
        read("a.txt", b"text\n" * 300)
    assert document.MAX_BYTES == 100_000_000


def test_a_converter_that_crashes_or_hangs_is_an_error(read, monkeypatch):
    monkeypatch.setattr(conversion.sys, "executable", "/bin/false")
    with pytest.raises(InputError, match="the converter crashed"):
        read("a.pdf", make_pdf(["text"]))
    monkeypatch.undo()
    monkeypatch.setattr(conversion, "TIMEOUT_S", 0.0)
    with pytest.raises(InputError, match="takes too long"):
        read("a.pdf", make_pdf(["text"]))


def test_pages_are_drawn(tmp_path: Path):
    path = tmp_path / "a.pdf"
    path.write_bytes(make_pdf(["one", "two", "three"]))
    (number, png), *others = draw_pages(path, parse_ranges("2"))
    assert (number, others) == (2, [])
    assert Image.open(io.BytesIO(png)).size == (1275, 1651)
    path.write_bytes(make_pdf(["text"] * 30))
    with pytest.raises(InputError, match="30 pages are more than 20"):
        draw_pages(path)
    path.write_bytes(b"text")
    with pytest.raises(InputError, match="not a PDF"):
        draw_pages(path)
