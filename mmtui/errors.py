"""The errors that a user can cause or cure: one line, a hint, an exit code."""


class MmtuiError(Exception):
    """Something failed. `hint` is the cure, where there is one."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(MmtuiError):
    """The command was used wrongly."""

    exit_code = 2


class MissingError(MmtuiError):
    """A needed asset or device is not there."""

    exit_code = 3


class InputError(MmtuiError):
    """An input file is unusable."""

    exit_code = 4
