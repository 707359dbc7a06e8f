"""Snapshots of the main screens in both themes and three sizes.

`pytest tests/frontends/tui/test_looks.py --snapshot-update` updates them. Look at what changed
before you commit them.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes import FakeModel
from PIL import Image
from textual.pilot import Pilot
from user import FakeMicrophone, User

from mmtui.chat.config import Config
from mmtui.chat.conversation import Attachment, Conversation
from mmtui.chat.history.history import History
from mmtui.frontends.tui.app import ChatApp
from mmtui.frontends.tui.screens.picker import FileTree

# Fits on the screen, because the scroll position of a long text depends on timing.
ANSWER = "A **cat** on a `sofa`."
SMALL = (40, 15)
TITLES = ("What is this?", "Why do cats purr?", "Une histoire de café", "猫の名前", "x" * 90)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A history whose times, time zone and pictures are the same in every run."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    from textual_image import widget

    monkeypatch.setattr(widget, "Image", widget.HalfcellImage)
    monkeypatch.setattr("mmtui.chat.history.history.datetime", Clock)
    history = History(tmp_path / "store")
    Clock.minutes = 0
    photo = tmp_path / "photos" / "a cat.png"
    photo.parent.mkdir()
    Image.linear_gradient("L").resize((400, 300)).convert("RGB").save(photo)
    (photo.parent / "holidays").mkdir()
    for title in reversed(TITLES):
        conversation = Conversation()
        shown = ()
        if title == TITLES[0]:
            data = photo.read_bytes()
            shown = (
                Attachment(history.add_attachment(data), "image", photo.name, 234_567, "400 x 300"),
            )
        history.save(conversation, conversation.say(title, shown))
        answer = conversation.answer()
        answer.text, answer.state = ANSWER, "complete"
        history.save(conversation, answer)
    history.close()
    monkeypatch.chdir(photo.parent)
    yield tmp_path / "store"
    monkeypatch.undo()
    time.tzset()


class Clock(datetime):
    """A clock that advances by a minute with each call."""

    minutes = 0

    @classmethod
    def now(cls, tz=None):  # noqa: ARG003
        cls.minutes += 1
        return datetime(2026, 1, 1, 20, cls.minutes, tzinfo=UTC)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), SMALL], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize(
    ("screen", "keys"),
    [("chat", []), ("history", ["f3", "down"]), ("help", ["f1"]), ("picker", ["f2"])],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_screens_match_their_snapshots(
    snap_compare: Callable[..., bool], store, screen, keys, theme, size
):
    model = FakeModel()
    app = ChatApp(
        Config(theme=theme, model="smol"), "latest", folder=store, model=model,
        microphone=FakeMicrophone(),
    )  # fmt: skip

    async def look(pilot: Pilot) -> None:
        app.animation_level = "none"
        user = User(app, pilot, model)
        await user.load_model()
        if size != SMALL:
            await user.paste("a cat.png")
        await user.type("And now?")
        await user.press(*keys)
        if screen == "picker":
            while len(app.screen.query_one(FileTree).root.children) < 2:
                await user.settle()
            await user.press("down", "down")
        for field in app.screen.query("TextArea, Input"):
            field.cursor_blink = False
        await user.settle()

    assert snap_compare(app, terminal_size=size, run_before=look)
