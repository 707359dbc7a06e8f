"""Who wrote each message, when, and how fast; and the calls of tools."""

from pathlib import Path

import pytest
from user import open_chat, run_async

from mmtui.chat.config import get_path
from mmtui.chat.protocol import Completed, Piece


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of this test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return get_path()


@run_async
async def test_details_are_shown_on_demand_kept_and_remembered(store, settings):
    async with open_chat(store) as user:
        await user.load_model()
        await user.type("What?", "enter")
        await user.answer("A ", "cat.")
        assert "you ·" not in user.screen
        await user.type("/details", "enter")
        assert "\ndetails = true\n" in settings.read_text()
        assert "you ·" in user.screen
        (reply,) = [line for line in user.screen.splitlines() if "2 tokens" in line]
        assert "fake · " in reply and "2 tokens · 50 tokens/s" in reply
    async with open_chat(store, resume="latest", details=True) as user:
        assert any("fake · " in line and "50 tokens/s" in line for line in user.screen.split("\n"))
        await user.type("/details off", "enter")
        assert "you ·" not in user.screen and "\ndetails = false\n" in settings.read_text()
        await user.type("/details maybe", "enter")
        assert "takes on or off, not maybe" in user.notices[-1]


@run_async
async def test_an_answer_without_figures_shows_what_is_known(store):
    async with open_chat(store, details=True) as user:
        await user.load_model()
        await user.type("What?", "enter")
        await user.answer("A ca", stop=None)
        await user.press("escape")
        (reply,) = [line for line in user.screen.splitlines() if "fake · " in line]
        assert "tokens" not in reply
        await user.press("f5")
        await user.receive_event(Completed(user.model.number, "stop", 20, 8, 1, 0.1, None))
        (reply,) = [line for line in user.screen.splitlines() if "fake · " in line]
        assert "1 token" in reply and "tokens/s" not in reply


@run_async
async def test_the_length_of_a_stopped_answer_is_unknown_also_after_it_is_continued(store):
    async with open_chat(store, details=True) as user:
        await user.load_model()
        await user.type("What?", "enter")
        await user.answer("A ca", stop=None)
        await user.press("escape", "f7")
        await user.answer("t.")
        (reply,) = [line for line in user.screen.splitlines() if "fake · " in line]
        assert "token ·" not in reply and "50 tokens/s" in reply


@run_async
async def test_calls_of_tools_are_folded_away_and_kept_with_the_conversation(store):
    async with open_chat(store) as user:
        await user.type("Weather?", "enter")
        number = user.model.number
        await user.receive_event(Piece(number, 'get_weather {"city": ', is_tool=True))
        await user.receive_event(Piece(number, '"[b]Rome\x1b[31m"}', is_tool=True))
        await user.answer("Sunny.")
        assert "tools" in user.screen and "get_weather" not in user.screen
        await user.pilot.click("CollapsibleTitle")
        await user.settle()
        assert 'get_weather {"city": "[b]Rome[31m"}' in user.screen
    async with open_chat(store, resume="latest") as user:
        assert user.texts == ["Weather?", "Sunny."]
        await user.pilot.click("CollapsibleTitle")
        await user.settle()
        assert "get_weather" in user.screen
        await user.type("And now?", "enter")
        assert "get_weather" not in str(user.model.asked[-1])


@run_async
async def test_an_answer_that_is_only_a_call_says_that_no_tool_is_run(store):
    async with open_chat(store) as user:
        await user.type("Weather?", "enter")
        await user.receive_event(Piece(user.model.number, "get_weather {}", is_tool=True))
        await user.answer()
        assert "calls a tool instead of answering" in user.notices[-1]
        assert "executes none" in user.notices[-1]
