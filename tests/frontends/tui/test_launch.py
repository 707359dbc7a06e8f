"""Running the terminal interface without a terminal."""

import os
import sys

import pytest
from fakes import FakeModel

from mmtui.chat.config import Config
from mmtui.chat.history import database
from mmtui.frontends.tui import app as application
from mmtui.frontends.tui import launch


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the chat as the command does, until it ends."""

    def run(pilot) -> FakeModel:
        model = FakeModel()

        class Headless(application.ChatApp):
            def __init__(self, *arguments: object, **options: object) -> None:
                super().__init__(*arguments, **options, folder=tmp_path, model=model)

            def run(self) -> None:
                super().run(headless=True, auto_pilot=pilot)

        monkeypatch.setattr(application, "ChatApp", Headless)
        launch.run(Config(), None, ())
        return model

    return run


def test_the_chat_runs_until_the_user_quits(run):
    async def press_quit(pilot) -> None:
        await pilot.press("ctrl+q")

    assert run(press_quit).closed


def test_a_bug_raises_its_exception_and_prints_no_traceback(run, capfd):
    async def fail(pilot) -> None:
        pilot.app.call_later(lambda: 1 / 0)
        await pilot.pause()

    with pytest.raises(ZeroDivisionError):
        run(fail)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_chat_that_is_not_in_the_history_ends_with_an_error(run, capfd, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setattr(database, "_is_writable", lambda folder: temporary in folder.parents)

    async def send_and_quit(pilot) -> None:
        await pilot.press("h", "i", "enter", "ctrl+q")

    with pytest.raises(SystemExit) as exit:
        run(send_and_quit)
    assert exit.value.code == 1
    assert capfd.readouterr().err.startswith("error: this chat is not in the history (")


def test_output_of_native_libraries_is_discarded(run, capfd):
    async def write_to_stderr(pilot) -> None:
        os.write(2, b"libtiff complains")
        print("drawn", file=sys.__stderr__, flush=True)
        await pilot.press("ctrl+q")

    run(write_to_stderr)
    os.write(2, b"after")
    assert capfd.readouterr().err == "drawn\nafter"
