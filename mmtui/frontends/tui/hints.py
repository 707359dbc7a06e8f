"""Hints about keys, such as on the border of a dialog."""

from collections.abc import Sequence

BORDER = 6  # columns of a dialog's border and of the space beside its subtitle


def join_hints(hints: Sequence[str], width: int) -> str:
    """Return as many hints as fit into a width, at least the first.

    Args:
        hints: What keys do, as in "Esc cancels", the most important first.
        width: In columns.
    """
    joined, *others = hints
    for hint in others:
        if len(joined) + len(hint) + 2 > width:
            break
        joined += f", {hint}"
    return joined
