"""Messages, answers, the status bar of the chat screen."""

import json

import pytest
from PIL import Image
from textual.events import AppBlur, AppFocus, Key
from textual.widgets import Markdown
from user import get_staged_names, open_chat, run_async

from mmtui.chat.protocol import ChatTurn, Completed, Died, Progress
from mmtui.frontends.tui.screens.help import HelpScreen
from mmtui.frontends.tui.screens.history import HistoryScreen
from mmtui.frontends.tui.widgets.message_queue import QueuedMessage
from mmtui.frontends.tui.widgets.waiting_line import WaitingLine

HOSTILE = "\x1b]52;c;aGk=\x07[bold]x[/] oops [/] \x9b2J\u202e" + "y" * 20_000


@run_async
async def test_an_answer_streams_as_markdown(store):
    async with open_chat(store) as user:
        await user.type("Hello", "ctrl+j")
        await user.type("you", "enter")
        assert user.model.asked == [(ChatTurn("user", "Hello\nyou"),)]
        assert user.composer.text == "" and "thinking" in user.screen
        await user.answer("**Hi** ", "there", stop=None)
        assert "Hi there" in user.screen and "writing" in user.screen
        await user.answer("\n\n| a | b |\n|---|---|\n| 1 | 2 |\n")
        assert "│" in user.screen and "50 tokens/s" in user.screen
        assert user.texts[0] == "Hello\nyou"


@run_async
async def test_the_status_bar_shows_what_the_model_does(store):
    async with open_chat(store) as user:
        assert "auto  ·  loading" in user.screen
        await user.receive_event(Progress("fetching the model", 30, 120))
        assert "fetching the model 25 %" in user.screen
        await user.load_model()
        assert "fake (torch)  ·  ready" in user.screen and "0 of 2,048 tokens" in user.screen
        await user.type("Look", "enter")
        await user.receive_event(Progress("seeing", 0, 1))
        assert "seeing …" in user.screen
        await user.receive_event(Progress("seeing", 1, 1))
        assert "thinking" in user.screen
        await user.answer("A cat.", stop=None)
        assert "writing" in user.screen
        await user.answer()
        assert "20 of 2,048 tokens  ·  50 tokens/s" in user.screen
        await user.receive_event(Died("the model was killed", None))
        assert "fake (torch)  ·  not loaded" in user.screen


@run_async
async def test_up_shows_sent_messages_and_down_the_draft(store):
    async with open_chat(store) as user:
        for text in ("one", "two"):
            await user.type(text, "enter")
            await user.answer("ok")
        await user.type("three", "up")
        assert user.composer.text == "two"
        await user.press("up", "up")
        assert user.composer.text == "one"
        await user.press("down", "down")
        assert user.composer.text == "three"


@run_async
async def test_escape_stops_the_answer_and_keeps_its_text_and_the_draft(store):
    async with open_chat(store) as user:
        await user.type("Count", "enter")
        await user.answer("One, ", stop=None)
        await user.type("next", "escape")
        assert user.model.cancelled == [user.model.number]
        assert user.composer.text == "next" and user.texts[-1] == "One, "
        assert "stopped" in user.screen
        await user.answer("two")
        assert user.texts[-1] == "One, "
        await user.press("f7")
        assert user.model.asked[-1] == (ChatTurn("user", "Count"), ChatTurn("assistant", "One, "))
        await user.answer("two.")
        assert user.texts[-1] == "One, two." and "stopped" not in user.screen


@run_async
async def test_regenerating_shows_another_answer(store):
    async with open_chat(store) as user:
        await user.type("Joke", "enter")
        await user.answer("First.")
        await user.press("f5")
        await user.answer("Second.")
        assert user.texts == ["Joke", "Second."]


@run_async
async def test_editing_a_message_adds_a_branch(store):
    async with open_chat(store) as user:
        await user.type("Jok", "enter")
        await user.answer("What?")
        await user.press("f6")
        await user.type("e", "enter")
        await user.answer("Ha.")
        assert user.texts == ["Joke", "Ha."]
        assert len(user.app.session.conversation) == 4


@run_async
async def test_an_earlier_message_is_edited(store):
    async with open_chat(store) as user:
        for text in ("one", "two"):
            await user.type(text, "enter")
            await user.answer("ok")
        user.messages[0].focus()
        await user.press("enter", "!", "enter")
        await user.answer("fine")
        assert user.texts == ["one!", "fine"]
        user.messages[1].focus()
        await user.press("enter")
        assert "answers can't be edited" in user.notices[-1]


