"""Errors that are shown to the user: a message of one line, a hint and an exit code."""

import errno
import re
import signal
from pathlib import Path

from mmtui.crashes import CRASHES, describe_signal, find_file

# torch raises a plain RuntimeError if the memory of the CPU runs out.
_OUT_OF_MEMORY = re.compile("OutOfMemoryError|can't allocate memory|not enough memory")


class MmtuiError(Exception):
    """An operation failed; the base class of all errors that are shown in one line.

    Attributes:
        hint: How to fix it, if that is known.
        exit_code: The exit code of the command.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        """Create an error from a message of one line and an optional hint."""
        super().__init__(message)
        self.hint = hint


class UsageError(MmtuiError):
    """The arguments of a command are wrong, or contradict each other."""

    exit_code = 2


class TooLongError(UsageError):
    """A message is too long for the model's context, even without earlier messages."""


class GrammarError(UsageError):
    """An answer can't be restricted to JSON with this schema, or with any."""


class MissingError(MmtuiError):
    """A required asset, library or device is missing."""

    exit_code = 3


class InputError(MmtuiError):
    """An input file is missing, damaged or of the wrong kind."""

    exit_code = 4


class NoSpeechError(InputError):
    """A recording contains no speech."""

    def __init__(self, name: str = "") -> None:
        """Create the error for a file name, or for the microphone if it is empty."""
        message = f"{name}: no speech found" if name else "no speech found"
        super().__init__(message, "the recording may be too quiet or too noisy")


class NoTextError(InputError):
    """A picture contains no text."""

    def __init__(self, name: str = "") -> None:
        """Create the error for a file name, or for several pictures if it is empty."""
        message = f"{name}: no text found" if name else "no text found"
        super().__init__(message, "the text may be too small or too blurred")


def explain(error: Exception, log: Path | None = None) -> MmtuiError:
    """Convert an unexpected exception to an error with a message and a hint.

    Args:
        error: An error of the operating system, of memory, or a bug.
        log: The log file that contains the traceback, if it could be written.
    """
    if isinstance(error, OSError):
        hint = "free some disk space" if error.errno == errno.ENOSPC else None
        return MmtuiError(str(error), hint)
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(f"{error!r}"):
        return MmtuiError("out of memory", "close other programs, or use --model smol")
    where = f"{log} has the details" if log else "--debug shows the details"
    return MmtuiError(f"{type(error).__name__}: {error}", f"this is a bug; {where}")


def explain_death(process: str, number: int, dump: str, log: Path | None) -> MmtuiError:
    """Return an error for a process that a signal killed.

    Args:
        process: The name of the process in the message, such as "mmtui" or "the model".
        number: The signal.
        dump: The stacks that `faulthandler` wrote.
        log: The log file that contains them, if it could be written.
    """
    if number == signal.SIGKILL:
        return MmtuiError(
            f"{process} was killed, probably because memory ran out",
            "close other programs, or use a smaller model",
        )
    if number in CRASHES and (file := find_file(dump)) is not None:
        return InputError(
            f"llama.cpp crashed while it read {file}",
            "the file may be damaged, or belong to another model: download it again",
        )
    cures = [f"{log} has the details"] if log else []
    if re.search("llama_?cpp", dump):
        cures.append("--engine torch avoids llama.cpp")
    how = "crashed" if number in CRASHES else "was ended"
    return MmtuiError(f"{process} {how}: {describe_signal(number)}", "; ".join(cures) or None)
