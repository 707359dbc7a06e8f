"""Commands, typed, by their keys and in the palette."""

import json

import pytest
from fakes import FakeModel
from textual.events import Key
from textual.widgets import TextArea
from user import NO_MICROPHONE, FakeMicrophone, open_chat, run_async

from mmtui.chat import clipboard
from mmtui.chat.commands import COMMANDS
from mmtui.chat.protocol import ChatTurn
from mmtui.frontends.tui.screens.chat.commands import Commands
from mmtui.frontends.tui.screens.dialogs import ChoiceDialog, TextDialog
from mmtui.frontends.tui.screens.history import HistoryScreen
from mmtui.frontends.tui.screens.picker import Picker


async def ask(user, text: str, answer: str) -> None:
    await user.type(text, "enter")
    await user.answer(answer)


async def answers(user, dialog: type, text: str) -> None:
    """Replaces what a dialog begins with."""
    assert isinstance(user.app.screen, dialog)
    await user.press("ctrl+end", "ctrl+u")
    await user.type(text, "enter")


def test_every_command_is_implemented():
    done = {name.removeprefix("do_") for name in vars(Commands) if name.startswith("do_")}
    assert done == {command.name for command in COMMANDS}


@run_async
async def test_the_palette_finds_every_command(tmp_path):
    async with open_chat(tmp_path, size=(100, 60)) as user:
        titles = [command.title for command in user.app.get_system_commands(user.chat)]
        assert [title.split(":")[0] for title in titles] == [c.name for c in COMMANDS]
        await user.press("ctrl+p")
        await user.type("theme")
        while "light theme" not in user.screen:
            await user.settle()
        await user.press("enter")
        while user.app.theme != "textual-light":
            await user.settle()


