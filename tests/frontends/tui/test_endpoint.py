"""The chat on a screen with a model that a server runs."""

from pathlib import Path

import pytest
from scripted_server import ScriptedServer, hang, refuse, reply, send, to_part
from textual.widgets import OptionList
from user import FakeMicrophone, FakeSpeaker, User, run_async

from mmtui.chat.config import Config
from mmtui.frontends.tui.app import ChatApp


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


class ServerUser(User):
    """Somebody at the keyboard of a chat with a server."""

    async def wait_for(self, text: str) -> None:
        """Wait until a text is on the screen."""
        for _ in range(2000):
            if text in self.screen:
                return
            await self.pilot.pause(0.01)
        raise AssertionError(f"{text!r} is not on the screen:\n{self.screen}")


def make_app(server: ScriptedServer, folder: Path, **settings: str) -> ChatApp:
    return ChatApp(
        Config(endpoint=server.url, **settings), folder=folder,
        microphone=FakeMicrophone(), speaker=FakeSpeaker(),
    )  # fmt: skip


@run_async
async def test_a_reply_streams_from_a_server_and_its_usage_is_shown(store):
    file = "/somewhere/in/a/very/long/folder/of/models/tiny"
    with ScriptedServer(reply("**Hi** ", "there."), models=[file]) as server:
        app = make_app(server, store)
        async with app.run_test(size=(90, 30), notifications=True) as pilot:
            user = ServerUser(app, pilot, None)
            await user.wait_for("ready")
            assert f"tiny ({server.url[7:-3]})" in user.screen
            await user.type("Hello", "enter")
            await user.wait_for("15 tokens")
            assert "Hi there." in user.screen and not user.notices


@run_async
async def test_escape_closes_the_connection_and_errors_are_shown(store):
    with ScriptedServer(hang(to_part("Part")), refuse(400, {"error": "too [bold]long"})) as server:
        app = make_app(server, store, model="tiny")
        async with app.run_test(size=(90, 30), notifications=True) as pilot:
            user = ServerUser(app, pilot, None)
            await user.type("Hello", "enter")
            await user.wait_for("Part")
            await user.press("escape")
            assert server.hung_up.wait(20)
            await user.wait_for("stopped; F7 continues")
            await user.type("Hello", "enter")
            await user.type("typed meanwhile")
            await user.wait_for("failed; F5 tries again")
            assert "refuses the request (HTTP 400): too [bold]long" in user.notices[-1]
            assert user.composer.text == "typed meanwhile"


@run_async
async def test_thinking_is_folded_away_until_it_is_opened(store):
    parts = [to_part(reasoning="Let me [b]see\x1b[31m"), to_part("It is "), to_part("so.", "stop")]
    with ScriptedServer(send(*parts, b"data: [DONE]\n\n")) as server:
        app = make_app(server, store)
        async with app.run_test(size=(90, 30), notifications=True) as pilot:
            user = ServerUser(app, pilot, None)
            await user.type("Is it?", "enter")
            await user.wait_for("It is so.")
            assert "thinking" in user.screen and "Let me" not in user.screen
            await pilot.click("CollapsibleTitle")
            await user.wait_for("Let me [b]see[31m")
            await user.press("enter")
            assert user.composer.text == "" and "Let me" not in user.screen


@run_async
async def test_a_recording_is_attached_without_a_transcript_for_a_model_that_hears(store):
    with ScriptedServer(reply("A hum.")) as server:
        app = make_app(server, store, listen="model")
        async with app.run_test(size=(90, 30), notifications=True) as pilot:
            user = ServerUser(app, pilot, None)
            await user.wait_for("ready")
            await user.press("f4")
            await user.press("f4")
            await user.wait_for("voice.wav")
            assert user.composer.text == ""
            await user.press("enter")
            await user.wait_for("A hum.")
    content = server.completions[0].json["messages"][0]["content"]
    assert [part["type"] for part in content] == ["input_audio"]


@run_async
async def test_ctrl_l_lists_the_models_of_the_server(store):
    with ScriptedServer(reply("Hi."), models=("first", "second")) as server:
        app = make_app(server, store, model="first")
        async with app.run_test(size=(90, 30), notifications=True) as pilot:
            user = ServerUser(app, pilot, None)
            await user.wait_for("ready")
            await user.press("ctrl+l")
            await user.wait_for("second")
            assert len(app.screen.query_one(OptionList).options) == 2
            await user.press("down", "enter")
            await user.wait_for("second (127.")
            await user.type("Hello", "enter")
            await user.wait_for("Hi.")
    assert server.completions[0].json["model"] == "second"
