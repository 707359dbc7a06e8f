"""What textual-image does not document. See `mmtui.compat` for the versions.

Importing this asks the terminal for the size of its cells, as importing textual-image does.
"""

from textual_image._terminal import get_cell_size

__all__ = ["get_cell_size"]