@run_async
async def test_a_model_is_chosen_from_a_list(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    damaged = tmp_path / "data" / "mmtui" / "models" / "mine"
    damaged.mkdir(parents=True)
    (damaged / "spec.json").write_text("{}")
    async with open_chat(tmp_path / "store", size=(120, 30)) as user:
        await user.press("ctrl+l")
        assert isinstance(user.app.screen, ChoiceDialog)
        assert "phi2" in user.screen and "no vision, " in user.screen
        assert "mine" in user.screen and "spec.json" in user.screen
        await user.press("down", "enter")
        assert user.model.name == "smol" and "smol  ·  loading" in user.screen
        await user.type("/model", "enter")
        await user.press("escape")
        await user.type("/model hf:a/b", "enter")
        assert user.model.name == "hf:a/b"


@run_async
async def test_a_microphone_is_chosen_from_a_list(tmp_path):
    microphone = FakeMicrophone()
    async with open_chat(tmp_path, microphone=microphone) as user:
        for keys in (["down", "enter"], ["up", "enter"]):
            await user.type("/microphone", "enter")
            assert "Fake Mic" in user.screen
            await user.press(*keys)
            await user.press("f4", "escape")
        await user.type("/microphone Other", "enter")
        await user.press("f4", "escape")
        assert microphone.devices_used == ["Fake Mic", None, "Other"]


@run_async
async def test_sampling_is_changed(tmp_path, monkeypatch):
    asked: list[tuple] = []
    monkeypatch.setattr(FakeModel, "generate", lambda *how: asked.append(how[2:]) or 1)
    async with open_chat(tmp_path) as user:
        await user.type("/sampling", "enter")
        assert "temperature=0.0 top_p=0.95 max_tokens=512" in user.screen
        await answers(user, TextDialog, "temperature=0.5 max_tokens=9")
        assert user.notices == ["temperature=0.5 top_p=0.95 max_tokens=9"]
        for wrong, says in (("heat=1", "'heat' is not a sampling"), ("top_p=7", "top_p should be")):
            user.composer.replace_all(f"/sampling {wrong}")
            await user.press("enter")
            assert says in user.notices[-1] and user.composer.text == f"/sampling {wrong}"
        user.composer.replace_all("Hi")
        await user.press("enter")
        assert asked == [(9, 0.5, 0.95)]


@run_async
async def test_a_dialog_asks_for_a_missing_argument(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with open_chat(tmp_path / "store") as user:
        await user.type("/edit", "enter")
        assert "the conversation has no message yet" in user.notices[-1]
        await ask(user, "Hi", "Hello.")
        await user.press("f6")
        await user.paste("\x1b]0;x\x07")
        assert "\x1b" not in user.app.screen.query_one(TextArea).text
        await answers(user, TextDialog, "Hey")
        assert user.model.asked[-1] == (ChatTurn("user", "Hey"),)
        await user.answer("Yes?")
        await user.press("f9")
        await answers(user, TextDialog, "Be brief.")
        assert user.app.session.conversation.system == "Be brief."
        await user.press("f9")
        await answers(user, TextDialog, "")
        assert user.app.session.conversation.system == ""
        await user.type("/rename", "enter")
        await answers(user, TextDialog, "Talk")
        await user.type("/export", "enter")
        await answers(user, TextDialog, "talk.json")
        assert json.loads((tmp_path / "talk.json").read_text())["title"] == "Talk"
        for command, screen in (("audio", Picker), ("image", Picker), ("resume", HistoryScreen)):
            await user.type(f"/{command}", "enter")
            assert isinstance(user.app.screen, screen)
            await user.press("escape")


@run_async
async def test_the_theme_is_switched(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.type("/theme", "enter")
        assert user.app.theme == "textual-light"
        await user.type("/theme dark", "enter")
        assert user.app.theme == "textual-dark"
        await user.type("/theme pink", "enter")
        assert "/theme takes dark or light or contrast or terminal, not pink" in user.notices[-1]


@run_async
async def test_the_next_version_is_shown(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.press("ctrl+g")
        assert "another version" in user.notices[-1]
        await ask(user, "Joke", "First.")
        await user.press("f5")
        await user.answer("Second.")
        assert "version 2 of 2" in user.screen
        await user.press("ctrl+g")
        assert user.texts == ["Joke", "First."] and "version 1 of 2" in user.screen
        user.messages[1].focus()
        await user.press("right")
        assert user.texts == ["Joke", "Second."]
    async with open_chat(tmp_path, resume="latest") as user:
        assert user.texts == ["Joke", "Second."]


@run_async
async def test_a_message_is_copied_without_control_characters(tmp_path):
    async with open_chat(tmp_path) as user:
        await ask(user, "Hi", "He\x1b]0;xllo")
        for keys in (["f8"], ["ctrl+y"]):
            user.messages[1].focus()
            await user.press(*keys)
            assert user.app.clipboard == "He]0;xllo"
        user.composer.focus()
        await user.type("/copy all", "enter")
        assert user.app.clipboard.startswith("# Hi\n")
        await user.type("/copy code", "enter")
        assert "no code in the last answer" in user.notices[-1]


@run_async
async def test_without_a_microphone_there_is_no_list(tmp_path):
    class Unplugged(FakeMicrophone):
        def list_devices(self) -> list[str]:
            raise NO_MICROPHONE

    async with open_chat(tmp_path, microphone=Unplugged(0.0, NO_MICROPHONE)) as user:
        for command in ("/microphone", "/record"):
            await user.type(command, "enter")
            await user.settle()
            assert user.notices[-1] == "there is no microphone\nplug one in"
        assert len(user.notices) == 2  # silence is not blamed


@run_async
async def test_the_notice_says_copied_only_if_a_program_copied(tmp_path, monkeypatch):
    copied = []
    async with open_chat(tmp_path) as user:
        await ask(user, "Hi", "Hello")
        await user.press("f8")
        assert "the terminal's clipboard" in user.notices[-1] and "/export" in user.notices[-1]
        monkeypatch.setattr(clipboard, "copy", lambda text: copied.append(text) or True)
        await user.press("f8")
        assert user.notices[-1] == "copied" and copied == ["Hello"]
        user.app.copy_to_clipboard("sel\x1bection")  # by Textual itself, with the mouse
        await user.settle()
        assert copied[-1] == "selection"


@pytest.mark.parametrize("size", [(120, 40), (40, 15)])
def test_up_shows_earlier_messages(tmp_path, size):
    @run_async
    async def chat():
        async with open_chat(tmp_path, size=size) as user:
            await ask(user, "one", "ok")
        async with open_chat(tmp_path, size=size) as user:
            await user.type("two", "up")
            assert user.composer.text == "one"

    chat()


@run_async
async def test_repeated_keys_open_one_dialog(tmp_path):
    async with open_chat(tmp_path) as user:
        await ask(user, "Hi", "Hello.")
        for _ in range(3):
            user.app.post_message(Key("f6", None))
        await user.settle()
        assert isinstance(user.app.screen, TextDialog)
        await user.press("escape")
        assert user.app.screen is user.chat


@run_async
async def test_ctrl_c_copies_a_selection_or_stops_or_names_the_key_that_quits(tmp_path):
    async with open_chat(tmp_path, keys={"quit": "ctrl+d"}) as user:
        await user.type("Count", "enter")
        await user.answer("One, ", stop=None)
        await user.type("next", "shift+left", "ctrl+c")
        assert user.app.clipboard == "t" and user.app.session.is_answering
        await user.press("end", "ctrl+c")
        assert not user.app.session.is_answering and user.composer.text == "next"
        await user.press("ctrl+c")
        assert user.notices[-1] == "nothing to stop; Ctrl+D quits"
        await user.press("f4", "ctrl+c")
        assert user.composer.text == "next" and "recording" not in user.screen
        await user.press("f5", "f3", "ctrl+c")
        assert not user.app.session.is_answering


@run_async
async def test_the_palette_opens_only_on_the_chat_screen(tmp_path):
    async with open_chat(tmp_path) as user:
        await user.press("f3", "ctrl+p")
        assert isinstance(user.app.screen, HistoryScreen)
        await user.press("escape", "ctrl+p")
        assert user.app.screen is not user.chat


@run_async
async def test_a_command_with_an_invalid_argument_stays_in_the_prompt(tmp_path, cat):
    async with open_chat(tmp_path / "store") as user:
        await ask(user, "Hi", "Hello.")
        await user.paste(str(cat))
        for text, says in (
            ("/quit now", "/quit takes no argument"),
            ("/new ideas please", "/new takes no argument"),
            ("/drop it", "/drop takes no argument"),
            ("/copy that", "/copy takes code or all"),
            ("/nonsense", "no command /nonsense"),
            ("/model no-such-model", "there is no model no-such-model"),
            ("/resume zzz", "no conversation begins"),
            ("/image no.png", "no such file"),
        ):
            user.composer.replace_all(text)
            await user.press("enter")
            assert says in user.notices[-1] and user.composer.text == text
        assert user.texts == ["Hi", "Hello."] and user.model.name == "fake"
        assert len(user.chat.chips.attachments) == 1
        user.composer.replace_all("/Drop")
        await user.press("enter")
        assert user.chat.chips.attachments == () and user.composer.text == ""
        user.composer.replace_all(" /quit now")
        await user.press("enter")
        assert user.texts[2] == "/quit now"


@run_async
async def test_an_edit_that_is_refused_stays_in_the_prompt(tmp_path):
    async with open_chat(tmp_path) as user:
        await ask(user, "Hi", "Hello.")
        await user.press("f6")
        user.app.session.regenerate()  # a second window onto it, say
        await user.type("!", "enter")
        assert "being written" in user.notices[-1] and user.composer.text == "Hi!"
