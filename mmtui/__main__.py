"""The entry point: every error leaves as one line, a hint and the contract's exit code."""

import errno
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from mmtui.errors import MmtuiError


def main() -> NoReturn:
    """Run the command line. Small until `cli` is imported, so that Ctrl-C is quiet at once."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # nothing has begun yet
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that half-done work is cleared
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `mmtui ask ... | head` ends quietly
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    import typer

    from mmtui.cli import app
    from mmtui.errors import MmtuiError, UsageError

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = app(standalone_mode=False) or 0  # typer returns the code of an Exit
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "mmtui"
        code = _fail(UsageError(error.format_message(), f"{command} --help"))
    except MmtuiError as error:
        code = _fail(error)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except MemoryError:
        code = _fail(MmtuiError("out of memory", "close other programs, or use --model smol"))
    except OSError as error:
        hint = "free some disk space" if error.errno == errno.ENOSPC else None
        code = _fail(MmtuiError(str(error), hint))
    except Exception as error:  # the last resort: a bug is one line too, unless --debug
        told = f"{type(error).__name__}: {error}"
        code = _fail(MmtuiError(told, "this is a bug; `mmtui --debug ...` shows where"))
    if code == 130:
        print("interrupted", file=sys.stderr)
    _leave(code)


def _fail(error: "MmtuiError") -> int:
    from mmtui.chat.text import one_line

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
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:  # stdout is a full disk
        print(f"error: the output can't be written: {error.strerror}", file=sys.stderr)
        code = 1
    if sys.stderr is not None:
        sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
