"""Textual's web driver, for a chat that ends when the server does."""

from textual.drivers.web_driver import WebDriver

from mmtui.compat.textual_hooks import post_exit


class ChatWebDriver(WebDriver):
    """Quits the chat at the end of its input, for example because the server was killed."""

    def run_input_thread(self) -> None:
        super().run_input_thread()
        post_exit(self)
