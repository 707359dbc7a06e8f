"""The prompt: history, wrapped rows and dropped files."""

import pytest
from textual.events import Key
from user import User, get_staged_names, open_chat, run_async

LONG = "word " * 40  # several rows


async def send(user: User, *texts: str) -> None:
    for text in texts:
        user.composer.replace_all(text)
        await user.press("enter")
        await user.answer("ok")


@run_async
async def test_edits_of_earlier_messages_are_kept(tmp_path):
    async with open_chat(tmp_path) as user:
        await send(user, "one", "two")
        await user.type("draft", "up")
        await user.type("!", "up")
        await user.type("?", "down")
        assert user.composer.text == "two!"
        await user.press("down")
        assert user.composer.text == "draft"
        assert user.composer.unsent == "one?\ntwo!\ndraft"
        await user.press("up", "up")
        assert user.composer.text == "one?"


@run_async
async def test_sending_an_edited_message_keeps_the_draft_and_other_edits(tmp_path):
    async with open_chat(tmp_path) as user:
        await send(user, "one", "two")
        await user.type("draft", "up")
        await user.type("!", "up")
        await user.type("?", "enter")
        assert user.texts[-2] == "one?" and user.composer.text == "draft"
        for text in ("one?", "two!", "one"):
            await user.press("up")
            assert user.composer.text == text
        assert user.composer.unsent == "two!\ndraft"


@run_async
async def test_a_message_that_can_t_be_sent_keeps_its_edit(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.type("one", "enter")
        await user.type("draft", "up", "home")
        await user.type("/", "enter")
        assert "no command /one" in user.notices[-1] and user.composer.text == "/one"
        await user.press("down")
        assert user.composer.text == "draft"


@run_async
async def test_an_emptied_message_gets_its_text_back(tmp_path):
    async with open_chat(tmp_path) as user:
        await send(user, "one")
        await user.press("up", "backspace", "backspace", "backspace", "down", "up")
        assert user.composer.text == "one"


@run_async
async def test_a_new_conversation_starts_with_an_empty_prompt(tmp_path):
    async with open_chat(tmp_path) as user:
        await send(user, "one")
        await user.type("draft", "up", "!", "ctrl+n")
        assert user.composer.unsent == ""
        await user.press("up", "down")
        assert user.composer.text == ""


@run_async
async def test_up_and_down_move_by_wrapped_rows(tmp_path):
    async with open_chat(tmp_path) as user:
        await send(user, "one", "two")
        user.composer.replace_all(LONG)
        await user.settle()
        rows = user.composer.wrapped_document.height
        assert rows > 2
        for _ in range(rows - 1):
            await user.press("up")
            assert user.composer.text == LONG
        await user.press("up")
        assert user.composer.text == "two"
        await user.press("down")
        assert user.composer.text == LONG
        for _ in range(rows - 1):
            await user.press("up")
        for _ in range(rows - 1):
            await user.press("down")
            assert user.composer.text == LONG
        assert user.composer.navigator.is_last_wrapped_line(user.composer.cursor_location)


@run_async
async def test_down_in_the_last_row_shows_the_next_message(tmp_path):
    async with open_chat(tmp_path) as user:
        await send(user, LONG)
        await user.type("draft", "up", "up")
        assert user.composer.text == LONG.strip()
        await user.press("down")
        assert user.composer.text == LONG.strip()
        await user.press("down")
        assert user.composer.text == "draft"


@pytest.mark.parametrize("command", ["/image ", "/image", " /audio  "])
def test_dropped_files_replace_an_attach_command_without_a_path(tmp_path, cat, command):
    @run_async
    async def drop():
        async with open_chat(tmp_path / "store") as user:
            await user.type(command)
            await user.paste(str(cat))
            assert get_staged_names(user) == ["a cat.png"]
            assert user.composer.text == "" and user.composer.suggestion == ""

    drop()


@run_async
async def test_other_text_stays_when_files_are_dropped(tmp_path, cat):
    async with open_chat(tmp_path / "store") as user:
        await user.type("/image of")
        await user.paste(str(cat))
        assert get_staged_names(user) == ["a cat.png"] and user.composer.text == "/image of"


@run_async
async def test_text_before_the_key_that_quits_is_saved(tmp_path):
    async with open_chat(tmp_path) as user:
        for key in "later":
            user.app.post_message(Key(key, key))
        user.app.post_message(Key("ctrl+q", None))
        await user.settle()
    async with open_chat(tmp_path, resume="latest") as user:
        assert user.composer.text == "later"


@run_async
async def test_text_before_the_key_of_a_new_conversation_stays_in_the_old_draft(tmp_path):
    async with open_chat(tmp_path) as user:
        await send(user, "Hello")
        first = user.chat.session.conversation.id
        for key in "later":
            user.app.post_message(Key(key, key))
        user.app.post_message(Key("ctrl+n", None))
        await user.settle()
        assert user.composer.text == ""
    async with open_chat(tmp_path, resume=first) as user:
        assert user.composer.text == "later"
