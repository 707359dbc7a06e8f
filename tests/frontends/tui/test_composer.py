"""The prompt: what was sent is leafed through and changed, rows are wrapped, files are dropped."""

import pytest
from textual.events import Key
from user import User, get_staged_names, open_chat, run_async

LONG = "word " * 40  # some rows of a screen 90 wide


async def says(user: User, *texts: str) -> None:
    for text in texts:
        user.composer.replace_all(text)
        await user.press("enter")
        await user.answer("ok")


@run_async
async def test_what_is_changed_on_the_way_through_history_stays(tmp_path):
    async with open_chat(tmp_path) as user:
        await says(user, "one", "two")
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
async def test_a_changed_message_is_sent_and_what_else_was_typed_stays(tmp_path):
    async with open_chat(tmp_path) as user:
        await says(user, "one", "two")
        await user.type("draft", "up")
        await user.type("!", "up")
        await user.type("?", "enter")
        assert user.texts[-2] == "one?" and user.composer.text == "draft"
        for text in ("one?", "two!", "one"):
            await user.press("up")
            assert user.composer.text == text
        assert user.composer.unsent == "two!\ndraft"


@run_async
async def test_what_can_t_be_sent_is_back_where_it_was_changed(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.type("one", "enter")
        await user.type("draft", "up")
        await user.type("!", "enter")
        assert "being written" in user.notices[-1] and user.composer.text == "one!"
        await user.press("down")
        assert user.composer.text == "draft"


@run_async
async def test_a_message_that_was_emptied_is_there_again(tmp_path):
    async with open_chat(tmp_path) as user:
        await says(user, "one")
        await user.press("up", "backspace", "backspace", "backspace", "down", "up")
        assert user.composer.text == "one"


@run_async
async def test_another_conversation_begins_with_an_empty_prompt(tmp_path):
    async with open_chat(tmp_path) as user:
        await says(user, "one")
        await user.type("draft", "up", "!", "ctrl+n")
        assert user.composer.unsent == ""
        await user.press("up", "down")
        assert user.composer.text == ""


@run_async
async def test_up_and_down_go_by_the_rows_that_are_seen(tmp_path):
    async with open_chat(tmp_path) as user:
        await says(user, "one", "two")
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
async def test_down_leaves_a_recalled_message_at_its_last_row(tmp_path):
    async with open_chat(tmp_path) as user:
        await says(user, LONG)
        await user.type("draft", "up", "up")
        assert user.composer.text == LONG.strip()
        await user.press("down")
        assert user.composer.text == LONG.strip()
        await user.press("down")
        assert user.composer.text == "draft"


@pytest.mark.parametrize("command", ["/image ", "/image", " /audio  "])
def test_a_command_that_asks_for_files_is_done_when_they_are_dropped(tmp_path, cat, command):
    @run_async
    async def drop():
        async with open_chat(tmp_path / "store") as user:
            await user.type(command)
            await user.paste(str(cat))
            assert get_staged_names(user) == ["a cat.png"]
            assert user.composer.text == "" and user.composer.suggestion == ""

    drop()


@run_async
async def test_what_else_is_typed_stays_when_files_are_dropped(tmp_path, cat):
    async with open_chat(tmp_path / "store") as user:
        await user.type("/image of")
        await user.paste(str(cat))
        assert get_staged_names(user) == ["a cat.png"] and user.composer.text == "/image of"


@run_async
async def test_keys_that_were_pressed_before_the_one_that_quits_are_kept(tmp_path):
    async with open_chat(tmp_path) as user:
        for key in "later":
            user.app.post_message(Key(key, key))
        user.app.post_message(Key("ctrl+q", None))
        await user.settle()
    async with open_chat(tmp_path, resume="latest") as user:
        assert user.composer.text == "later"


@run_async
async def test_keys_that_were_pressed_before_a_command_s_key_are_the_old_draft(tmp_path):
    async with open_chat(tmp_path) as user:
        await says(user, "Hello")
        first = user.chat.session.conversation.id
        for key in "later":
            user.app.post_message(Key(key, key))
        user.app.post_message(Key("ctrl+n", None))
        await user.settle()
        assert user.composer.text == ""
    async with open_chat(tmp_path, resume=first) as user:
        assert user.composer.text == "later"
