"""Notices: short messages that a chat shows to the user."""

from dataclasses import dataclass

from mmtui.text import one_line


@dataclass(frozen=True)
class Notice:
    """A message that is shown to the user once.

    Attributes:
        text: What happened, in one line.
        hint: What the user can do.
        is_error: Whether something failed.
    """

    text: str
    hint: str | None = None
    is_error: bool = True

    @property
    def lines(self) -> str:
        """The text and the hint, each in a line without control characters."""
        return "\n".join(one_line(line) for line in (self.text, self.hint) if line)

    @property
    def labelled(self) -> str:
        """The notice as commands print it, with "error:" and "hint:"."""
        lines = [f"error: {self.text}" if self.is_error else self.text]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(one_line(line) for line in lines)
