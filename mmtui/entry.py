"""The start and the end of a command: errors become one line, a hint and an exit code."""

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


def run(
    name: str, load: Callable[[], Callable[[], int | None]], *, is_supervised: bool = True
) -> NoReturn:
    """Run a command in this process, and exit with its exit code.

    Few modules are imported before `load` is called, so that Ctrl-C never shows a traceback.

    Args:
        name: The name of the command, for messages.
        load: Imports the command and returns a function that runs it. That function returns the
            exit code, or None for 0.
        is_supervised: Whether another process reports a crash; otherwise, its stacks are printed.
    """
    _open_standard_streams()
    if not is_supervised:
        faulthandler.enable()
    elif not {"--help", "--version"}.intersection(sys.argv):  # they load no native library
        _supervise(name)
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # nothing has to be cleaned up yet
    signal.signal(signal.SIGTERM, _terminate)
    command = load()
    signal.signal(signal.SIGINT, _interrupt)
    try:
        code = run_command(command)
    except BrokenPipeError:  # `mmtui ask ... | head` ends quietly
        os._exit(1)
    _leave(code)


def run_command(command: Callable[[], int | None]) -> int:
    """Run a command, print the error if it fails, and return its exit code.

    Raises:
        BrokenPipeError: The reader of its output has ended.
    """
    from mmtui.errors import MmtuiError

    try:
        code = command() or 0
    except MmtuiError as error:
        code = _fail(error)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        raise
    except Exception as error:  # a bug; --debug shows its traceback
        code = 130 if _interrupted else _fail_unexpectedly(error)
    if code == 130:
        print("interrupted", file=sys.stderr)
    return code


def load_command_line(package: str) -> Callable[[], int]:
    """Import the Typer app of a package, `PACKAGE.cli.app.app`.

    Returns:
        A function that runs the command in `sys.argv` and returns its exit code. It raises
        UsageError for arguments that can't be parsed.
    """
    import typer

    app = import_module(f"{package}.cli.app").app
    from mmtui.errors import UsageError

    def run_app() -> int:
        try:
            return app(standalone_mode=False) or 0  # typer returns the code of an Exit
        except typer.TyperException as error:
            context = getattr(error, "ctx", None)
            command = context.command_path if context else package
            raise UsageError(error.format_message(), f"{command} --help") from error
        except typer.Abort:
            raise KeyboardInterrupt from None

    return run_app


def _open_standard_streams() -> None:
    """Open the null device in place of standard streams that are closed, as by `>&-`.

    Otherwise the next file that is opened would get the number of a standard stream.
    """
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(null)
    null_file = Path(os.devnull).open("r+")  # noqa: SIM115
    sys.stdin, sys.stdout, sys.stderr = (
        stream or null_file for stream in (sys.stdin, sys.stdout, sys.stderr)
    )
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]


def _supervise(name: str) -> None:
    """Have a parent process report crashes; on other systems than Linux, print their stacks."""
    if sys.platform == "linux":
        from mmtui.supervisor import supervise

        supervise(partial(_report_death, name))
    else:
        faulthandler.enable()


def _interrupt(*_: object) -> NoReturn:
    global _interrupted  # noqa: PLW0603 - a signal handler can't return a value
    _interrupted = True
    raise KeyboardInterrupt


def _terminate(*_: object) -> NoReturn:
    """Raise SystemExit, so that `finally` blocks clean up; further signals are ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _report_death(name: str, number: int, dump: str) -> int:
    """Report in the parent process that a signal killed the command; return the exit code."""
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
    """Print an error and return its exit code."""
    if _interrupted:  # during an import, Ctrl-C can end in nearly any exception
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
    """Flush the streams and exit at once; unloading torch would take another half second."""
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
    """Turn off warnings and log messages of libraries, which are meant for developers."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    if logging.root.manager.disable < logging.CRITICAL:  # it writes to every logger
        logging.disable(logging.CRITICAL)
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for child processes
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
