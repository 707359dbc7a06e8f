"""The chat on a screen, through real keys."""

import json
from pathlib import Path

import pytest
from PIL import Image, ImageGrab
from textual.events import Key
from textual.widgets import Markdown
from user import NO_MICROPHONE, FakeMicrophone, get_staged_names, open_chat, run_async

from mmtui.chat.history.history import History
from mmtui.chat.protocol import ChatTurn, Completed, Died, Failed, Progress, Transcribed
from mmtui.frontends.tui.screens.help import HelpScreen
from mmtui.frontends.tui.screens.history import HistoryScreen
from mmtui.frontends.tui.screens.picker import FileTree, Picker
from mmtui.frontends.tui.screens.picture import PictureScreen
from mmtui.frontends.tui.widgets.chips import Chip
from mmtui.frontends.tui.widgets.level_meter import LevelMeter

HOSTILE = "\x1b]52;c;aGk=\x07[bold]x[/] oops [/] \x9b2J\u202e" + "y" * 20_000


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@run_async
async def test_a_question_is_typed_and_its_answer_streams_as_markdown(store):
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
async def test_the_status_tells_what_the_model_does(store):
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
async def test_up_brings_back_what_was_sent_and_down_the_draft(store):
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
async def test_esc_stops_the_answer_keeps_what_there_is_and_the_draft(store):
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
async def test_editing_the_question_branches(store):
    async with open_chat(store) as user:
        await user.type("Jok", "enter")
        await user.answer("What?")
        await user.press("f6")
        await user.type("e", "enter")
        await user.answer("Ha.")
        assert user.texts == ["Joke", "Ha."]
        assert len(user.app.session.conversation) == 4


@run_async
async def test_an_earlier_message_is_edited_where_it_is(store):
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
async def test_a_pasted_path_stages_a_chip_that_is_sent_with_the_next_message(store, cat):
    async with open_chat(store) as user:
        await user.load_model()
        await user.paste(f"'{cat}'")
        assert get_staged_names(user) == ["a cat.png"] and user.composer.text == ""
        assert "a cat.png" in user.screen and "40 x 30" in user.screen
        assert user.model.asked == []
        await user.type("What is it?", "enter")
        (said,) = user.model.asked[-1]
        assert said.text == "What is it?" and len(said.pictures) == 1
        assert get_staged_names(user) == []
        await user.answer("A cat.")
        await user.type("Sure?", "enter")
        assert user.model.asked[-1][0].pictures == said.pictures


@run_async
async def test_a_picture_in_the_clipboard_is_staged_by_a_key_and_a_command(store, monkeypatch):
    held: list[Image.Image | None] = [Image.new("RGB", (40, 30)), Image.new("RGB", (9, 9)), None]
    monkeypatch.setattr(ImageGrab, "grabclipboard", lambda: held.pop(0))
    async with open_chat(store) as user:
        await user.press("f10")
        await user.type("/paste", "enter")
        assert get_staged_names(user) == ["clipboard.png"] * 2 and "40 x 30" in user.screen
        await user.press("alt+v")
        assert "no picture in the clipboard" in user.notices[-1]
        assert user.model.asked == []


@run_async
async def test_several_paths_are_pasted_as_terminals_write_them_and_sent_at_once(store, cat):
    for name in ("b.png", "c d.png"):
        Image.new("RGB", (9, 9)).save(cat.parent / name)
    escaped = str(cat.parent / "c d.png").replace(" ", "\\ ")
    async with open_chat(store) as user:
        await user.paste(f"'{cat}' {(cat.parent / 'b.png').as_uri()} {escaped}")
        assert sorted(get_staged_names(user)) == ["a cat.png", "b.png", "c d.png"]
        await user.type("Compare", "enter")
        assert len(user.model.asked[-1][0].pictures) == 3 and get_staged_names(user) == []


@run_async
async def test_shift_enter_breaks_the_line(store):
    async with open_chat(store) as user:
        await user.type("one", "shift+enter")
        await user.type("two", "ctrl+j")
        await user.type("three", "enter")
        assert user.texts[0] == "one\ntwo\nthree"


