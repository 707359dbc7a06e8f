"""Which chat opens: on a screen, in a browser, or line by line."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat.config import Config
from mmtui.text import one_line

if TYPE_CHECKING:
    from mmtui.pipeline.assets.spec import EngineChoice


def chat(
    model: str | None = None,
    engine: "EngineChoice | None" = None,
    resume: str | None = None,
    images: tuple[Path, ...] = (),
    *,
    plain: bool = False,
) -> None:
    """`model` and `engine` come before the settings; `resume` is an id, or "latest"."""
    config = Config.load()
    if model:
        config = config.changed(model=model)
    if engine:
        config = config.changed(engine=engine)
    in_browser = "TEXTUAL_DRIVER" in os.environ  # of `serve`, which has no terminal
    has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if has_terminal and not (plain or in_browser or can_move_cursor()):
        plain = True
        note = f"TERM={os.environ.get('TERM', '')} can't show a screen: this is mmtui --plain"
        print(one_line(note), file=sys.stderr)
    if plain or not (in_browser or has_terminal):
        from mmtui.frontends.plain import chat as lines

        lines(config, resume, list(images))
    else:
        from mmtui.frontends.tui.launch import run

        run(config, resume, images)


def can_move_cursor() -> bool:
    """Whether the terminal can have a screen, as far as $TERM and terminfo tell.

    A terminal that terminfo does not know is a new one rather than an old one.
    """
    if os.name != "posix":
        return True
    if os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        return False
    try:
        import curses

        curses.setupterm()
        return bool(curses.tigetstr("cup"))
    except (ImportError, curses.error):
        return True