@run_async
async def test_shift_enter_starts_a_new_line(store):
    async with open_chat(store) as user:
        await user.type("one", "shift+enter")
        await user.type("two", "ctrl+j")
        await user.type("three", "enter")
        assert user.texts[0] == "one\ntwo\nthree"


@run_async
async def test_pasted_text_is_inserted(store):
    async with open_chat(store) as user:
        await user.paste("no path\nat all")
        assert user.composer.text == "no path\nat all" and get_staged_names(user) == []


@run_async
async def test_the_chat_survives_the_death_of_the_model(store):
    async with open_chat(store) as user:
        await user.type("Hello", "enter")
        await user.answer("Hel", stop=None)
        await user.type("draft")
        await user.receive_event(Died("the model was killed", "sending again starts it anew"))
        assert "the model was killed" in user.notices[-1] and "◼ failed" in user.screen
        assert user.composer.text == "draft" and user.texts[-1] == "Hel"
        await user.press("f5")
        await user.answer("Hello.")
        assert user.texts == ["Hello", "Hello."]


@run_async
async def test_commands_that_can_t_be_run_show_an_error(store):
    async with open_chat(store) as user:
        for keys in (["f5"], ["f7"], ["f8"]):
            await user.press(*keys)
            assert "there is no answer yet" in user.notices[-1]
        await user.type("/nonsense", "enter")
        assert "no command /nonsense" in user.notices[-1] and user.composer.text == "/nonsense"
        user.composer.replace_all("")
        await user.type("/export /no/such/folder/talk.md", "enter")
        assert "talk.md can't be written: No such file" in user.notices[-1]
        assert user.composer.text == "/export /no/such/folder/talk.md"
        user.composer.replace_all("One")
        await user.press("enter")
        await user.type("Two", "enter")
        assert [queued.draft.text for queued in user.chat.query(QueuedMessage)] == [
            "Two"
        ] and user.composer.text == ""


@run_async
async def test_keys_are_handled_while_an_answer_ends(store):
    async with open_chat(store) as user:
        await user.type("Hello", "enter")
        for number in range(5):
            await user.answer("[a]\n\n[a]: http://a.b\n", "Hel", stop=None)
            for key in ("escape", "f5") if number % 2 else ("f5", "escape", "f5"):
                user.app.post_message(Key(key, None))
            if number % 2 == 0:
                user.app._receive_event(Completed(user.model.number, "stop", 20, 8, 1, 0.1, 50.0))
            await user.settle()
        await user.answer("Hello.")
        assert user.texts == ["Hello", "Hello."]


@run_async
async def test_entities_add_no_control_characters_and_links_are_not_changed(store, monkeypatch):
    went: list[str] = []
    async with open_chat(store) as user:
        monkeypatch.setattr(user.app, "open_url", lambda url, **_: went.append(url))
        await user.type("Hello", "enter")
        await user.answer("a&#x202E;b [page](https://x.y/What%3F)")
        assert "ab page" in user.screen
        (place,) = [
            (line.index("page"), y)
            for y, line in enumerate(user.screen.splitlines())
            if "ab page" in line
        ]
        await user.pilot.click(offset=place)
        await user.settle()
        assert went == ["https://x.y/What%3F"]