@run_async
async def test_pasted_text_is_text(store):
    async with open_chat(store) as user:
        await user.paste("no path\nat all")
        assert user.composer.text == "no path\nat all" and get_staged_names(user) == []


@run_async
async def test_chips_are_taken_off_and_looked_at(store, cat):
    async with open_chat(store) as user:
        await user.load_model()
        await user.type(f"/image {cat}", "enter")
        user.chat.query_one(Chip).focus()
        await user.press("enter")
        assert isinstance(user.app.screen, PictureScreen)
        assert "Model input: 260 x 260" in user.screen
        await user.press("escape")
        await user.pilot.click(Chip)
        await user.settle()
        assert isinstance(user.app.screen, PictureScreen)
        await user.press("escape")
        await user.pilot.click(".chip--remove")
        await user.settle()
        assert get_staged_names(user) == []
        await user.type(f"/image {cat}", "enter")
        user.chat.query_one(Chip).focus()
        await user.press("delete")
        assert get_staged_names(user) == []
        await user.type("/image nothing.png", "enter")
        assert "no such file: " in user.notices[-1]


@run_async
async def test_a_picture_is_picked_from_a_tree_with_a_preview(store, cat, monkeypatch):
    monkeypatch.chdir(cat.parent)
    (cat.parent / "notes.txt").touch()
    async with open_chat(store) as user:
        await user.press("f2")
        assert isinstance(user.app.screen, Picker)
        tree = user.app.screen.query_one(FileTree)
        while len(tree.root.children) < 2:
            await user.settle()
        assert [str(node.label) for node in tree.root.children] == ["store", "a cat.png"]
        await user.press("down", "down", "enter")
        assert get_staged_names(user) == ["a cat.png"]
        await user.press("f2", "escape")
        assert get_staged_names(user) == ["a cat.png"]


@run_async
async def test_speech_lands_in_the_prompt_and_is_sent_by_the_user(store):
    microphone = FakeMicrophone()
    async with open_chat(store, microphone=microphone) as user:
        await user.type("Please:", "f4")
        assert user.chat.query_one(LevelMeter).has_class("-on") and "recording" in user.screen
        await user.press("f4")
        assert len(user.model.clips[-1]) == 32_000 and "listening" in user.screen
        await user.receive_event(Transcribed(user.model.number, "tell me a joke"))
        assert user.composer.text == "Please: tell me a joke" and user.model.asked == []
        assert get_staged_names(user) == ["voice.wav"]
        await user.press("enter")
        assert user.model.asked[-1] == (ChatTurn("user", "Please: tell me a joke"),)
        kept = History(store).search("joke")
        assert len(kept) == 1


@run_async
async def test_a_recording_ends_by_itself_at_15_s(store):
    microphone = FakeMicrophone(seconds=15.0)
    async with open_chat(store, microphone=microphone) as user:
        await user.press("f4")
        while not user.model.clips:
            await user.settle()
        assert microphone.recordings[0].finished


@run_async
async def test_esc_throws_a_recording_away(store):
    async with open_chat(store) as user:
        await user.type("draft", "f4")
        await user.press("escape")
        assert user.model.clips == [] and user.composer.text == "draft"
        assert not user.chat.query_one(LevelMeter).has_class("-on")


@run_async
async def test_silence_and_a_missing_microphone_are_told(store):
    microphone = FakeMicrophone(seconds=0.0, error=NO_MICROPHONE)
    async with open_chat(store, microphone=microphone) as user:
        await user.press("f4")
        while not user.notices:
            await user.settle()
        assert "there is no microphone" in user.notices[-1] and "plug one in" in user.notices[-1]
        microphone._seconds, microphone._error = 2.0, None
        await user.press("f4")
        await user.press("f4")
        await user.receive_event(Transcribed(user.model.number, ""))
        assert "no speech found" in user.notices[-1]
        assert get_staged_names(user) == [] and user.composer.text == ""


@run_async
async def test_a_model_that_dies_is_told_and_the_chat_is_kept(store):
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
async def test_what_can_t_be_done_is_told(store):
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
        assert "being written" in user.notices[-1] and user.composer.text == "Two"


