"""The list of files that match what is typed after an `@`, with a preview."""

import re
import time
from collections.abc import Callable, Container
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option
from textual.worker import get_current_worker

from mmtui.chat.file_finder import FileRanking, FoundFile, walk_files
from mmtui.frontends.tui.widgets.chips import format_size
from mmtui.frontends.tui.widgets.thumbnail import Thumbnail
from mmtui.paths import DOCUMENT_SUFFIXES, PICTURE_SUFFIXES, RECORDING_SUFFIXES

MAX_SHOWN = 50  # matches
PREVIEW_ROWS = 6
PREVIEW_AFTER_S = 0.15  # so that a picture is not decoded for each step of the cursor
SHOW_EVERY_S = 0.2  # while the folder is searched
SEARCH_AGAIN_AFTER_S = 10.0
MARK = "● "
SUFFIXES = PICTURE_SUFFIXES | RECORDING_SUFFIXES | DOCUMENT_SUFFIXES

# What is typed after an @ before the cursor; quotes can contain spaces.
_MENTION = re.compile(r"""(?<![\w@/])@(?:"([^"]*)|'([^']*)|([^\s"'/~.]\S*|))$""")


def find_typed_mention(before: str) -> tuple[int, str] | None:
    """Return what is typed after an @ at the end of a text, and where the @ is.

    A path that starts with a slash, a dot or a tilde is not searched, but completed by Tab.
    """
    if (match := _MENTION.search(before)) is None:
        return None
    return match.start(), match[1] or match[2] or match[3] or ""


def format_mention(path: str) -> str:
    """Return the mention of a file, in quotes if its name has spaces."""
    if re.search(r"""[\s"']|[.,;:!?)\]}]$""", path) is None:
        return f"@{path}"
    quote = "'" if '"' in path else '"'
    return f"@{quote}{path}{quote}"


def find_start_folder() -> Path:
    """Return the current folder, or the home folder if the current one no longer exists."""
    try:
        return Path.cwd()
    except OSError:
        return Path.home()


class FileOptions(OptionList, can_focus=False):
    """The matches. The prompt keeps the focus."""


