"""Messages that are sent while an answer is written, and wait for its end."""

import pytest
from documents import write_pdf
from user import get_staged_names, open_chat, run_async

from mmtui.chat.protocol import Died
from mmtui.frontends.tui.widgets.chips import Chip
from mmtui.frontends.tui.widgets.message_queue import MessageQueue, QueuedMessage


def waiting(user) -> list[str]:
    return [queued.draft.text for queued in user.chat.query(QueuedMessage)]


def questions(user) -> list[str]:
    return [turns[-1].text for turns in user.model.asked]


@run_async
async def test_messages_wait_in_their_order_and_are_sent_one_after_each_answer(store, cat):
    async with open_chat(store) as user:
        await user.type("one", "enter")
        await user.answer("First", stop=None)
        await user.type("two", "enter")
        await user.paste(str(cat))
        await user.type("three", "enter")
        assert waiting(user) == ["two", "three"] and get_staged_names(user) == []
        assert "2 messages wait" in user.screen and "a cat.png" in user.screen
        assert questions(user) == ["one"] and user.composer.text == ""
        await user.type("typed")
        await user.answer(".")
        assert questions(user) == ["one", "two"] and waiting(user) == ["three"]
        await user.answer("Second.")
        assert questions(user) == ["one", "two", "three"] and waiting(user) == []
        assert len(user.model.asked[-1][-1].pictures) == 1 and user.composer.text == "typed"
        assert not user.chat.query_one(MessageQueue).display
        await user.answer("Third.")
        assert user.texts == ["one", "First.", "two", "Second.", "three", "Third."]


@run_async
async def test_a_waiting_message_is_edited_in_the_prompt_or_removed(store, cat):
    async with open_chat(store) as user:
        await user.type("one", "enter")
        for text in ("two", "three", "four"):
            await user.paste(str(cat))
            await user.type(text, "enter")
        await user.type("typed", "alt+up")
        assert user.composer.text == "four\ntyped" and get_staged_names(user) == ["a cat.png"]
        assert user.composer.has_focus
        await user.pilot.click(".queued--text")
        await user.settle()
        assert user.composer.text == "two\nfour\ntyped" and len(get_staged_names(user)) == 2
        await user.pilot.click(".queued--remove")
        await user.settle()
        assert waiting(user) == [] and user.composer.text == "two\nfour\ntyped"
        await user.press("alt+up")
        assert user.notices[-1].startswith("no message waits")


@run_async
async def test_stopping_holds_the_queue_until_the_user_sends_it(store):
    async with open_chat(store) as user:
        await user.type("one", "enter")
        for text in ("two", "three"):
            await user.type(text, "enter")
        await user.press("escape")
        assert waiting(user) == ["two", "three"] and "Enter sends" in user.screen
        await user.type("instead", "enter")
        await user.answer("Yes.")
        assert questions(user) == ["one", "instead"] and waiting(user) == ["two", "three"]
        await user.press("enter")
        assert questions(user)[2:] == ["two"]
        await user.answer("Two.")
        assert questions(user)[2:] == ["two", "three"]


@run_async
async def test_keys_on_a_waiting_message_send_edit_and_remove(store):
    async with open_chat(store) as user:
        await user.type("one", "enter")
        for text in ("two", "three", "four"):
            await user.type(text, "enter")
        user.chat.query(QueuedMessage).first().focus()
        await user.press("enter")
        assert "an answer is being written" in user.notices[-1]
        await user.press("delete")
        user.chat.query(QueuedMessage).last().focus()
        await user.press("backspace")
        assert user.composer.text == "four" and waiting(user) == ["three"]
        await user.press("escape")
        user.chat.query(QueuedMessage).first().focus()
        await user.press("enter")
        assert questions(user) == ["one", "three"] and waiting(user) == []


@run_async
async def test_commands_send_and_clear_the_queue(store):
    async with open_chat(store) as user:
        await user.type("one", "enter")
        await user.type("two", "enter")
        await user.press("escape")
        await user.type("/queue send", "enter")
        assert questions(user) == ["one", "two"]
        await user.type("three", "enter")
        await user.type("/queue clear", "enter")
        assert waiting(user) == []
        await user.type("/queue send", "enter")
        assert user.notices[-1].startswith("no message waits")


@run_async
async def test_a_failure_holds_the_queue(store):
    async with open_chat(store) as user:
        await user.type("one", "enter")
        await user.type("two", "enter")
        await user.receive_event(Died("the model was killed", None))
        assert waiting(user) == ["two"] and questions(user) == ["one"]
        assert "1 message waits: Enter sends" in user.screen


@run_async
async def test_the_queue_becomes_the_draft_when_the_app_ends_or_opens_another_chat(store, cat):
    async with open_chat(store) as user:
        await user.type("one", "enter")
        await user.paste(str(cat))
        await user.type("two", "enter")
        await user.type("typed", "ctrl+q")
    async with open_chat(store, resume="latest") as user:
        assert user.composer.text == "two\ntyped" and get_staged_names(user) == ["a cat.png"]
        assert waiting(user) == []
        await user.press("enter")
        await user.type("three", "enter")
        await user.press("ctrl+n")
        assert waiting(user) == [] and user.composer.text == ""
        await user.type("/resume", "enter")
        await user.press("down", "enter")
        assert user.composer.text == "three"


@run_async
async def test_a_document_in_the_queue_is_fitted_when_it_is_sent(store, tmp_path):
    write_pdf(tmp_path / "report.pdf", ["The volcano erupted."])
    async with open_chat(store) as user:
        await user.load_model()
        await user.type("one", "enter")
        await user.type(f"/file {tmp_path}/report.pdf", "enter")
        await user.type("two", "enter")
        assert waiting(user) == ["two"]
        await user.answer("One.")
        for worker in [worker for worker in user.app.workers if worker.group == "staging"]:
            await worker.wait()
        await user.settle()
        assert "The volcano erupted." in user.model.asked[-1][-1].text and waiting(user) == []


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (20, 7)])
@run_async
async def test_the_prompt_stays_visible_under_a_long_queue(store, size):
    async with open_chat(store, size=size) as user:
        await user.type("one", "enter")
        for number in range(8):
            await user.type(f"message {number}", "enter")
        assert user.composer.region.bottom <= size[1] and user.composer.size.height >= 1
        assert not user.chat.query(Chip)
