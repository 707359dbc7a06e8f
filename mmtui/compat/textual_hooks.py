"""What Textual does not document. See `mmtui.compat` for the versions."""

import asyncio
from typing import Any

from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.web_driver import WebDriver
from textual.message import Message
from textual.messages import ExitApp

__all__ = [
    "XTermParser",
    "expire_escape",
    "keep_latest_notifications",
    "post_exit",
    "replace_parser",
]


def replace_parser(parser: type[XTermParser]) -> None:
    """Have Textual's driver for Linux and macOS parse its input with another class."""
    from textual.drivers import linux_driver

    vars(linux_driver)["XTermParser"] = parser


def expire_escape(parser: XTermParser) -> None:
    """End the wait for what may follow an Escape, so that it counts as a key at the next tick."""
    if parser._timeout_time is not None:
        parser._timeout_time = 0.0


def post_exit(driver: WebDriver) -> None:
    """Have the app of a driver quit, from another thread."""
    message: Message = ExitApp()
    asyncio.run_coroutine_threadsafe(driver._app._post_message(message), driver._loop)


def keep_latest_notifications(app: App[Any], count: int) -> None:
    """Remove all notifications of an app except the latest ones.

    They disappear from the screen when the next notification is shown.

    Args:
        app: The app.
        count: How many to keep, at least 1.
    """
    for notification in list(app._notifications)[:-count]:
        app._unnotify(notification, refresh=False)
