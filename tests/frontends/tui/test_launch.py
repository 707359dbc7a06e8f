"""From the command to the screen and back, without a terminal."""

import os
import sys

import pytest
from fakes import FakeModel

from mmtui.chat.config import Config
from mmtui.frontends.tui import app as application
from mmtui.frontends.tui import launch


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the chat as the command does, until its end."""

    def run(pilot) -> FakeModel:
        model = FakeModel()

        class Headless(application.ChatApp):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, folder=tmp_path, model=model)

            def run(self) -> None:
                super().run(headless=True, auto_pilot=pilot)

        monkeypatch.setattr(application, "ChatApp", Headless)
        launch.run(Config(), None, ())
        return model

    return run


def test_it_runs_until_the_user_quits(run):
    async def quits(pilot) -> None:
        await pilot.press("ctrl+q")

    assert run(quits).closed


def test_a_bug_ends_it_with_a_reason_and_no_traceback(run, capfd):
    async def breaks(pilot) -> None:
        pilot.app.call_later(lambda: 1 / 0)
        await pilot.pause()

    with pytest.raises(ZeroDivisionError):
        run(breaks)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_what_native_libraries_print_is_kept_off_the_screen(run, capfd):
    async def prints(pilot) -> None:
        os.write(2, b"libtiff complains")
        print("drawn", file=sys.__stderr__, flush=True)
        await pilot.press("ctrl+q")

    run(prints)
    os.write(2, b"after")
    assert capfd.readouterr().err == "drawn\nafter"
