"""Messages that mention files or web addresses."""

import threading
from pathlib import Path

from textual import events
from user import get_staged_names, open_chat, run_async

from mmtui.chat import attachments
from mmtui.chat.documents import Reading
from mmtui.chat.history.history import History
from mmtui.chat.protocol import Transcribed
from mmtui.pipeline.documents.conversion import ConversionCancelledError


def asked(user) -> tuple[str, int]:
    """The last question: its text, and how many pictures went with it."""
    last = user.model.asked[-1][-1]
    return last.text, len(last.pictures)


@run_async
async def test_a_picture_that_a_message_mentions_is_attached(tmp_path, cat):
    async with open_chat(tmp_path / "store") as user:
        question = f"what is in {cat}?"
        user.composer.replace_all(question)
        await user.press("enter")
        assert asked(user) == (question, 1) and user.texts[0] == question
        assert user.composer.text == "" and get_staged_names(user) == [] and user.notices == []


@run_async
async def test_the_transcript_of_a_mentioned_recording_precedes_the_message(tmp_path, cat, memo):
    async with open_chat(tmp_path / "store") as user:
        user.composer.replace_all(f"Is {memo} about {cat}?")
        await user.press("enter")
        await user.type("more")
        assert not user.model.asked
        await user.receive_event(Transcribed(user.model.number, "a cat"))
        assert asked(user) == (f"a cat\nIs {memo} about {cat}?", 1)
        assert user.composer.text == "more"


@run_async
async def test_a_message_whose_files_can_t_be_read_returns_to_the_prompt(tmp_path, memo):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    async with open_chat(tmp_path / "store") as user:
        for question in (f"what is in {broken}?", f"what is said in {memo}?"):
            user.composer.replace_all(question)
            await user.press("enter")
            if user.model.clips:
                await user.receive_event(Transcribed(user.model.number, ""))
            assert user.composer.text == question and not user.model.asked
        neither, silent = user.notices
        assert "neither a picture nor a recording" in neither
        assert "my memo.wav: no speech found" in silent


@run_async
async def test_a_path_without_text_is_attached_and_nothing_is_sent(tmp_path, cat):
    async with open_chat(tmp_path / "store") as user:
        user.composer.replace_all(str(cat))
        await user.press("enter")
        assert (
            get_staged_names(user) == ["a cat.png"]
            and user.composer.text == ""
            and not user.model.asked
        )


@run_async
async def test_a_web_address_is_refused_with_a_command_that_downloads_it(tmp_path):
    address = "https://example.org/cat.png"
    async with open_chat(tmp_path / "store") as user:
        await user.paste(address)
        assert user.composer.text == address
        assert f"curl -s {address} | mmtui ask --image -" in user.notices[-1]
        await user.press("enter")
        assert user.composer.text == address and not user.model.asked
        user.composer.replace_all(f"/image {address}")
        await user.press("enter")
        assert "on the web" in user.notices[-1]


@run_async
async def test_a_message_that_waits_for_its_file_is_saved_as_draft(tmp_path, cat, monkeypatch):
    """A large picture on a slow disk, and a person who quits meanwhile."""
    reading, read = threading.Event(), attachments.load

    def load_slowly(path: Path, progress: Reading) -> attachments.LoadedFile:
        reading.wait()
        return read(path, progress)

    monkeypatch.setattr(attachments, "load", load_slowly)
    async with open_chat(tmp_path / "store") as user:
        user.composer.replace_all(f"what is in {cat}?")
        try:
            await user.pilot.press("enter")
            await user.app.input_queue.wait_until_empty()
            assert user.composer.text == "" and not user.model.asked
            await user.pilot.pause()
            assert "reading a cat.png" in user.screen
            await user.chat.save_draft()
            await user.app.session.store.wait_until_written()
            history = History(tmp_path / "store")
            assert history.draft(history.latest()).text == f"what is in {cat}?"
        finally:
            reading.set()
        await user.settle()
        assert asked(user) == (f"what is in {cat}?", 1) and "reading" not in user.screen


@run_async
async def test_the_status_bar_shows_which_file_is_being_read(tmp_path, cat, monkeypatch):
    reading, read = threading.Event(), attachments.load

    def load_slowly(path: Path, progress: Reading) -> attachments.LoadedFile:
        reading.wait()
        return read(path, progress)

    monkeypatch.setattr(attachments, "load", load_slowly)
    async with open_chat(tmp_path / "store") as user:
        user.composer.replace_all(f"/image {cat}")
        try:
            await user.pilot.press("enter")
            await user.app.input_queue.wait_until_empty()
            await user.pilot.pause()
            assert "reading a cat.png" in user.screen
        finally:
            reading.set()
        await user.settle()
        assert get_staged_names(user) == ["a cat.png"] and "reading" not in user.screen


@run_async
async def test_reading_shows_its_progress_and_escape_returns_the_message(
    tmp_path, cat, monkeypatch
):
    has_reported = threading.Event()

    def read(path: Path, reading: Reading) -> None:
        reading.report(f"reading {path.name}", 1, 4)
        has_reported.set()
        while not reading.is_cancelled():
            has_reported.wait()
        raise ConversionCancelledError

    monkeypatch.setattr(attachments, "load", read)
    async with open_chat(tmp_path / "store") as user:
        user.composer.replace_all(f"what is in {cat}?")
        user.app.post_message(events.Key("enter", "\r"))
        while "reading a cat.png 25 %" not in user.screen:
            await user.pilot.pause()
        await user.press("escape")
        assert user.composer.text == f"what is in {cat}?" and not user.model.asked
        assert "25 %" not in user.screen and user.notices == []