class FileList(Horizontal):
    """Shows the files below a folder that match a query; hidden while there are none."""

    class Chosen(Message):
        """The user chose a file."""

        def __init__(self, path: str) -> None:
            super().__init__()
            self.path = path

    class _Walked(Message):
        """More files are known."""

    class _Ranked(Message):
        def __init__(self, query: str, matches: list[str]) -> None:
            super().__init__()
            self.query_text, self.matches = query, matches

    DEFAULT_CSS: ClassVar = "FileList { display: none; }"

    def __init__(
        self,
        folder: Path | None = None,
        suffixes: set[str] = SUFFIXES,
        marked: Container[Path] = (),
        *,
        hides_exact: bool = True,
    ) -> None:
        """Create a list, which searches when it is first used.

        Args:
            folder: The folder of the files; None is the current folder.
            suffixes: The suffixes of the files, in lower case.
            marked: The files that are shown with a mark.
            hides_exact: Hide the list when a file is typed exactly.
        """
        super().__init__(id="files")
        self._folder, self._suffixes = folder or find_start_folder(), suffixes
        self._marked, self._hides_exact = marked, hides_exact
        self._files: list[FoundFile] = []
        self._walked_at: float | None = None
        self._typed: str | None = None  # None while the list is closed
        self._listed: str | None = None  # what was typed for the list that is shown
        # Set to choose once the list is that of what is typed; called if nothing matches.
        self._otherwise: Callable[[], object] | None = None
        self._ranking = FileRanking()
        self._is_dismissed = False
        self._options, self._preview = FileOptions(markup=False), Vertical(id="file-preview")

    def compose(self) -> ComposeResult:
        yield self._options
        yield self._preview

    def find(self, query: str) -> None:
        """Show the files that match what is typed, unless the user closed the list."""
        if query == self._typed or self._is_dismissed:
            return
        is_new, self._typed, self._otherwise = self._typed is None, query, None
        if is_new and (
            self._walked_at is None or time.monotonic() - self._walked_at > SEARCH_AGAIN_AFTER_S
        ):
            self._walk()
        self._rank(query)

    def close(self) -> None:
        """Hide the list until `reset` is called."""
        self.reset()
        self._is_dismissed = True

    def reset(self) -> None:
        """Hide the list until something else is typed."""
        self._typed, self._is_dismissed, self._otherwise = None, False, None
        self.display = False

    def move(self, direction: int) -> None:
        """Highlight the next match in a direction: -1 is up."""
        if direction < 0:
            self._options.action_cursor_up()
        else:
            self._options.action_cursor_down()

    def choose(self, otherwise: Callable[[], object] = lambda: None) -> None:
        """Choose the match that is highlighted, once the list is that of what is typed.

        Args:
            otherwise: Called if nothing matches what is typed, or if it is a file already.
        """
        if self._listed == self._typed:
            self._options.action_select()
        else:
            self._otherwise = otherwise

    @property
    def highlighted(self) -> Path | None:
        """The file that is highlighted."""
        option = self._options.highlighted_option
        return self._folder / option.id if option is not None and option.id else None

    def refresh_marks(self) -> None:
        """Show the marks again, after they have changed."""
        for option in self._options.options:
            self._options.replace_option_prompt(option.id or "", self._format(option.id or ""))

    def _format(self, path: str) -> str:
        return f"{MARK}{path}" if self._folder / path in self._marked else path

    @work(thread=True, exclusive=True, group="walk", name="walk")
    def _walk(self) -> None:
        """Search the folder, and show what is found in the meantime."""
        worker = get_current_worker()
        self._walked_at = time.monotonic()
        found: list[FoundFile] = []
        is_first, shown_at = not self._files, time.monotonic()
        for file in walk_files(self._folder, self._suffixes, lambda: worker.is_cancelled):
            found.append(file)
            if is_first and time.monotonic() - shown_at > SHOW_EVERY_S:
                self._files, shown_at = found, time.monotonic()
                self.post_message(self._Walked())
        if not worker.is_cancelled:
            self._files = found
            self._ranking = FileRanking()  # the last one knows only how many files there were
            self.post_message(self._Walked())

    @on(_Walked)
    def _rank_again(self) -> None:
        if self._typed is not None:
            self._rank(self._typed)

    @work(thread=True, exclusive=True, group="rank", name="rank")
    def _rank(self, query: str) -> None:
        # The ranking first: a search that ends meanwhile replaces the files, then the ranking.
        ranking, files = self._ranking, self._files[:]
        self.post_message(self._Ranked(query, ranking.rank(files, query, MAX_SHOWN)))

    @on(_Ranked)
    def _show_matches(self, event: _Ranked) -> None:
        event.stop()
        if event.query_text != self._typed:  # it was typed further, or the list was closed
            return
        is_exact = self._hides_exact and event.query_text in event.matches[:1]
        matches = [] if is_exact else event.matches
        shown = [option.id for option in self._options.options]
        self.display = bool(matches)
        if matches != shown:
            self._options.clear_options()
            self._options.add_options([Option(self._format(path), path) for path in matches])
            self._options.highlighted = 0 if matches else None
        self._listed = event.query_text
        if self._otherwise is not None:
            choose = self._options.action_select if matches else self._otherwise
            self._otherwise = None
            choose()

    @on(OptionList.OptionHighlighted)
    def _preview_later(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()
        path = event.option_id or ""
        self.set_timer(PREVIEW_AFTER_S, lambda: self.run_worker(self._show_preview(path)))

    async def _show_preview(self, path: str) -> None:
        """Show a file's size, and its picture, if it is still highlighted."""
        highlighted = self._options.highlighted_option
        if highlighted is None or highlighted.id != path:
            return
        await self._preview.remove_children()
        file = self._folder / path
        try:
            size = format_size(file.stat().st_size)
        except OSError:  # it was deleted
            size = "gone"
        await self._preview.mount(Static(Content(size)))
        if file.suffix.lower() in PICTURE_SUFFIXES:
            await self._preview.mount(Thumbnail(file, PREVIEW_ROWS))

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(self.Chosen(event.option_id or ""))