@run_async
async def test_text_after_enter_is_another_message(store):
    async with open_chat(store) as user:
        app = user.app
        for key in ("a", "b", "enter", "c", "d", "enter", "e"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await user.settle()
        assert user.texts[0] == "ab" and user.composer.text == "e"
        (queued,) = user.chat.query(QueuedMessage)
        assert queued.draft.text == "cd"


@run_async
async def test_control_characters_and_markup_are_inert_everywhere(store, tmp_path):
    picture = tmp_path / "\x1b]52;c;x\x07[b].png"
    Image.new("RGB", (9, 9)).save(picture)
    async with open_chat(store) as user:
        await user.paste(HOSTILE)
        await user.press("enter")
        await user.answer(HOSTILE, "\n\n[click](javascript:alert)")
        user.chat.attach(picture)
        await user.settle()
        assert len(get_staged_names(user)) == 1
        await user.receive_event(Died(HOSTILE, HOSTILE))
        await user.press("f3")
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(user.screen)


@run_async
async def test_only_web_links_are_opened(store, monkeypatch):
    opened_urls: list[str] = []
    async with open_chat(store) as user:
        monkeypatch.setattr(user.app, "open_url", lambda url, **_: opened_urls.append(url))
        await user.type("Hello", "enter")
        await user.answer("Hi.")
        for url in ("https://x.org/a", "javascript:alert(1)", "file:///etc/passwd"):
            markdown = user.messages[1].query_one(Markdown)
            markdown.post_message(Markdown.LinkClicked(markdown, url))
            await user.settle()
        assert opened_urls == ["https://x.org/a"]
        assert len(user.notices) == 2
        hint = "only http and https links can be opened"
        assert all(notice.endswith(hint) for notice in user.notices)


@run_async
async def test_commands_have_the_effect_of_keys(store, tmp_path):
    file = tmp_path / "talk.json"
    async with open_chat(store) as user:
        await user.type("/system Be brief.", "enter")
        await user.type("Hi", "enter")
        assert user.model.asked[-1][0] == ChatTurn("system", "Be brief.")
        await user.answer("1. So:\n\n   ~~~python\n   code()\n   ~~~\n")
        for command in (
            "/rename Talk", f"/export {file}", "/copy code", "/sampling temperature=0.5",
            "/model phi2", "/edit Hello",
        ):  # fmt: skip
            user.composer.replace_all(command)
            await user.press("enter")
        assert json.loads(file.read_text())["title"] == "Talk"
        assert user.app.clipboard == "code()\n"
        assert user.model.name == "phi2" and user.texts[0] == "Hello"
        await user.answer("Yes.")
        await user.type("/retry", "enter")
        await user.type("/stop", "enter")
        await user.type("/new", "enter")
        assert user.texts == []
        await user.type("/help", "enter")
        assert isinstance(user.app.screen, HelpScreen)
        await user.press("escape")
        await user.type("/history", "enter")
        assert isinstance(user.app.screen, HistoryScreen)
        await user.press("escape")
        await user.type("/quit", "enter")
    assert user.model.closed


@run_async
async def test_commands_and_paths_are_completed(store, cat):
    async with open_chat(store) as user:
        await user.type("/im", "tab")
        assert user.composer.text == "/image "
        user.composer.replace_all(f"/image {cat.parent}/a")
        await user.press("tab")
        assert user.composer.text == f"/image {cat}"
        for name in ("dog 1.png", "dog 2.png"):
            (cat.parent / name).touch()
        user.composer.replace_all(f"/image {cat.parent}/d")
        await user.press("tab", "tab")
        assert user.composer.text == f"/image {cat.parent}/dog "
        assert user.notices[-1] == "dog 1.png  dog 2.png"
        user.composer.replace_all("plain")
        await user.press("enter")
        await user.type("plain", "tab")
        assert user.composer.text == "plain" and not user.composer.has_focus


@run_async
async def test_carriage_returns_in_pastes_become_line_ends(store, cat):
    async with open_chat(store) as user:
        await user.paste("def f():\r    return 1\r\n# end")
        assert user.composer.text == "def f():\n    return 1\n# end"
        await user.paste(f"{cat}\r{cat}")
        assert get_staged_names(user) == ["a cat.png"] * 2


@run_async
async def test_switching_the_model_stops_the_answer(store):
    async with open_chat(store) as user:
        await user.type("Count", "enter")
        await user.answer("One, ", stop=None)
        user.composer.replace_all("/resume zzz")
        await user.press("enter")
        assert "no conversation begins" in user.notices[-1] and "stopped" not in user.screen
        user.composer.replace_all("/model phi2")
        await user.press("enter")
        assert "stopped" in user.screen and user.texts[-1] == "One, "


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 15)])
def test_the_chat_fits_every_size_in_both_themes(store, cat, size, theme):
    @run_async
    async def look():
        async with open_chat(store, size=size, theme=theme) as user:
            await user.load_model()
            await user.paste(str(cat))
            await user.type("What is this?", "enter")
            await user.answer("A **cat** on a sofa, asleep.")
            assert user.app.theme == f"textual-{theme}"
            for said in ("What is this?", "cat on a sofa", "ready"):
                assert said in user.screen

    look()


@run_async
async def test_the_prompt_keeps_the_focus_while_another_window_has_it(store):
    """Otherwise the styles of all widgets would be computed twice, which can take seconds."""
    async with open_chat(store) as user:
        user.app.post_message(AppBlur())
        await user.settle()
        assert user.composer.has_focus
        user.app.post_message(AppFocus())
        await user.type("Hi", "enter")
        assert user.texts[0] == "Hi"


@run_async
async def test_a_line_shows_that_the_model_works_until_the_answer_begins(store):
    async with open_chat(store) as user:
        await user.type("Hello", "enter")
        waiting = user.messages[-1].query_one(WaitingLine)
        assert waiting.region.height == 1 and str(waiting.content).strip()
        await user.answer("Hi", stop=None)
        assert not waiting.display
        await user.press("escape")
        await user.type("/retry", "enter")
        waiting = user.messages[-1].query_one(WaitingLine)
        assert waiting.display
        await user.press("escape")
        assert not waiting.display and "stopped" in user.screen
