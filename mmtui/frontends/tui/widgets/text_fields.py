"""Text fields whose keys move over and delete whole characters (extended grapheme clusters).

A character can consist of several code points, for example an emoji, a flag or an accented letter.
"""

import regex
from textual.events import MouseEvent
from textual.widgets import Input, TextArea
from textual.widgets.input import Selection
from textual.widgets.text_area import Location

BLINK_S = 10.0
_CHARACTER = regex.compile(r"\X")  # an extended grapheme cluster


def find_start(text: str, index: int) -> int:
    """Return the start of the character that ends at an index or contains it."""
    return max((m.start() for m in _CHARACTER.finditer(text) if m.start() < index), default=0)


def find_end(text: str, index: int) -> int:
    """Return the end of the character that starts at an index or contains it."""
    return next((m.end() for m in _CHARACTER.finditer(text) if m.end() > index), len(text))


class TextField(TextArea):
    """A text area.

    Its cursor stops blinking BLINK_S after the last change, as that of many terminals does. Each
    blink draws the line, which is most of what an idle chat does.
    """

    def on_mount(self) -> None:
        self._has_rested = False
        self._rest_timer = self.set_interval(BLINK_S, self._rest)

    def on_text_area_selection_changed(self) -> None:
        """Blink again: the text or the position of the cursor has changed."""
        if self._has_rested:
            self._has_rested, self.cursor_blink = False, True
        self._rest_timer.reset()

    def _rest(self) -> None:
        self._rest_timer.pause()
        if self.cursor_blink:
            self._has_rested, self.cursor_blink = True, False

    def get_cursor_left_location(self) -> Location:
        row, column = self.cursor_location
        if column == 0:
            return super().get_cursor_left_location()
        return row, find_start(self.document[row], column)

    def get_cursor_right_location(self) -> Location:
        row, column = self.cursor_location
        if column == len(self.document[row]):
            return super().get_cursor_right_location()
        return row, find_end(self.document[row], column)

    def get_cursor_up_location(self) -> Location:
        return self._snap_to_character(super().get_cursor_up_location())

    def get_cursor_down_location(self) -> Location:
        return self._snap_to_character(super().get_cursor_down_location())

    def get_target_document_location(self, event: MouseEvent) -> Location:
        return self._snap_to_character(super().get_target_document_location(event))

    def _snap_to_character(self, location: Location) -> Location:
        """Return the start of the character that contains a location."""
        row, column = location
        line = self.document[row]
        if column in (0, len(line)):
            return location
        return row, find_start(line, column + 1)


class LineField(Input):
    """A field for one line."""

    def action_cursor_left(self, select: bool = False) -> None:
        if select or self.selection.is_empty:
            self._move(find_start(self.value, self.cursor_position), select)
        else:
            super().action_cursor_left()

    def action_cursor_right(self, select: bool = False) -> None:
        if select or self.selection.is_empty:
            self._move(find_end(self.value, self.cursor_position), select)
        else:
            super().action_cursor_right()

    def action_delete_left(self) -> None:
        if self.selection.is_empty:
            cursor = self.cursor_position
            self.delete(find_start(self.value, cursor), cursor)
        else:
            self.delete_selection()

    def action_delete_right(self) -> None:
        if self.selection.is_empty:
            cursor = self.cursor_position
            self.delete(cursor, find_end(self.value, cursor))
        else:
            self.delete_selection()

    def _move(self, position: int, select: bool) -> None:
        self.selection = Selection(self.selection.start if select else position, position)
