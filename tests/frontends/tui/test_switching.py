"""Another conversation is opened while a message or a file is being prepared."""

import threading
from pathlib import Path

import pytest
from textual.events import Paste
from user import User, get_staged_names, open_chat, run_async

from mmtui.chat import attachments
from mmtui.chat.documents import Reading
from mmtui.chat.protocol import Transcribed
from mmtui.errors import InputError


async def wait_until(user: User, is_true) -> None:
    """Let the app work until a condition holds, also while a file is being read."""
    while not is_true():
        await user.pilot.pause()


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_message_whose_file_is_being_read_stays_with_its_conversation(
    store, cat, monkeypatch, is_broken
):
    reading, read = threading.Event(), attachments.load

    def load_slowly(path: Path, progress: Reading) -> attachments.LoadedFile:
        reading.wait()
        if is_broken:
            raise InputError("the file is broken")
        return read(path, progress)

    monkeypatch.setattr(attachments, "load", load_slowly)

    @run_async
    async def chat():
        question = f"what is in {cat}?"
        async with open_chat(store) as user:
            await user.type("One", "enter")
            await user.answer("1.")
            user.composer.replace_all(question)
            try:
                await user.pilot.press("enter")
                await wait_until(user, lambda: "reading a cat.png" in user.screen)
                await user.pilot.press("ctrl+n")
                await wait_until(user, lambda: not user.texts)
            finally:
                reading.set()
            await user.settle()
            assert len(user.model.asked) == 1 and user.texts == [] and user.notices == []
            assert user.composer.text == "" and get_staged_names(user) == []
            await user.press("f3", "down", "enter")
            assert user.texts == ["One", "1."] and user.composer.text == question

    chat()


@run_async
async def test_a_document_that_waits_for_the_model_stays_with_its_conversation(store, tmp_path):
    notes = tmp_path / "notes.md"
    notes.write_text("The trip starts on Friday.")
    async with open_chat(store) as user:
        await user.paste(str(notes))
        await user.type("When?", "enter")
        assert user.composer.text == "" and not user.model.asked
        await user.press("ctrl+n")
        await user.load_model()
        await wait_until(user, lambda: not any(w.group == "staging" for w in user.app.workers))
        assert not user.model.asked and user.texts == []
        assert user.composer.text == "" and get_staged_names(user) == []


@run_async
async def test_transcripts_of_files_are_not_put_into_another_conversation(store, memo):
    async with open_chat(store) as user:
        await user.type("One", "enter")
        await user.answer("1.")
        await user.paste(str(memo))
        user.composer.replace_all(f"what is said in {memo}?")
        await user.press("enter")
        assert len(user.model.clips) == 2
        await user.press("ctrl+n")
        for number in (user.model.number - 1, user.model.number):
            await user.receive_event(Transcribed(number, "a cat"))
        assert len(user.model.asked) == 1 and user.texts == []
        assert user.composer.text == "" and get_staged_names(user) == []


@pytest.mark.parametrize("kind", ["microphone", "file"])
def test_a_recording_waits_in_the_conversation_in_which_it_was_made(store, memo, kind):
    @run_async
    async def chat():
        async with open_chat(store) as user:
            await user.type("One", "enter")
            await user.answer("1.")
            await user.type("Please:")
            if kind == "file":
                await user.paste(str(memo))
            else:
                await user.press("f4", "f4")
            await user.press("ctrl+n")
            await user.type("Two")
            await user.receive_event(Transcribed(user.model.number, "a cat"))
            await user.settle()
            assert user.composer.text == "Two" and get_staged_names(user) == []
            assert user.notices == ["the recording waits in the conversation One"]
            await user.press("f3", "down", "enter")
            assert user.composer.text == "Please:\na cat" and len(get_staged_names(user)) == 1

    chat()


@run_async
async def test_a_recording_without_words_is_not_put_into_another_conversation(store):
    async with open_chat(store) as user:
        await user.type("One", "enter")
        await user.answer("1.")
        await user.press("f4", "f4", "ctrl+n")
        await user.receive_event(Transcribed(user.model.number, ""))
        assert "no speech" in user.notices[-1]
        await user.press("f3", "down", "enter")
        assert user.composer.text == "" and get_staged_names(user) == []


@run_async
async def test_a_recording_returns_to_its_conversation_that_is_open_again(store):
    async with open_chat(store) as user:
        await user.type("One", "enter")
        await user.answer("1.")
        await user.press("f4", "f4", "ctrl+n")
        await user.press("f3", "down", "enter")
        await user.receive_event(Transcribed(user.model.number, "a cat"))
        await user.settle()
        assert user.composer.text == "a cat" and len(get_staged_names(user)) == 1


@run_async
async def test_escape_stops_only_the_files_that_are_being_read(store, cat, tmp_path, monkeypatch):
    reading, read = threading.Event(), attachments.load
    other = tmp_path / "notes.md"
    other.write_text("The notes.")

    def load_slowly(path: Path, progress: Reading) -> attachments.LoadedFile:
        if path == cat:
            reading.wait()
        return read(path, progress)

    monkeypatch.setattr(attachments, "load", load_slowly)
    async with open_chat(store) as user:
        try:
            user.app.post_message(Paste(str(cat)))
            await wait_until(user, lambda: "reading a cat.png" in user.screen)
            await user.pilot.press("escape")
            user.app.post_message(Paste(str(other)))
            await wait_until(user, lambda: get_staged_names(user) == ["notes.md"])
        finally:
            reading.set()
        await user.settle()
        assert get_staged_names(user) == ["notes.md"]
