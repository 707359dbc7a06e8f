"""What of the chat screen the user shows or hides; the choice is saved in the settings."""

from collections.abc import Awaitable, Callable
from functools import partial

from mmtui.chat.config_file import save_settings
from mmtui.chat.notice import Notice
from mmtui.chat.session import Session
from mmtui.frontends.tui.screens.base import BaseScreen
from mmtui.frontends.tui.widgets.composer import Composer
from mmtui.frontends.tui.widgets.sidebar import Sidebar

MIN_WIDTH = 80  # of the window, in columns, below which the sidebar is hidden
TOO_NARROW = Notice(f"the sidebar needs {MIN_WIDTH} columns", is_error=False)


class View:
    """Shows and hides the sidebar and the details of messages.

    Attributes:
        sidebar: The conversations at the left.
    """

    def __init__(
        self,
        screen: BaseScreen,
        session: Session,
        composer: Composer,
        open_conversation: Callable[[str], Awaitable[None]],
    ) -> None:
        """Create it.

        Args:
            screen: The chat screen.
            session: The chat in progress.
            composer: Gets the focus when the sidebar is hidden or a conversation is chosen.
            open_conversation: Opens a conversation by its id.
        """
        self._screen, self._session, self._composer = screen, session, composer
        self._open_conversation = open_conversation
        self.sidebar = Sidebar(session, partial(screen.call_later, self._choose))

    def update(self) -> None:
        """Show what the settings say, as far as the window has room for it."""
        config = self._session.config
        was_shown, is_shown = self._is_sidebar_shown, config.sidebar and self._has_room
        self._screen.set_class(config.details, "-details")
        self._screen.set_class(is_shown, "-sidebar")
        if was_shown and not is_shown:
            self.leave_sidebar()
        if was_shown and not self._has_room:
            self._screen.show_notice(TOO_NARROW)

    def follow(self) -> None:
        """Show what has changed in the history. This is called for every token of an answer."""
        if self._is_sidebar_shown:
            self.sidebar.follow()

    def toggle_sidebar(self) -> None:
        """Show the sidebar and move the focus to it, or hide it."""
        if not self._has_room:
            self._screen.show_notice(TOO_NARROW)
            return
        self._set("sidebar", not self._session.config.sidebar)
        if self._is_sidebar_shown:
            self.sidebar.open()

    def leave_sidebar(self) -> bool:
        """Move the focus from the sidebar to the prompt; return whether it was there."""
        is_left = self.sidebar.has_focus_within
        if is_left:
            self._composer.focus()
        return is_left

    def show_details(self, mode: str) -> None:
        """Show or hide the details of messages.

        Args:
            mode: "on", "off", or "" for the one that is not the case.
        """
        self._set("details", mode == "on" if mode else not self._session.config.details)

    @property
    def _has_room(self) -> bool:
        return self._screen.app.size.width >= MIN_WIDTH

    @property
    def _is_sidebar_shown(self) -> bool:
        return self._screen.has_class("-sidebar")

    def _set(self, key: str, value: bool) -> None:
        """Change a setting, at once for this chat, and in the settings file."""
        self._session.configure(**{key: value})
        self.update()
        self._screen.run_in_thread(partial(save_settings, {key: value}), lambda _: None)

    async def _choose(self, id: str) -> None:
        self._composer.focus()
        if id != self._session.conversation.id:
            await self._open_conversation(id)
            if id != self._session.conversation.id:  # it can't be opened, as if it was deleted
                self.sidebar.reload()
