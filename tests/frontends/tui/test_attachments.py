"""Attach pictures and recordings in the chat."""

from PIL import Image, ImageGrab
from user import NO_MICROPHONE, FakeMicrophone, get_staged_names, open_chat, run_async

from mmtui.chat.history.history import History
from mmtui.chat.protocol import ChatTurn, Transcribed
from mmtui.frontends.tui.screens.picker import FileTree, Picker
from mmtui.frontends.tui.screens.picture import PictureScreen
from mmtui.frontends.tui.widgets.chips import Chip
from mmtui.frontends.tui.widgets.level_meter import LevelMeter


@run_async
async def test_a_pasted_path_is_attached_to_the_next_message(store, cat):
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
async def test_a_picture_in_the_clipboard_is_attached_by_a_key_and_a_command(store, monkeypatch):
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
async def test_several_paths_are_pasted_in_the_notation_of_terminals(store, cat):
    for name in ("b.png", "c d.png"):
        Image.new("RGB", (9, 9)).save(cat.parent / name)
    escaped = str(cat.parent / "c d.png").replace(" ", "\\ ")
    async with open_chat(store) as user:
        await user.paste(f"'{cat}' {(cat.parent / 'b.png').as_uri()} {escaped}")
        assert sorted(get_staged_names(user)) == ["a cat.png", "b.png", "c d.png"]
        await user.type("Compare", "enter")
        assert len(user.model.asked[-1][0].pictures) == 3 and get_staged_names(user) == []


@run_async
async def test_chips_are_opened_and_removed(store, cat):
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
async def test_a_picture_is_chosen_from_a_tree_with_a_preview(store, cat, monkeypatch):
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
async def test_speech_is_transcribed_into_the_prompt_and_not_sent(store):
    microphone = FakeMicrophone()
    async with open_chat(store, microphone=microphone) as user:
        await user.type("Please:", "f4")
        assert user.chat.query_one(LevelMeter).has_class("-on") and "recording" in user.screen
        await user.press("f4")
        assert len(user.model.clips[-1]) == 32_000 and "transcribing" in user.screen
        await user.receive_event(Transcribed(user.model.number, "tell me a joke"))
        assert user.composer.text == "Please: tell me a joke" and user.model.asked == []
        assert get_staged_names(user) == ["voice.wav"]
        await user.press("enter")
        assert user.model.asked[-1] == (ChatTurn("user", "Please: tell me a joke"),)
        kept = History(store).search("joke")
        assert len(kept) == 1


@run_async
async def test_a_recording_ends_after_15_s(store):
    microphone = FakeMicrophone(seconds=15.0)
    async with open_chat(store, microphone=microphone) as user:
        await user.press("f4")
        while not user.model.clips:
            await user.settle()
        assert microphone.recordings[0].finished


@run_async
async def test_escape_discards_a_recording(store):
    async with open_chat(store) as user:
        await user.type("draft", "f4")
        await user.press("escape")
        assert user.model.clips == [] and user.composer.text == "draft"
        assert not user.chat.query_one(LevelMeter).has_class("-on")


@run_async
async def test_silence_and_a_missing_microphone_are_reported(store):
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
async def test_the_picker_shows_no_control_characters(store, tmp_path, monkeypatch):
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
async def test_typing_replaces_a_command_that_failed(store):
    async with open_chat(store) as user:
        await user.type("/image no.png", "enter")
        assert "no such file" in user.notices[-1] and user.composer.text == "/image no.png"
        await user.type("Hello")
        assert user.composer.text == "Hello"
        user.composer.replace_all("/image no.png")
        await user.press("enter", "end")
        await user.type("x")
        assert user.composer.text == "/image no.pngx"
        user.composer.replace_all("")
        user.chat.restore_text("See /image")  # a message
        await user.type("s")
        assert user.composer.text == "See /images"


@run_async
async def test_three_notices_are_shown_at_once(store):
    async with open_chat(store) as user:
        for name in ("a.png", "b.png", "c.png", "d.png"):
            user.composer.replace_all(f"/image {name}")
            await user.press("enter")
        assert [notice.split("\n")[0] for notice in user.notices] == [
            f"no such file: {name}" for name in ("b.png", "c.png", "d.png")
        ]
        assert "d.png" in user.screen and "file: a.png" not in user.screen


@run_async
async def test_a_copy_of_a_picture_with_brackets_in_its_name_is_saved(store, cat):
    picture = cat.rename(cat.parent / "a cat [1] [=].png")
    async with open_chat(store) as user:
        await user.paste(str(picture))
        user.chat.query_one(Chip).focus()
        await user.press("ctrl+s")
        assert "Folder for a copy of a cat [1] [=].png" in user.screen
        await user.press("escape")
        assert get_staged_names(user) == [picture.name]
