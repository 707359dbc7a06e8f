"""Textual's driver for a chat in a browser, which ends with the server that it talks to."""

from textual.drivers.web_driver import WebDriver

from mmtui.compat.textual_hooks import post_exit


class ChatWebDriver(WebDriver):
    """Quits the chat at the end of its input, as when the server was killed."""

    def run_input_thread(self) -> None:
        super().run_input_thread()
        post_exit(self)
