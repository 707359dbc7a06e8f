"""Take the screenshot of the README: a chat about two photos with the default model.

`python tests/screenshot.py` writes docs/images/chat.svg. The photos are Chelsea the cat, by Stefan
van der Walt, and a cup of coffee, by Rachel Michetti (both CC0), from scikit-image.
"""

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path

import skimage
from textual.pilot import Pilot
from textual.worker import WorkerCancelled
from textual_image import widget

from mmtui.chat.config import Config
from mmtui.frontends.tui.app import ChatApp
from mmtui.frontends.tui.screens.chat.screen import ChatScreen

HERE = Path(__file__).parent
PHOTOS = Path(skimage.__file__).parent / "data"
CHAT = (
    ("chelsea.png", "What is this?"),
    (None, "Is there a cat in this picture? Answer yes or no."),
    ("coffee.png", "What is in this picture?"),
)


async def ask(app: ChatApp, pilot: Pilot[None], photo: str | None, question: str) -> None:
    chat = app.screen
    assert isinstance(chat, ChatScreen)
    if photo is not None:
        await chat.attach(PHOTOS / photo).wait()
        await pilot.pause()
    await pilot.press(*("space" if character == " " else character for character in question))
    await pilot.press("enter")
    while app.session.is_answering:
        await pilot.pause(0.1)
    if app.session.conversation.thread[-1].state != "complete":
        raise SystemExit(f"{question} was not answered")


async def main() -> None:
    widget.Image = widget.HalfcellImage  # the same picture in every terminal
    with tempfile.TemporaryDirectory() as folder:
        app = ChatApp(Config(model="smol"), folder=Path(folder))
        async with app.run_test(size=(90, 28)) as pilot:
            for photo, question in CHAT:
                await ask(app, pilot, photo, question)
            await pilot.press(*"And")
            with suppress(WorkerCancelled):  # that of a picture which scrolled out of view
                await app.workers.wait_for_complete(
                    [worker for worker in app.workers if worker.name == "decode"]
                )
            await pilot.pause()
            (HERE.parent / "docs/images/chat.svg").write_text(
                app.export_screenshot(title="mmtui"), "utf-8"
            )


if __name__ == "__main__":
    asyncio.run(main())
