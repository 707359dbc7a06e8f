"""The boundary of a command: an error leaves as one line, a hint and the contract's exit code."""

import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from mmtui.errors import MmtuiError


_interrupted = False


def run(name: str, load: Callable[[], Callable[[], int | None]]) -> NoReturn:
    """Run what `load` imports, and exit with its exit code.

    Little is imported before, so that Ctrl-C is quiet from the start.

    Args:
        name: The command, in messages.
    """
    _open_standard_streams()
    if not {"--help", "--version"}.intersection(sys.argv):  # which load nothing that could crash
        _supervise(name)
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # nothing has begun yet
    signal.signal(signal.SIGTERM, _terminate)
    act = load()
    from mmtui.errors import MmtuiError

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
        code = 130 if _interrupted else _fail_unexpectedly(error)
    if code == 130:
        print("interrupted", file=sys.stderr)
    _leave(code)


def command_line(package: str) -> Callable[[], int]:
    """What the arguments say, to a package's `app` in `cli.app`."""
    import typer

    app = import_module(f"{package}.cli.app").app
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


def _open_standard_streams() -> None:
    """Whatever was closed (`>&-`) becomes the null device, and no other file gets its number."""
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(null)
    nowhere = Path(os.devnull).open("r+")  # noqa: SIM115
    sys.stdin, sys.stdout, sys.stderr = (s or nowhere for s in (sys.stdin, sys.stdout, sys.stderr))
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def _supervise(name: str) -> None:
    """Have somebody who reports a crash. On other systems than Linux, its stacks go to stderr."""
    if sys.platform == "linux":
        from mmtui.supervisor import supervise

        supervise(partial(_report_death, name))
    else:
        faulthandler.enable()


def _interrupt(*_: object) -> NoReturn:
    global _interrupted  # noqa: PLW0603 - a signal handler has nowhere else to put it
    _interrupted = True
    raise KeyboardInterrupt


def _terminate(*_: object) -> NoReturn:
    """Leave by an exception, so that half-done work is cleared; a second signal changes nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _report_death(name: str, number: int, dump: str) -> int:
    """Report that a signal killed the command, in the process that outlived it."""
    from mmtui import logs
    from mmtui.crashes import describe_signal
    from mmtui.errors import explain_death

    log = logs.record_crash(f"{name}: {describe_signal(number)}", dump)
    error = explain_death(name, number, dump, log)
    _print_error(error)
    sys.stderr.flush()
    return error.exit_code


def _fail_unexpectedly(error: Exception) -> int:
    from mmtui import logs
    from mmtui.errors import explain

    return _fail(explain(error, logs.record_error(error)))


def _fail(error: "MmtuiError") -> int:
    if _interrupted:  # within an import, Ctrl-C can come out as nearly any exception
        return 130
    if os.environ.get("MMTUI_DEBUG"):
        import traceback

        from mmtui.text import printable

        print(printable(traceback.format_exc()), end="", file=sys.stderr)
    _print_error(error)
    return error.exit_code


def _print_error(error: "MmtuiError") -> None:
    from mmtui.text import one_line

    print(f"error: {one_line(str(error))}", file=sys.stderr)
    if error.hint:
        print(f"hint: {one_line(error.hint)}", file=sys.stderr)


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
