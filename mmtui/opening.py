"""Which chat opens: on a screen, in a browser, or line by line."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat.config import Config

if TYPE_CHECKING:
    from mmtui.pipeline.spec import EngineChoice


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
    if plain or not (in_browser or (sys.stdin.isatty() and sys.stdout.isatty())):
        from mmtui.plain import chat as lines

        lines(config, resume, list(images))
    else:
        from mmtui.tui.start import run

        run(config, resume, images)
