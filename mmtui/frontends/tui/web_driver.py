"""Textual's driver for a chat in a browser, which ends with the server that it talks to."""

import asyncio

from textual.drivers.web_driver import WebDriver
from textual.messages import ExitApp


class ChatWebDriver(WebDriver):
    """Quits the chat at the end of its input, as when the server was killed."""

    def run_input_thread(self) -> None:
        super().run_input_thread()
        asyncio.run_coroutine_threadsafe(self._app._post_message(ExitApp()), self._loop)
