"""Text fields that move and delete by whole characters, as people see them.

A character may be several code points: an emoji of a family, a flag, an accented letter, Hangul.
"""

import regex
from textual.events import MouseEvent
from textual.widgets import Input, TextArea
from textual.widgets.input import Selection
from textual.widgets.text_area import Location

_CHARACTER = regex.compile(r"\X")  # an extended grapheme cluster


def start_of_character(text: str, index: int) -> int:
    """Where the character begins that ends at an index, or holds it; 0 at the beginning."""
    return max((m.start() for m in _CHARACTER.finditer(text) if m.start() < index), default=0)


def end_of_character(text: str, index: int) -> int:
    """Where the character ends that begins at an index, or holds it."""
    return next((m.end() for m in _CHARACTER.finditer(text) if m.end() > index), len(text))


class TextField(TextArea):
    """Several lines of text."""

    def get_cursor_left_location(self) -> Location:
        row, column = self.cursor_location
        if column == 0:
            return super().get_cursor_left_location()
        return row, start_of_character(self.document[row], column)

    def get_cursor_right_location(self) -> Location:
        row, column = self.cursor_location
        if column == len(self.document[row]):
            return super().get_cursor_right_location()
        return row, end_of_character(self.document[row], column)

    def get_cursor_up_location(self) -> Location:
        return self._not_inside(super().get_cursor_up_location())

    def get_cursor_down_location(self) -> Location:
        return self._not_inside(super().get_cursor_down_location())

    def get_target_document_location(self, event: MouseEvent) -> Location:
        return self._not_inside(super().get_target_document_location(event))

    def _not_inside(self, location: Location) -> Location:
        """The beginning of the character that a location is inside of."""
        row, column = location
        line = self.document[row]
        if column in (0, len(line)):
            return location
        return row, start_of_character(line, column + 1)


class LineField(Input):
    """One line of text."""

    def action_cursor_left(self, select: bool = False) -> None:
        if select or self.selection.is_empty:
            self._move(start_of_character(self.value, self.cursor_position), select)
        else:
            super().action_cursor_left()

    def action_cursor_right(self, select: bool = False) -> None:
        if select or self.selection.is_empty:
            self._move(end_of_character(self.value, self.cursor_position), select)
        else:
            super().action_cursor_right()

    def action_delete_left(self) -> None:
        if self.selection.is_empty:
            cursor = self.cursor_position
            self.delete(start_of_character(self.value, cursor), cursor)
        else:
            self.delete_selection()

    def action_delete_right(self) -> None:
        if self.selection.is_empty:
            cursor = self.cursor_position
            self.delete(cursor, end_of_character(self.value, cursor))
        else:
            self.delete_selection()

    def _move(self, position: int, select: bool) -> None:
        self.selection = Selection(self.selection.start if select else position, position)
