"""Hints about keys on the border of a dialog."""

from textual.widget import Widget

BORDER = 6  # columns of the border and of the space beside the hints


def show_hints(dialog: Widget, *hints: str) -> None:
    """Show the hints that fit at the bottom of a dialog, at least the first.

    Args:
        dialog: The dialog, which has its size already.
        hints: What keys do, as in "Esc cancels", the most important first.
    """
    joined, *others = hints
    for hint in others:
        if len(joined) + len(hint) + 2 > dialog.outer_size.width - BORDER:
            continue
        joined += f", {hint}"
    dialog.border_subtitle = joined
