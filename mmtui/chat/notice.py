"""Notices that a chat shows to the user."""

from dataclasses import dataclass

from mmtui.text import one_line


@dataclass(frozen=True)
class Notice:
    """A message that is shown to the user once."""

    text: str
    hint: str | None = None
    is_error: bool = True

    @property
    def lines(self) -> str:
        """The text with the hint below it, safe to print."""
        return "\n".join(one_line(line) for line in (self.text, self.hint) if line)

    @property
    def labelled(self) -> str:
        """Format the notice as a command prints it."""
        lines = [f"error: {self.text}" if self.is_error else self.text]
        return "\n".join(map(one_line, [*lines, *([f"hint: {self.hint}"] if self.hint else [])]))
