"""`mmtui ask --file`: documents as a part of the question."""

import pytest
from command_line import assert_error
from documents import make_docx, make_pdf, write_pdf
from scripted_server import ScriptedServer, reply


@pytest.fixture
def report(tmp_path):
    return write_pdf(tmp_path / "report.pdf", ["Total: 250 euros", "Due on 3 May"])


def ask_server(mmtui, *arguments, stdin=b""):
    """Return the text of the question that a server gets, and the run."""
    with ScriptedServer(reply("Yes.")) as server:
        run = mmtui("ask", "--endpoint", server.url, *arguments, stdin=stdin)
        assert run.code == 0, run.err
        return server.completions[0].json["messages"][-1]["content"], run


def test_the_text_of_documents_comes_before_the_question(mmtui, report, tmp_path):
    notes = tmp_path / "notes.md"
    notes.write_text("# Notes")
    text, run = ask_server(mmtui, "--file", report, "--file", notes, "How much?")
    assert text == (
        '<document name="report.pdf">\n[page 1]\nTotal: 250 euros\n[page 2]\nDue on 3 May\n'
        '</document>\n<document name="notes.md">\n# Notes\n</document>\nHow much?'
    )
    assert run.err == ""


def test_pages_are_chosen_by_an_option_or_after_the_name(mmtui, report):
    for arguments in (("--file", report, "--pages", "2"), ("--file", f"{report}#2")):
        text, _ = ask_server(mmtui, *arguments, "When?")
        assert "Due" in text and "Total" not in text


def test_a_document_is_read_from_stdin_and_needs_no_question(mmtui):
    text, _ = ask_server(mmtui, "--file", "-", stdin=make_docx(["Dear Anna"]))
    assert text == '<document name="stdin">\nDear Anna\n</document>\nSummarize this document.'


def test_the_question_is_still_read_from_stdin(mmtui, report):
    text, _ = ask_server(mmtui, "--file", report, stdin=b"When is it due?")
    assert text.endswith("</document>\nWhen is it due?")


def test_json_describes_the_documents(mmtui, report):
    _, run = ask_server(mmtui, "--file", f"{report}#2", "--json", "When?")
    (document,) = run.json["documents"]
    assert (document["path"], document["pages"]) == (str(report), 2)
    assert document["tokens"] > 5 and len(document["sha256"]) == 64 and document["note"] is None


def test_a_document_that_is_too_long_is_fitted_to_the_context(mmtui, small_model, tmp_path):
    pages = ["The garden is green.\n" * 60] * 9 + ["The vault code is 7412."]
    book = write_pdf(tmp_path / "book.pdf", pages)
    options = ("--model", small_model, "--max-tokens", 5, "--file", book)
    run = mmtui("ask", *options, "--json", "Which code has the vault?")
    assert run.code == 0, run.err
    assert "the parts that match the question are used (page 10 of 10)" in run.err
    assert run.json["documents"][0]["note"] in run.err
    assert_error(mmtui("ask", *options, "--fit", "error", "Why?"), 2, "book.pdf: too long")
    run = mmtui("ask", *options, "--fit", "beginning", "Why?")
    assert "the beginning is used" in run.err and run.code == 0


def test_pages_of_a_pdf_can_be_pictures(mmtui, small_model, report):
    options = ("ask", "--model", small_model, "--max-tokens", 5, "--json")
    run = mmtui(*options, "--image", report, "What?")
    assert [image["path"] for image in run.json["images"]] == [f"{report}#1", f"{report}#2"]
    run = mmtui(*options, "--image", f"{report}#2", "What?")
    assert [image["path"] for image in run.json["images"]] == [f"{report}#2"]


def test_wrong_documents_are_errors_of_one_line(mmtui, report, tmp_path):
    binary = tmp_path / "data.txt"
    binary.write_bytes(bytes(range(256)) * 9)
    cut = tmp_path / "cut.pdf"
    cut.write_bytes(make_pdf(["text"])[:200])
    for file, error in (
        (tmp_path / "missing.pdf", "no such file"),
        (binary, "is not text"),
        (cut, "damaged or cut off"),
        (tmp_path, "this is a folder"),
        (f"{report}#7", "no page 7"),
    ):
        assert_error(mmtui("ask", "--file", file, "Why?"), 4, error)
    for arguments, error in (
        (("--file", report, "--pages", "x"), "are not pages"),
        (("--file", report, "--file", report, "--pages", "1"), "needs one --file"),
        (("--pages", "1"), "needs one --file"),
        (("--file", f"{report}#1", "--pages", "1"), "chosen twice"),
        (("--file", "-", "--file", "-"), "only once"),
        (("--file", "-", "--image", "-"), "the same stdin"),
    ):
        assert_error(mmtui("ask", *arguments, "Why?"), 2, error)
