"""The settings that people change most: chosen in a dialog, used at once, and saved."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, get_args

from textual.app import App
from textual.screen import Screen

from mmtui.chat.config import Theme
from mmtui.chat.config_file import save_settings
from mmtui.chat.notice import Notice
from mmtui.chat.session import Session
from mmtui.frontends.tui.screens.dialogs import ChoiceDialog
from mmtui.pipeline.speech.voices import ENGLISH_VOICES

SYSTEM_DEFAULT = "system default"
Ask = Callable[[Screen[Any], Callable[[Any], Any]], None]
Choices = Sequence[tuple[str, str]]


class Chat(Protocol):
    """What the settings use of the chat screen."""

    microphones: Callable[[], list[str]]

    @property
    def app(self) -> App[Any]: ...

    async def attempt(self, function: Callable[..., Any], *args: Any, typed: str = "") -> Any: ...
    def run_in_thread(self, function: Callable[[], Any], then: Callable[[Any], Any]) -> object: ...
    def show_notice(self, notice: Notice) -> None: ...


class Settings:
    """Shows settings with their values, and changes the one that is chosen."""

    def __init__(
        self, chat: Chat, session: Session, ask: Ask, use: Callable[[str, str], Any]
    ) -> None:
        """Create the dialogs.

        Args:
            chat: The chat screen.
            session: The chat in progress.
            ask: Opens a dialog and calls a function with its result.
            use: Called with a setting and its new value, which the chat should use from now on.
        """
        self._chat, self._session, self._ask, self._use = chat, session, ask, use

    def open(self) -> None:
        """Show the settings."""
        config = self._session.config
        rows = [
            ("model", self._session.status.model),
            ("theme", self._chat.app.theme.removeprefix("textual-")),
            ("voice", config.voice),
            ("speak", f"{config.speak} ({_SPEAK[config.speak]})"),
            ("microphone", config.microphone or SYSTEM_DEFAULT),
        ]
        self._ask(ChoiceDialog("Settings", rows), partial(self._choose, dict(rows)))

    def _choose(self, current: dict[str, str], key: str) -> None:
        """Ask for the value of a setting."""
        show = partial(self._show_choices, key, current[key])
        if key == "model":
            self._chat.run_in_thread(self._session.list_models, show)
        elif key == "microphone":
            self._chat.run_in_thread(
                lambda: [(name, "") for name in (SYSTEM_DEFAULT, *self._chat.microphones())], show
            )
        else:
            names = {"theme": get_args(Theme), "voice": ENGLISH_VOICES, "speak": tuple(_SPEAK)}[key]
            show([(name, _SPEAK.get(name, "")) for name in names])

    def _show_choices(self, key: str, current: str, choices: Choices) -> None:
        dialog = ChoiceDialog(key.capitalize(), choices, current.partition(" (")[0])
        self._ask(dialog, partial(self._change, key))

    def _change(self, key: str, value: str) -> None:
        """Save a value, then use it; a model must exist."""
        setting = "" if value == SYSTEM_DEFAULT else value

        def save() -> Path:
            if key == "model":
                self._session.find_model(value)
            return save_settings({key: setting})

        async def use(file: Path) -> None:
            await self._chat.attempt(self._use, key, value)
            self._chat.show_notice(Notice(f"saved in {file}", is_error=False))

        self._chat.run_in_thread(save, use)


_SPEAK = {"never": "answers are not read aloud", "always": "answers are read aloud"}
