"""Paragraphs, lists and tables in a reply that grow in place.

While a reply is written, Textual would lay the screen out for each piece of a paragraph, and create
all widgets of a list or of the last row of a table again.
"""

from collections.abc import Sequence
from itertools import chain

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from mmtui.compat.textual_hooks import (
    MarkdownBlock,
    MarkdownBlockQuote,
    MarkdownBullet,
    MarkdownBulletList,
    MarkdownFence,
    MarkdownList,
    MarkdownListItem,
    MarkdownOrderedList,
    MarkdownParagraph,
    MarkdownTable,
    MarkdownTableCellContents,
    MarkdownTableContent,
    clear_parts,
    get_parts,
    update_from,
    update_in_place,
)
from mmtui.frontends.tui.widgets.snapshot import Snapshot


class GrowingParagraph(MarkdownParagraph):
    """A paragraph. While a line of it grows, only this line is drawn."""

    def set_content(self, content: Content) -> None:
        """Show a text."""
        if self.is_attached:
            self._content = content
            update_in_place(self, content)
        else:
            super().set_content(content)


class Quotation(Snapshot, MarkdownBlockQuote):
    """A quotation. It does not grow in place."""


class ListRow(Snapshot, Horizontal):
    """A bullet or number, and an item of a list."""


class GrowingBulletList(Snapshot, MarkdownBulletList):
    """A list with bullets."""

    def compose(self) -> ComposeResult:
        items = _list_items(self)
        yield from map(_make_row, _list_bullets(items), items)
        clear_parts(self)

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        if not await _grow(self, block):
            await super()._update_from_block(block)


class GrowingOrderedList(Snapshot, MarkdownOrderedList):
    """A list with numbers."""

    def compose(self) -> ComposeResult:
        items = _list_items(self)
        yield from map(_make_row, _make_numbers(items), items)
        clear_parts(self)

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        if not await _grow(self, block):
            await super()._update_from_block(block)


class GrowingTable(Snapshot, MarkdownTable):
    """A table."""

    def on_mount(self) -> None:
        for cell in self.query(MarkdownTableCellContents):
            if isinstance(cell.content, Content):
                _set_tooltip(cell, cell.content)

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        if not (isinstance(block, GrowingTable) and await _grow_table(self, block)):
            # The one of MarkdownTable expects that no row disappears.
            await MarkdownBlock._update_from_block(self, block)


def _set_tooltip(cell: Static, content: Content) -> Static:
    """Set the tooltip of a table cell, and return the cell. A str would be parsed as markup."""
    return cell.with_tooltip(Content(content.plain))


async def _grow_table(table: MarkdownTable, block: MarkdownTable) -> bool:
    """Show what was added to the last row of a table, and after it.

    Returns:
        Whether the other table has as many columns and no fewer rows; if not, nothing has changed.
    """
    grid = table.query_one(MarkdownTableContent)
    headers, rows = block._get_headers_and_rows()
    cells, shown = [*headers, *chain.from_iterable(rows)], list(grid.children)
    if len(headers) != len(grid.headers) or len(cells) < len(shown):
        return False
    table._rows, grid.rows, grid.last_row = rows, rows, len(rows)
    for child, cell in list(zip(shown, cells, strict=False))[-len(headers) :]:
        if isinstance(child, Static):
            update_in_place(child, cell)
            _set_tooltip(child, cell)
    await grid.mount_all(
        _set_tooltip(
            MarkdownTableCellContents(cell, classes=f"row{index // len(headers)} cell"), cell
        )
        for index, cell in enumerate(cells[len(shown) :], len(shown))
    )
    return True


async def _grow(shown: MarkdownList, block: MarkdownBlock) -> bool:
    """Show what was added to the last item of a list, and after it.

    Args:
        shown: The list.
        block: The list with the additions, which is not mounted.

    Returns:
        Whether `block` begins as the list does; if not, nothing has changed.
    """
    if type(block) is not type(shown):
        return False
    items = _list_items(block)
    symbols = (
        _make_numbers(items) if isinstance(shown, GrowingOrderedList) else _list_bullets(items)
    )
    rows = list(shown.query_children(ListRow))
    if not rows or symbols[: len(rows)] != [row.query_one(MarkdownBullet).symbol for row in rows]:
        return False
    last = len(rows) - 1
    await _update_parts(rows[last].query_one(Vertical), get_parts(items[last]))
    added = zip(symbols[len(rows) :], items[len(rows) :], strict=True)
    await shown.mount_all(_make_row(symbol, item) for symbol, item in added)
    return True


def _list_items(block: MarkdownBlock) -> list[MarkdownListItem]:
    return [part for part in get_parts(block) if isinstance(part, MarkdownListItem)]


def _list_bullets(items: Sequence[MarkdownListItem]) -> list[str]:
    return [item.bullet for item in items]


def _make_numbers(items: Sequence[MarkdownListItem]) -> list[str]:
    """Return the numbers of items, aligned as in `MarkdownOrderedList`."""
    start = int(items[0].bullet) if items and items[0].bullet.isdecimal() else 1
    numbers = [f"{number}. " for number, _ in enumerate(items, start)]
    width = max(map(len, numbers), default=0) + 1
    return [number.rjust(width) for number in numbers]


def _make_row(symbol: str, item: MarkdownListItem) -> ListRow:
    bullet = MarkdownBullet()
    bullet.symbol = symbol
    return ListRow(bullet, Vertical(*get_parts(item)))


async def _update_parts(container: Vertical, parts: Sequence[MarkdownBlock]) -> None:
    """Show the parts of a list item, of which all but the last that is shown are unchanged."""
    shown = list(container.children)
    if not shown or len(parts) < len(shown):
        await container.remove_children()
        await container.mount_all(parts)
        return
    last, new = shown[-1], parts[len(shown) - 1]
    if not await _update_part(last, new):
        await last.remove()
        await container.mount(new)
    await container.mount_all(parts[len(shown) :])


async def _update_part(shown: Widget, new: MarkdownBlock) -> bool:
    """Show the contents of a new block in one that is shown, if their kind allows it.

    Returns:
        Whether it does.
    """
    if isinstance(shown, GrowingBulletList | GrowingOrderedList):
        return await _grow(shown, new)
    if isinstance(shown, MarkdownParagraph | MarkdownFence) and type(shown) is type(new):
        await update_from(shown, new)
        return True
    return False
