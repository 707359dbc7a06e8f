"""Open the chat: on the full screen, in a browser, or line by line."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmtui.chat.config import Config, Listener
from mmtui.errors import UsageError
from mmtui.text import one_line

if TYPE_CHECKING:
    from mmtui.pipeline.assets.spec import EngineChoice


def chat(
    model: str | None = None,
    endpoint: str | None = None,
    engine: "EngineChoice | None" = None,
    resume: str | None = None,
    images: tuple[Path, ...] = (),
    files: tuple[Path, ...] = (),
    *,
    plain: bool = False,
    talk: bool = False,
    mmproj: Path | None = None,
    listen: Listener | None = None,
    language: str | None = None,
    read: bool | None = None,
) -> None:
    """Open the chat: full screen if the terminal supports it, else line by line.

    Args:
        model: Used instead of the one in the settings.
        endpoint: Used instead of the one in the settings; "" runs the model on this machine.
        engine: Used instead of the one in the settings.
        resume: The id of a conversation to continue, or "latest".
        images: Pictures to attach to the first message.
        files: Documents and other files to attach to it.
        plain: Chat line by line, even in a terminal that can show a screen.
        talk: Start with a talk, hands free.
        mmproj: The vision tower of a model that is a GGUF file.
        listen: Used instead of the one in the settings.
        language: Language of recordings, used instead of the one in the settings.
        read: Used instead of the one in the settings.
    """
    config = configure(model, endpoint, engine, mmproj, listen, language, read)
    in_browser = "TEXTUAL_DRIVER" in os.environ  # set by `serve`, which has no terminal
    has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if has_terminal and not (plain or in_browser or can_move_cursor()):
        plain = True
        note = f"TERM={os.environ.get('TERM', '')} can't show a screen: this is mmtui --plain"
        print(one_line(note), file=sys.stderr)
    if plain or not (in_browser or has_terminal):
        from mmtui.frontends.plain import loop

        loop.run(config, resume, images, files, talk=talk)
    else:
        from mmtui.frontends.tui import launch

        launch.run(config, resume, images, files, talk=talk)


def configure(
    model: str | None,
    endpoint: str | None,
    engine: "EngineChoice | None",
    mmproj: Path | None,
    listen: Listener | None,
    language: str | None,
    read: bool | None,
) -> Config:
    """Return the settings with the options of a command; None leaves a setting as it is.

    Args:
        model: The model.
        endpoint: The server that runs it; "" runs it on this machine.
        engine: The engine.
        mmproj: The vision tower of a model that is a GGUF file.
        listen: What listens to recordings.
        language: Language of recordings.
        read: Whether the model gets the text in pictures.

    Raises:
        UsageError: A server runs the model, and an option is for models on this machine.
    """
    config = Config.load().with_endpoint(endpoint).with_language(language)
    refuse_local_options(config, {"--mmproj": mmproj, "--engine": engine})
    config = config.with_reading(read)
    if model:
        config = config.replace(model=model)
    if mmproj:
        from mmtui.pipeline.assets.gguf_files import add_mmproj

        config = config.replace(model=add_mmproj(config.model, mmproj))
    if engine:
        config = config.replace(engine=engine)
    return config.with_listener(listen)


def refuse_local_options(config: Config, options: Mapping[str, object]) -> None:
    """Raise an error if a server runs the model, and an option is for models on this machine.

    Args:
        config: The settings.
        options: The values of such options by name; None if they are not used.

    Raises:
        UsageError: A server would ignore one of the options.
    """
    if not config.endpoint.strip():
        return
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"{name} needs a model on this machine", "pass --endpoint ''")


def can_move_cursor() -> bool:
    """Return whether the terminal can show a screen, according to $TERM and terminfo.

    A terminal that terminfo does not know is probably new, so it counts as able.
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
