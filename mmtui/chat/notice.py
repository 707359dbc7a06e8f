"""What a chat tells its user."""

from dataclasses import dataclass

from mmtui.text import one_line


@dataclass(frozen=True)
class Notice:
    """Something to tell the user, once."""

    text: str
    hint: str | None = None
    is_error: bool = True

    @property
    def lines(self) -> str:
        """The text, and the hint under it; safe to show."""
        return "\n".join(one_line(line) for line in (self.text, self.hint) if line)

    @property
    def labelled(self) -> str:
        """As a command prints it."""
        lines = [f"error: {self.text}" if self.is_error else self.text]
        return "\n".join(map(one_line, [*lines, *([f"hint: {self.hint}"] if self.hint else [])]))