@run_async
async def test_keys_may_follow_each_other_while_an_answer_ends(store):
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
async def test_a_draft_stays_when_an_earlier_message_is_looked_at(store):
    async with open_chat(store) as user:
        await user.type("old", "enter")
        await user.answer("Yes.")
        await user.type("a thought", "up")
        assert (user.composer.text, user.composer.unsent) == ("old", "a thought")
        await user.press("enter")
        assert user.texts[2] == "old" and user.composer.text == "a thought"


@run_async
async def test_what_entities_stand_for_is_inert_and_links_stay_what_they_are(store, monkeypatch):
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
async def test_what_is_typed_after_enter_is_another_message(store):
    async with open_chat(store) as user:
        app = user.app
        for key in ("a", "b", "enter", "c", "d", "enter", "e"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await user.settle()
        assert user.texts[0] == "ab" and user.composer.text == "cde"
        assert "being written" in user.notices[-1]


@run_async
async def test_hostile_text_is_inert_everywhere(store, tmp_path):
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
async def test_file_names_are_inert_where_files_are_chosen(store, tmp_path, monkeypatch):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (9, 9)).save(folder / "\x1b]52;c;x\x07.png")
    monkeypatch.chdir(folder)
    async with open_chat(store) as user:
        await user.type("/image ./")
        assert not {"\x1b", "\x07"} & set(user.screen)
        await user.press("f2")
        while "52;c;x" not in user.screen:
            await user.settle()
        assert not {"\x1b", "\x07"} & set(user.screen)


@run_async
async def test_a_chat_whose_picture_is_gone_is_opened_all_the_same(store, cat):
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
async def test_links_are_opened_on_a_click_and_only_to_the_web(store, monkeypatch):
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
async def test_a_chat_is_found_renamed_deleted_undone_and_resumed(store, cat):
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
        await user.press("ctrl+z", "down", "enter")
        assert user.texts == ["About volcanoes", "Hot."] and user.composer.text == "draft"


@run_async
async def test_commands_do_what_keys_do(store, tmp_path):
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
async def test_a_chat_goes_on_in_the_next_start(store, cat):
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
async def test_a_new_chat_that_was_never_sent_is_there_at_the_next_start(store, cat):
    async with open_chat(store) as user:
        await user.paste(str(cat))
        await user.type("Dear")
        await user.chat.save_draft()
    for _ in range(2):
        async with open_chat(store) as user:
            assert user.texts == [] and user.composer.text == "Dear"
            assert get_staged_names(user) == ["a cat.png"]


@run_async
async def test_another_chat_takes_nothing_of_this_one(store, cat):
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
async def test_lines_that_end_in_carriage_returns_are_lines(store, cat):
    async with open_chat(store) as user:
        await user.paste("def f():\r    return 1\r\n# end")
        assert user.composer.text == "def f():\n    return 1\n# end"
        await user.paste(f"{cat}\r{cat}")
        assert get_staged_names(user) == ["a cat.png"] * 2


@run_async
async def test_another_model_stops_the_answer_and_marks_it(store):
    async with open_chat(store) as user:
        await user.type("Count", "enter")
        await user.answer("One, ", stop=None)
        user.composer.replace_all("/resume zzz")
        await user.press("enter")
        assert "no conversation begins" in user.notices[-1] and "stopped" not in user.screen
        user.composer.replace_all("/model phi2")
        await user.press("enter")
        assert "stopped" in user.screen and user.texts[-1] == "One, "


@run_async
async def test_a_store_that_can_t_be_used_is_told_and_the_chat_goes_on(tmp_path):
    (tmp_path / "file").touch()
    async with open_chat(tmp_path / "file") as user:
        assert "meanwhile this chat is kept in" in user.notices[-1]
        await user.type("Hi", "enter")
        await user.answer("Hello.")
        assert user.texts == ["Hi", "Hello."]


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 15)])
def test_it_fits_every_size_in_both_themes(store, cat, size, theme):
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
async def test_a_message_that_is_too_long_comes_back_with_its_attachments(store, cat):
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
async def test_an_edit_that_is_too_long_comes_back_and_what_was_said_is_read_again(store):
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
