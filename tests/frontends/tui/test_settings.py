"""Settings, screenshots, and attachments that were removed by mistake."""

from user import FakeMicrophone, get_staged_names, open_chat, run_async

from mmtui.chat.config import Config
from mmtui.frontends.tui.screens.dialogs import ChoiceDialog


@run_async
async def test_settings_are_used_at_once_and_saved(store, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    async with open_chat(store, microphone=FakeMicrophone(), size=(100, 40)) as user:
        await user.press("f11")
        assert "system default" in user.screen and "dark" in user.screen
        await user.press("down", "enter")
        assert isinstance(user.app.screen, ChoiceDialog) and "terminal" in user.screen
        await user.press("down", "enter")
        assert user.app.theme == "textual-light"
        assert "saved in" in user.notices[-1]
        await user.type("/settings", "enter")
        await user.press("down", "down", "down", "down", "enter", "down", "enter")
        assert user.app.session.microphone == "Fake Mic"
        await user.type("/settings", "enter")
        await user.press("down", "down", "enter", "down", "enter")
        assert user.app.session.config.voice == "fenrir"
    saved = Config.load()
    assert (saved.theme, saved.microphone, saved.voice) == ("light", "Fake Mic", "fenrir")


@run_async
async def test_a_setting_that_can_not_be_saved_is_reported(store, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    async with open_chat(store) as user:
        await user.press("f11", "down", "enter", "down", "enter")
        assert "can't be written" in user.notices[-1]
        assert user.app.theme == "textual-dark"


@run_async
async def test_a_screenshot_is_saved_and_replaces_nothing(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    async with open_chat(store) as user:
        await user.type("/screenshot", "enter")
        (file,) = tmp_path.glob("mmtui-*.svg")
        assert str(file) in user.notices[-1], user.notices
        assert "<svg" in file.read_text("utf-8")
        await user.type("/screenshot a.svg", "enter")
        before = (tmp_path / "a.svg").read_bytes()
        await user.type("/screenshot a.svg", "enter")
        assert "exists" in user.notices[-1] and (tmp_path / "a.svg").read_bytes() == before
        await user.type("/screenshot a.png", "enter")
        assert "must end in .svg" in user.notices[-1]
        user.composer.clear()
        await user.type("/screenshot missing/a.svg", "enter")
        assert "can't be written" in user.notices[-1]


@run_async
async def test_ctrl_z_restores_a_removed_attachment_once_there_is_no_edit_to_undo(store, cat):
    async with open_chat(store) as user:
        await user.paste(str(cat))
        await user.paste(str(cat))
        names = get_staged_names(user)
        user.chat.chips.children[0].focus()
        await user.press("delete")
        assert len(get_staged_names(user)) == 1
        await user.type("a", "ctrl+z")
        assert user.composer.text == "" and len(get_staged_names(user)) == 1
        await user.press("ctrl+z", "ctrl+z")
        assert get_staged_names(user) == names


@run_async
async def test_ctrl_z_restores_what_drop_removed(store, cat):
    async with open_chat(store) as user:
        await user.paste(str(cat))
        await user.paste(str(cat))
        names = get_staged_names(user)
        await user.type("/drop", "enter")
        assert get_staged_names(user) == [] and len(names) == 2
        await user.press("ctrl+z")
        assert get_staged_names(user) == names
        await user.type("/drop", "enter")
        await user.type("/drop", "enter")
        await user.press("ctrl+z")
        assert get_staged_names(user) == names
