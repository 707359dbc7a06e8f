"""Stored conversations, drafts and messages that return to the prompt."""

from user import get_staged_names, open_chat, run_async

from mmtui.chat.protocol import Failed
from mmtui.frontends.tui.screens.history import HistoryScreen
from mmtui.frontends.tui.widgets.chips import Chip


@run_async
async def test_the_draft_stays_when_an_earlier_message_is_edited(store):
    async with open_chat(store) as user:
        await user.type("old", "enter")
        await user.answer("Yes.")
        await user.type("a thought", "up")
        assert (user.composer.text, user.composer.unsent) == ("old", "a thought")
        await user.press("enter")
        assert user.texts[2] == "old" and user.composer.text == "a thought"


@run_async
async def test_a_conversation_whose_picture_is_gone_can_be_opened(store, cat):
    async with open_chat(store) as user:
        await user.paste(str(cat))
        await user.type("What?", "enter")
        await user.answer("A cat.")
    for file in (store / "attachments").glob("??/*"):
        file.unlink()
    async with open_chat(store, resume="latest") as user:
        assert user.texts == ["What?", "A cat."] and "a cat.png" in user.screen
        user.chat.query_one(Chip).focus()
        await user.press("enter")
        assert "no longer" in user.notices[-1]


@run_async
async def test_a_conversation_is_found_renamed_deleted_restored_and_opened(store, cat):
    async with open_chat(store) as user:
        await user.paste(str(cat))
        await user.type("About volcanoes", "enter")
        await user.answer("Hot.")
        await user.type("draft")
        await user.chat.save_draft()
        await user.press("ctrl+n")
        assert user.texts == [] and user.composer.text == ""
        await user.type("Other", "enter")
        await user.answer("Yes.")
        await user.press("f3")
        assert isinstance(user.app.screen, HistoryScreen)
        assert user.screen.index("Other") < user.screen.index("About volcanoes")
        await user.type("volc")
        assert "Other" not in user.screen and "▣ 1" in user.screen
        await user.press("down", "f2")
        await user.type("!", "enter")
        assert "About volcanoes!" in user.screen
        await user.press("delete")
        assert "No conversation found" in user.screen
        await user.press("ctrl+z")
        await user.press("down", "enter")
        assert user.texts == ["About volcanoes", "Hot."] and user.composer.text == "draft"


@run_async
async def test_a_conversation_is_resumed_after_a_restart(store, cat):
    async with open_chat(store, images=(cat,)) as user:
        assert get_staged_names(user) == ["a cat.png"]
        await user.type("Look", "enter")
        await user.answer("A cat.")
        await user.type("And")
        await user.chat.save_draft()
    cat.unlink()
    async with open_chat(store, resume="latest") as user:
        assert user.texts == ["Look", "A cat."] and user.composer.text == "And"
        await user.press("enter")
        assert len(user.model.asked[-1][0].pictures) == 1
    async with open_chat(store, resume="zzz") as user:
        assert "no conversation begins" in user.notices[-1]


@run_async
async def test_an_unsent_draft_is_restored_after_a_restart(store, cat):
    async with open_chat(store) as user:
        await user.paste(str(cat))
        await user.type("Dear")
        await user.chat.save_draft()
    for _ in range(2):
        async with open_chat(store) as user:
            assert user.texts == [] and user.composer.text == "Dear"
            assert get_staged_names(user) == ["a cat.png"]


@run_async
async def test_a_draft_stays_with_its_conversation(store, cat):
    async with open_chat(store) as user:
        await user.type("One", "enter")
        await user.answer("1.")
        await user.paste(str(cat))
        await user.type("draft", "ctrl+n")
        assert get_staged_names(user) == [] and user.composer.text == ""
        await user.type("/ne")
        await user.chat.save_draft()  # as happens while somebody types
        await user.type("w", "enter")
        store = user.app.session.store
        assert store.find().result()[0].id == store.search("").result()[0].id
        await user.press("f3", "down", "enter")
        assert user.composer.text == "draft" and get_staged_names(user) == ["a cat.png"]


@run_async
async def test_a_history_that_can_t_be_opened_is_reported_and_the_chat_works(tmp_path):
    (tmp_path / "file").touch()
    async with open_chat(tmp_path / "file") as user:
        assert "for now, this chat is kept in" in user.notices[-1]
        await user.type("Hi", "enter")
        await user.answer("Hello.")
        assert user.texts == ["Hi", "Hello."]


@run_async
async def test_a_message_that_is_too_long_returns_to_the_prompt_with_its_attachments(store, cat):
    async with open_chat(store) as user:
        await user.type("One", "enter")
        await user.answer("1.")
        await user.paste(str(cat))
        user.composer.replace_all("a novel")
        await user.press("enter")
        await user.type("next")
        too_long = Failed(user.model.number, "the conversation is 9 tokens long", None, None, True)
        await user.receive_event(too_long)
        assert "9 tokens long" in user.notices[-1]
        assert user.composer.text == "a novel\nnext" and get_staged_names(user) == ["a cat.png"]
        assert user.texts == ["One", "1."]
    async with open_chat(store, resume="latest") as user:
        assert user.texts == ["One", "1."] and len(user.app.session.conversation) == 2
        assert user.composer.text == "a novel\nnext" and get_staged_names(user) == ["a cat.png"]


@run_async
async def test_an_edit_that_is_too_long_returns_to_the_prompt(store):
    async with open_chat(store) as user:
        await user.type("One", "enter")
        await user.answer("1.")
        await user.press("f6")
        await user.type("!", "enter")
        await user.receive_event(Failed(user.model.number, "too long", None, None, True))
        assert user.texts == ["One", "1."] and user.composer.text == "One!"
        await user.press("f5")
        await user.receive_event(Failed(user.model.number, "too long", None, None, True))
        assert user.texts == ["One", ""] and "◼ failed" in user.screen
