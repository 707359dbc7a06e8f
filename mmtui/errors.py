"""The errors that a user can cause or cure: one line, a hint, an exit code."""

import errno
import re
import signal
from pathlib import Path

from mmtui.crashes import CRASHES, describe_signal

# torch has no exception of its own for the memory of the CPU.
_OUT_OF_MEMORY = re.compile("OutOfMemoryError|can't allocate memory|not enough memory")


class MmtuiError(Exception):
    """Something failed. `hint` is the cure, where there is one."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(MmtuiError):
    """The command was used wrongly."""

    exit_code = 2


class TooLongError(UsageError):
    """A message does not fit the model's context, whatever is left out before it."""


class MissingError(MmtuiError):
    """A needed asset or device is not there."""

    exit_code = 3


class InputError(MmtuiError):
    """An input file is unusable."""

    exit_code = 4


class NoSpeechError(InputError):
    """Nobody is heard in a recording; `name` is that of its file."""

    def __init__(self, name: str = "") -> None:
        what = f"{name}: no speech found" if name else "no speech found"
        super().__init__(what, "it may be too quiet, or hold more noise than voice")


def explain(error: Exception, log: Path | None = None) -> MmtuiError:
    """Turn any other exception into one of ours: of the disk, of memory, or a bug.

    Args:
        log: The file that has the traceback, if it could be written.
    """
    if isinstance(error, OSError):
        hint = "free some disk space" if error.errno == errno.ENOSPC else None
        return MmtuiError(str(error), hint)
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(f"{error!r}"):
        return MmtuiError("out of memory", "close other programs, or use --model smol")
    where = f"{log} says where it happened" if log else "--debug shows where it happened"
    return MmtuiError(f"{type(error).__name__}: {error}", f"this is a bug; {where}")


def explain_death(process: str, number: int, dump: str, log: Path | None) -> MmtuiError:
    """Say how a signal killed a process.

    Args:
        process: What is called so in the message: "mmtui", "the model".
        number: The signal.
        dump: The stacks that `faulthandler` wrote.
        log: The file that has the same, if it could be written.
    """
    if number == signal.SIGKILL:
        return MmtuiError(
            f"{process} was killed, probably because memory ran out",
            "close other programs, or take a smaller model",
        )
    cures = [f"{log} says where it happened"] if log else []
    if re.search("llama_?cpp", dump):
        cures.append("--engine torch does without llama.cpp")
    how = "crashed" if number in CRASHES else "was ended"
    return MmtuiError(f"{process} {how}: {describe_signal(number)}", "; ".join(cures) or None)
