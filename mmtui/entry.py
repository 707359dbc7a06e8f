"""The boundary of a command: an error leaves as one line, a hint and the contract's exit code."""

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from mmtui.errors import MmtuiError


_interrupted = False


def run(load: Callable[[], Callable[[], int | None]]) -> NoReturn:
    """Run what `load` imports, and leave with its exit code.

    Small until then, so that Ctrl-C is quiet at once.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # nothing has begun yet
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that half-done work is cleared
    nowhere = Path(os.devnull).open("r+")  # noqa: SIM115 - for `>&-`, where there is no stream
    sys.stdin, sys.stdout, sys.stderr = (s or nowhere for s in (sys.stdin, sys.stdout, sys.stderr))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    act = load()
    from mmtui.errors import MmtuiError, told

    signal.signal(signal.SIGINT, _interrupt)
    try:
        code = act() or 0
    except MmtuiError as error:
        code = _fail(error)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `mmtui ask ... | head` ends quietly
        os._exit(1)
    except Exception as error:  # a bug is one line too, unless --debug
        code = _fail(told(error))
    if code == 130:
        print("interrupted", file=sys.stderr)
    _leave(code)


def command_line(package: str) -> Callable[[], int]:
    """What the arguments say, to a package's `app` in its `cli`."""
    import typer

    app = import_module(f"{package}.cli").app
    from mmtui.errors import UsageError

    def act() -> int:
        try:
            return app(standalone_mode=False) or 0  # typer returns the code of an Exit
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            command = context.command_path if context else package
            raise UsageError(error.format_message(), f"{command} --help") from error
        except typer.Abort:
            raise KeyboardInterrupt from None

    return act


def _interrupt(*_: object) -> NoReturn:
    global _interrupted  # noqa: PLW0603 - a signal handler has nowhere else to put it
    _interrupted = True
    raise KeyboardInterrupt


def _fail(error: "MmtuiError") -> int:
    if _interrupted:  # within an import, Ctrl-C can come out as nearly any exception
        return 130
    from mmtui.text import one_line

    if os.environ.get("MMTUI_DEBUG"):
        import traceback

        traceback.print_exc()
    print(f"error: {one_line(str(error))}", file=sys.stderr)
    if error.hint:
        print(f"hint: {one_line(error.hint)}", file=sys.stderr)
    return error.exit_code


def _leave(code: int) -> NoReturn:
    """Flush and go. Tearing torch down would take another half second, for nothing."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = 1
    except OSError as error:  # stdout is a full disk
        print(f"error: the output can't be written: {error.strerror}", file=sys.stderr)
        code = 1
    sys.stderr.flush()
    os._exit(code)


def silence_libraries() -> None:
    """Warnings of libraries are for their developers; progress bars here are our own."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # of processes that are started
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
